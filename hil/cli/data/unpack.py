"""``hil data unpack``."""

from __future__ import annotations

from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.core.legible import printable


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the run. Never one that holds anything.",
)
@reports_errors
def command(*, file: Path, out: Path) -> None:
    """Make the folder of a run again from the packed FILE, which is only read.

    Journal and campaign files come out byte for byte, steps with the same hashes and ids. A file
    that was packed without readouts cannot be unpacked.
    """
    from rich.progress import MofNCompleteColumn

    from hil.cli.progress import draw_bar
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
    click.echo(f"{printable(str(run.path))}: {len(run.finished_steps())} steps")
