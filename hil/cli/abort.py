"""``hil abort``: stop a run that another process writes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.campaign.control import StopKind, StopOutcome, StopReport, StopTools, stop_run
from hil.campaign.process_identity import ProcessTable
from hil.cli.errors import ExitCode, reports_errors
from hil.core.legible import printable

if TYPE_CHECKING:
    from hil.campaign.run_status import RunStatus


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--now", "at_once", is_flag=True, help="Do not wait for the block that is read.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0, max=86400),
    default=60.0,
    show_default=True,
    help="Seconds to wait until the run has stopped.",
)
@reports_errors
def command(run: Path, *, at_once: bool, wait_s: float) -> None:
    """Stop the run in the folder RUN, which another process writes, and leave its chip safe.

    The run finishes the block of vectors that it is reading, makes the chip safe and ends; hil
    resume goes on from there. Exits with 1 if the run has not stopped in time. It is never killed.
    Where RUN holds the runs of several chips, all of them are stopped.
    """
    from hil.campaign.chips.chips_folder import is_chips_folder
    from hil.campaign.run_status import read_status
    from hil.campaign.runner import utc_now

    table = ProcessTable()
    tools = StopTools(table=table, now=utc_now, clock=time.monotonic, sleep=time.sleep)
    kind = StopKind.AT_ONCE if at_once else StopKind.AFTER_BLOCK
    if is_chips_folder(run):
        from hil.cli.chips_status import abort_chips

        abort_chips(run, lambda path: stop_run(path, kind, wait_s=wait_s, tools=tools))
        return
    before = read_status(run, now=utc_now(), table=table)
    report = stop_run(run, kind, wait_s=wait_s, tools=tools)
    after = read_status(run, now=utc_now(), table=table)
    click.echo("\n".join(_lines(report, before, after)))
    if report.outcome is StopOutcome.STILL_RUNNING:
        raise SystemExit(ExitCode.SOME_FAILED)


def _lines(report: StopReport, before: RunStatus, after: RunStatus) -> list[str]:
    from hil.cli.status_words import status_lines

    match report.outcome:
        case StopOutcome.NOT_RUNNING:
            first = f"nothing to stop: the run is {before.state}"
        case StopOutcome.WAS_KILLED:
            first = f"nothing to stop: {report.writer} is gone"
        case StopOutcome.STOPPED:
            signals = " after a signal" if report.signals else ""
            first = f"stopped{signals} within {report.waited_s:.1f} s"
        case StopOutcome.STILL_RUNNING:
            first = (
                f"still running after {report.waited_s:g} s: {report.writer} has the request; "
                "hil abort --now does not wait for its block"
            )
    note = [printable(report.note)] if report.note else []
    return [printable(first), *note, *status_lines(after)]
