"""``hil info``."""

from pathlib import Path

import click

from hil.cli.errors import reports_errors


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(run: Path, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Print what RUN holds, a folder or packed file: chip, steps, errors, flagged columns."""
    from hil.cli.output import echo_run
    from hil_datasets.opened import open_source

    echo_run(open_source(run), as_json=as_json)
