"""``hil data split``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hil.cli.errors import reports_errors
from hil.core.legible import printable


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--by",
    required=True,
    type=click.Choice(["core", "mode", "visit"]),
    help="What the steps of a part have in common.",
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder that gets one for each part: core03 or four_phase. Never one that holds anything.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@reports_errors
def command(*, run: Path, by: str, out: Path, as_json: bool) -> None:
    """Make several runs of the folder RUN, each with some of its steps.

    RUN is only read; step files are copied byte for byte. `hil data merge` makes one run of them.
    """
    from hil.campaign.runner import utc_now
    from hil_datasets.joining.splitting import SplitBy, split_run

    parts = split_run(run, SplitBy(by), out, utc=utc_now().isoformat(timespec="seconds"))
    if as_json:
        documents = [
            {"run": str(part.run), "steps": [key.name for key in part.steps]} for part in parts
        ]
        click.echo(json.dumps({"parts": documents}, indent=1))
        return
    for part in parts:
        steps = f"{len(part.steps)} step{'' if len(part.steps) == 1 else 's'}"
        click.echo(printable(f"{part.run}: {steps}"))
