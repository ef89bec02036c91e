"""``hil data unpack``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.core.legible import printable


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the run. Never one that holds anything.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(*, file: Path, out: Path, as_json: bool) -> None:
    """Make the folder of a run again from the packed FILE, which is only read.

    Journal and campaign files come out byte for byte, steps with the same hashes and ids. A file
    that was packed without readouts cannot be unpacked.
    """
    from rich.progress import MofNCompleteColumn

    from hil.cli.bars import draw_bar
    from hil_datasets.packed.packed_run import open_packed
    from hil_datasets.packed.unpack import unpack_run

    packed = open_packed(file)
    with draw_bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("unpacking", total=None)
        run = unpack_run(
            packed,
            out,
            on_progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    steps = len(run.finished_steps())
    if as_json:
        click.echo(json.dumps({"run": str(run.path), "steps": steps}, indent=1))
    else:
        click.echo(f"{printable(str(run.path))}: {steps} steps")
