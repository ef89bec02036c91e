"""``hil list``: the runs below a folder."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from hil.campaign.process_identity import ProcessTable
from hil.campaign.run_status import FoundRun, find_runs
from hil.campaign.runner import utc_now
from hil.cli.errors import reports_errors
from hil.core.legible import printable


@click.command()
@click.argument("folder", default=".", metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(folder: Path, *, as_json: bool) -> None:
    """List the runs in the folder DIR and below, newest first; damaged ones come last.

    DIR is the current folder if left out.
    """
    found = find_runs(folder, now=utc_now(), table=ProcessTable())
    if as_json:
        click.echo(json.dumps([asdict(run) for run in found], indent=1, allow_nan=False))
        return
    for run in found:
        click.echo(_line(run))
    if not found:
        click.echo(f"no runs in {printable(str(folder))}")


def _line(run: FoundRun) -> str:
    path = printable(run.path)
    if run.status is None:
        return f"{path}  DAMAGED: {printable(run.problem)}"
    status = run.status
    columns = (
        status.started_utc or "(not started)",
        f"{status.state}",
        f"{status.steps_done}/{status.steps} steps",
        printable(status.chip),
        printable(status.title),
    )
    return f"{path}  " + "  ".join(column for column in columns if column)
