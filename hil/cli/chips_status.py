"""``hil status`` and ``hil abort`` of a folder with the runs of several chips."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import click
from rich.live import Live
from rich.text import Text

from hil.campaign.chips.chips_folder import ChipsFolder, read_chips_folder
from hil.campaign.chips.chips_status import ChipStatus, read_chips_status
from hil.campaign.control import StopOutcome, StopReport
from hil.campaign.process_identity import ProcessTable
from hil.campaign.runner import utc_now
from hil.cli.errors import ExitCode
from hil.cli.output import LegibleConsole
from hil.cli.progress_words import line_of, steps_words
from hil.cli.status_words import status_lines
from hil.core.legible import printable

_LOOK_EVERY_S = 0.5
_BETWEEN_LINES_S = 10.0


def show_chips(path: Path, *, watch: bool, as_json: bool) -> None:
    """Print how the runs of several chips stand; with `watch`, until all are over.

    Raises
    ------
    DatasetError
        If ``chips.json`` is damaged.
    """
    folder, table = read_chips_folder(path), ProcessTable()
    console = LegibleConsole()
    if not watch:
        statuses = read_chips_status(folder, now=utc_now(), table=table)
        lines = _json(statuses, indent=1) if as_json else "\n".join(_lines(folder, statuses))
        click.echo(lines)
    elif as_json or not console.is_terminal:
        _watch_as_lines(folder, _looks(folder, table), as_json=as_json)
    else:
        with Live(console=console, refresh_per_second=4) as live:
            for statuses in _looks(folder, table):
                live.update(Text("\n".join(_lines(folder, statuses))))


def _looks(folder: ChipsFolder, table: ProcessTable) -> Iterator[list[ChipStatus]]:
    """Yield how the runs stand, again and again, until all are over."""
    while True:
        statuses = read_chips_status(folder, now=utc_now(), table=table)
        yield statuses
        if all(each.is_over for each in statuses):
            return
        time.sleep(_LOOK_EVERY_S)


def _watch_as_lines(
    folder: ChipsFolder, looks: Iterator[list[ChipStatus]], *, as_json: bool
) -> None:
    due_s, last = time.monotonic(), None
    for statuses in looks:
        states = [None if each.status is None else each.status.state for each in statuses]
        if time.monotonic() < due_s and states == last:
            continue
        due_s, last = time.monotonic() + _BETWEEN_LINES_S, states
        if as_json:
            click.echo(_json(statuses, indent=None))
        elif all(each.is_over for each in statuses):
            click.echo("\n".join(_lines(folder, statuses)))
        else:
            click.echo("\n".join(map(_line, statuses)))


def _line(each: ChipStatus) -> str:
    if each.status is None:
        return f"{each.chip}: {printable(each.problem)}"
    if each.status.progress is not None:
        return f"{each.chip}: {line_of(each.status.progress)}"
    status = each.status
    steps = steps_words(status.steps_done, status.steps_skipped, status.steps)
    return f"{each.chip}: {steps}, {status.state}"


def _lines(folder: ChipsFolder, statuses: Sequence[ChipStatus]) -> Iterator[str]:
    to_resume, advised = [], False
    for each in statuses:
        if each.status is None:
            yield f"{each.chip}: {printable(each.problem)}"
            to_resume += [] if folder.has_begun(each.chip) else [each.chip]
            continue
        advice = f"hil resume {each.folder} continues"
        note = each.status.note.replace(advice, "").rstrip("; ")
        if note != each.status.note:
            to_resume.append(each.chip)
            advised = True
        first, *rest = status_lines(replace(each.status, note=note))
        yield from (f"{each.chip}: {first}", *rest)
    if advised and all(each.is_over for each in statuses):
        chips = " and ".join(to_resume)
        yield printable(f"hil resume {folder.path} goes on with {chips}")


def _json(statuses: Sequence[ChipStatus], *, indent: int | None) -> str:
    document = {"chips": [asdict(each) for each in statuses]}
    return json.dumps(document, indent=indent, allow_nan=False)


def abort_chips(path: Path, stop: Callable[[Path], StopReport]) -> None:
    """Stop the runs of several chips at once; exit with 1 if one has not stopped in time.

    Parameters
    ----------
    path
        Their folder.
    stop
        Stops one run, and waits for its end.

    Raises
    ------
    DatasetError
        If ``chips.json`` is damaged.
    """
    folder = read_chips_folder(path)
    begun = [chip for chip in folder.chips if folder.run(chip).path.is_dir()]
    with ThreadPoolExecutor(max_workers=max(1, len(begun))) as pool:
        reports = list(pool.map(stop, (folder.run(chip).path for chip in begun)))
    for chip, report in zip(begun, reports, strict=True):
        note = f" ({printable(report.note)})" if report.note else ""
        click.echo(f"{chip}: {str(report.outcome).replace('_', ' ')}{note}")
    statuses = read_chips_status(folder, now=utc_now(), table=ProcessTable())
    click.echo("\n".join(_lines(folder, statuses)))
    if any(report.outcome is StopOutcome.STILL_RUNNING for report in reports):
        raise SystemExit(ExitCode.SOME_FAILED)
