"""``hil status``: how a run stands, from any terminal."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.campaign.process_identity import ProcessTable
from hil.cli.errors import reports_errors
from hil.cli.progress_words import (
    line_of,
    steps_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.campaign.run_status import RunStatus

_LOOK_EVERY_S = 0.5
_BETWEEN_LINES_S = 10.0


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Keep on showing it until the run is over.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print it as JSON; with --watch, a line each."
)
@reports_errors
def command(run: Path, *, watch: bool, as_json: bool) -> None:
    """Print how the run in the folder RUN stands: it may be running in another terminal.

    Nothing is written, and the run is not disturbed. Says so if the process that wrote the run is
    gone.
    """
    from hil.campaign.chips.chips_folder import is_chips_folder

    if is_chips_folder(run):
        from hil.cli.chips_status import show_chips

        show_chips(run, watch=watch, as_json=as_json)
        return
    table = ProcessTable()
    if not watch:
        from hil.cli.status_words import status_lines

        status = _look(run, table)
        click.echo(_json(status, indent=1) if as_json else "\n".join(status_lines(status)))
    elif as_json:
        _watch_as_lines(run, table, as_json=True)
    else:
        _watch(run, table)


def _watch(run: Path, table: ProcessTable) -> None:
    from rich.live import Live
    from rich.text import Text

    from hil.cli.output import LegibleConsole
    from hil.cli.status_words import status_lines

    console = LegibleConsole()
    if not console.is_terminal:
        _watch_as_lines(run, table, as_json=False)
        return
    with Live(console=console, refresh_per_second=4) as live:
        for status in _looks(run, table):
            live.update(Text("\n".join(status_lines(status))))


def _look(run: Path, table: ProcessTable) -> RunStatus:
    from hil.campaign.run_status import read_status
    from hil.campaign.runner import utc_now

    return read_status(run, now=utc_now(), table=table)


def _looks(run: Path, table: ProcessTable) -> Iterator[RunStatus]:
    """Yield how a run stands, again and again, until it is over."""
    while True:
        status = _look(run, table)
        yield status
        if status.state.is_over:
            return
        time.sleep(_LOOK_EVERY_S)


def _watch_as_lines(run: Path, table: ProcessTable, *, as_json: bool) -> None:
    from hil.cli.status_words import status_lines

    due_s, last = time.monotonic(), None
    for status in _looks(run, table):
        if time.monotonic() >= due_s or status.state is not last:
            if as_json:
                click.echo(_json(status, indent=None))
            elif status.state.is_over:
                click.echo("\n".join(status_lines(status)))
            else:
                click.echo(_line(status))
            due_s, last = time.monotonic() + _BETWEEN_LINES_S, status.state


def _line(status: RunStatus) -> str:
    if status.progress is not None:
        return line_of(status.progress)
    steps = steps_words(status.steps_done, status.steps_skipped, status.steps)
    return f"{steps}, {status.state}"


def _json(status: RunStatus, *, indent: int | None) -> str:
    return json.dumps(asdict(status), indent=indent, allow_nan=False)
