"""``hil data convert``."""

from __future__ import annotations

from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.cli.scale_options import scale_options, tell_waiting


@click.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--map",
    "mapping",
    required=True,
    type=click.Path(path_type=Path),
    help="TOML file that says what arrays and columns mean.",
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run. Never one that holds anything.",
)
@scale_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
def command(
    *,
    files: tuple[Path, ...],
    mapping: Path,
    out: Path,
    workers: int,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Make a run of recordings of another laboratory, and calibrate it.

    Every FILE is CSV, .npz or .npy: raw counts with their inputs, or slopes and intercepts of
    columns, of which counts are synthesised. What they mean is in the mapping file.
    """
    from rich.progress import MofNCompleteColumn

    from hil.campaign.runner import utc_now
    from hil.cli.bars import draw_bar
    from hil.cli.run import finish
    from hil.recorded.convert.conversion import convert_files
    from hil.recorded.convert.mapping_check import load_mapping
    from hil.scale.pool import open_pool

    loaded = load_mapping(mapping)
    with (
        open_pool(workers=workers, cluster=cluster, on_wait=tell_waiting) as pool,
        draw_bar(MofNCompleteColumn()) as bar,
    ):
        task = bar.add_task("reading", total=None)
        outcome = convert_files(
            files,
            loaded,
            out=out,
            pool=pool,
            now=utc_now,
            on_step=lambda done, of: bar.update(
                task, description="calibrating", completed=done, total=of
            ),
        )
    finish(outcome, as_json=as_json)
