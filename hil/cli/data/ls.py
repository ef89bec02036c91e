"""``hil data ls``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from hil.cli.errors import reports_errors
from hil.core.legible import printable


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(*, run: Path, as_json: bool) -> None:
    """List the steps of RUN, a folder or packed file, and its other files, with their sizes.

    The journal says which steps are finished. Step files are not opened; `hil data verify` looks
    into them. Of a packed file the sizes are those that are stored.
    """
    from hil_datasets.integrity.listing import list_run

    files = list_run(run)
    if as_json:
        click.echo(json.dumps([_document(file) for file in files], indent=1))
        return
    width = max((len(file.name) for file in files), default=0)
    for file in files:
        size = "missing" if file.size_bytes is None else f"{file.size_bytes:,} bytes"
        click.echo(printable(f"{file.name:{width}}  {size:>20}  {file.state}"))


def _document(file: Any) -> dict[str, Any]:
    return {"file": file.name, "bytes": file.size_bytes, "state": file.state}
