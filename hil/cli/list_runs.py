"""``hil list``: the runs below a folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.campaign.process_identity import ProcessTable
from hil.cli.errors import reports_errors
from hil.cli.progress_words import steps_words
from hil.core.legible import printable

if TYPE_CHECKING:
    from hil.campaign.run_status import FoundRun, RunStatus

_NARROWEST = 80
_WIDTH_OF_PIPE = 100


@click.command()
@click.argument("folder", default=".", metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(folder: Path, *, as_json: bool) -> None:
    """List the runs in the folder DIR and below, newest first; damaged ones come last.

    DIR is the current folder if left out.
    """
    from hil.campaign.run_status import find_runs
    from hil.campaign.runner import utc_now

    found = find_runs(folder, now=utc_now(), table=ProcessTable())
    if as_json:
        click.echo(json.dumps([asdict(run) for run in found], indent=1, allow_nan=False))
        return
    width = max(shutil.get_terminal_size((_WIDTH_OF_PIPE, 0)).columns, _NARROWEST)
    for run in found:
        click.echo(printable(run.path))  # in a line of its own: it is there to be copied
        click.echo(_shortened(f"    {_words(run)}", width) if run.status else f"    {_words(run)}")
    if not found:
        click.echo(f"no runs in {printable(str(folder))}")


def _words(run: FoundRun) -> str:
    if not run.has_begun:
        return f"not begun  {_part_words(run)}"
    if run.status is None:
        return f"DAMAGED: {printable(run.problem)}"
    status = run.status
    columns = (
        status.started_utc[: len("2026-01-31T12:00:00")].replace("T", " ") or "(not started)",
        f"{status.state}",
        steps_words(status.steps_done, status.steps_skipped, status.steps),
        printable(status.serial),
        _part_words(run),
        _title(status),
    )
    return "  ".join(column for column in columns if column)


def _part_words(run: FoundRun) -> str:
    return f"one of several chips in {printable(run.part_of)}" if run.part_of else ""


def _title(status: RunStatus) -> str:
    if status.replay_of is None:
        return printable(status.title)
    return f"replay of {printable(Path(status.replay_of).name or status.title)}"


def _shortened(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 3]}..."
