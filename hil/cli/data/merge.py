"""``hil data merge``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.core.legible import printable


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the new run. Never one that holds anything.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
def command(*, runs: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Make one run of several RUNs of one chip that took different steps.

    The runs are only read; step files are copied byte for byte. Runs of different chips, with
    other NMPU formats or calibration options, or with a step in common are refused.
    """
    from hil.campaign.runner import utc_now
    from hil_datasets.joining.merging import merge_runs

    report = merge_runs(runs, out, utc=utc_now().isoformat(timespec="seconds"))
    if as_json:
        document = {
            "run": str(report.run),
            "sources": [str(source) for source in report.sources],
            "steps": [key.name for key in report.steps],
        }
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(printable(f"{report.run}: {len(report.steps)} steps of {len(report.sources)} runs"))
