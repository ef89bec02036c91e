"""How a run stands, seen from another process: from its journal, progress file and lock."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hil.campaign.chips.chips_folder import is_chips_folder, read_chips_folder
from hil.campaign.guards.known_answer_file import KnownAnswerCheck, last_known_answer
from hil.campaign.process_identity import ProcessIdentity, ProcessTable, Whereabouts
from hil.campaign.progress_file import StoredProgress, read_progress
from hil.campaign.run_events import RunState
from hil.campaign.run_lock import LOCK_FILE, LockOwner, read_lock
from hil.campaign.run_progress import RunProgress
from hil.core.errors import DatasetError, Problem
from hil_datasets.run_directory import RunDirectory, open_directory

_STOP_STATES = {"complete": RunState.COMPLETE, "incomplete": RunState.INCOMPLETE}
_MILESTONES = frozenset({"start", "resume", "step", "stop"})
_INTERRUPTION = "KeyboardInterrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """How a run stands."""

    path: str
    """Its folder."""
    title: str
    """Title of the campaign."""
    chip: str
    """Who the device said it was."""
    serial: str
    """Its serial number; empty if the journal does not say it by itself."""
    replay_of: str | None
    """Folder of the run that it replays, empty if its journal does not name it; None if it was
    measured."""
    state: RunState
    """How it is, or how it ended."""
    reason: str
    """Why it is so, as far as something is to be said."""
    note: str
    """What to do, or what cannot be told; empty if nothing."""
    started_utc: str
    """When the run began."""
    steps_done: int
    """Finished steps."""
    steps_skipped: int
    """Planned steps that were not needed."""
    steps: int
    """Planned steps."""
    writer: ProcessIdentity | None
    """Who writes it, or wrote it when it was killed; None where that is over or not known."""
    updated_utc: str
    """When the progress file was written; empty if there is none."""
    updated_s_ago: float | None
    """How long ago that was."""
    progress: RunProgress | None
    """What the progress file says; None if there is none."""
    known_answer: KnownAnswerCheck | None
    """The last check of the known answers; None if there was none."""


def read_status(folder: Path, *, now: datetime, table: ProcessTable) -> RunStatus:
    """Find out how a run stands; nothing is written, and no lock is needed.

    Raises
    ------
    DatasetError
        If the folder holds no run, or a damaged one.
    """
    run = _open(folder)
    events = run.events() if run.journal_path.exists() else []
    stored = read_progress(folder)
    try:
        owner = read_lock(folder)
    except ValueError as error:
        owner, note = None, str(error)
    else:
        note = ""
    start = next((event for event in events if event["event"] == "start"), {})
    state, reason, more = _state(folder, events, stored, owner, table)
    finished = {event["file"] for event in events if event["event"] == "step" and "file" in event}
    skipped = {str(event.get("step", "")) for event in events if event["event"] == "skip"}
    progress = None if stored is None else stored.progress
    planned = len(start.get("planned", ()))
    return RunStatus(
        path=str(folder),
        title=start.get("title", "" if progress is None else progress.title),
        chip=start.get("chip", "" if progress is None else progress.chip),
        serial=start.get("identity", {}).get("serial", ""),
        replay_of=start.get("replayed_run", "") if "replay_of" in start else None,
        state=state,
        reason=reason,
        note="; ".join(filter(None, (note, more))),
        started_utc=start.get("utc", ""),
        steps_done=len(finished),
        steps_skipped=len(skipped - {Path(file).stem for file in finished}),
        steps=planned or (0 if progress is None else progress.steps),
        writer=_writer(state, owner, stored),
        updated_utc="" if stored is None else stored.utc,
        updated_s_ago=None if stored is None else _seconds_since(stored.utc, now),
        progress=progress,
        known_answer=last_known_answer(folder),
    )


def _open(folder: Path) -> RunDirectory:
    try:
        return open_directory(folder)
    except DatasetError:
        # A run that connects to its device has no journal yet.
        run = RunDirectory(folder)
        if (folder / LOCK_FILE).exists() and run.campaign_path.exists():
            return run
        raise


def _state(
    folder: Path,
    events: Sequence[dict[str, Any]],
    stored: StoredProgress | None,
    owner: LockOwner | None,
    table: ProcessTable,
) -> tuple[RunState, str, str]:
    """Return the state, its reason, and what else is to be said."""
    stop = _last_stop(events)
    if owner is None:
        if stop is not None:
            return _ended(stop, folder)
        # A run from before there were locks, or one whose lock somebody has removed.
        if stored is None or table.find(stored.writer).is_over or stored.progress.state.is_over:
            return _killed(folder)
        writer = stored.writer
    else:
        writer = owner.process
    where = table.find(writer)
    if where.is_over:
        # It can be killed after its last word and before it gives its lock back.
        is_written_after = stored is not None and stored.progress.state.is_over
        return _ended(stop, folder) if stop is not None and is_written_after else _killed(folder)
    is_its_own = stored is not None and stored.writer == writer
    state = stored.progress.state if stored is not None and is_its_own else RunState.RUNNING
    reason = stored.progress.reason if stored is not None and is_its_own else ""
    if where is Whereabouts.ELSEWHERE:
        return state, reason, f"{writer} cannot be asked from here whether it still runs"
    return state, reason, ""


def _killed(folder: Path) -> tuple[RunState, str, str]:
    note = (
        f"nobody has made the chip and the instruments safe: look after them; hil resume {folder} "
        "continues"
    )
    return RunState.KILLED, "its process is gone", note


def _ended(stop: dict[str, Any], folder: Path) -> tuple[RunState, str, str]:
    status, reason = str(stop.get("status", "")), str(stop.get("reason", ""))
    if status in _STOP_STATES:
        return _STOP_STATES[status], reason or "; ".join(stop.get("failed", ())), ""
    is_interrupted = status == "interrupted" or reason.startswith(_INTERRUPTION)
    state = RunState.INTERRUPTED if is_interrupted else RunState.FAILED
    return state, reason, f"hil resume {folder} continues"


def _last_stop(events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return how the run ended, unless it went on afterwards."""
    last = next((event for event in reversed(events) if event["event"] in _MILESTONES), None)
    return last if last is not None and last["event"] == "stop" else None


def _writer(
    state: RunState, owner: LockOwner | None, stored: StoredProgress | None
) -> ProcessIdentity | None:
    if owner is not None:
        return owner.process
    is_open = not state.is_over or state is RunState.KILLED
    return stored.writer if is_open and stored is not None else None


def _seconds_since(utc: str, now: datetime) -> float | None:
    try:
        return max(0.0, (now - datetime.fromisoformat(utc)).total_seconds())
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A run that was found below a folder."""

    path: str
    """Its folder."""
    status: RunStatus | None
    """How it stands; None if it is damaged."""
    problem: str
    """What is wrong with it; empty if nothing."""
    part_of: str = ""
    """Folder of the runs of several chips that it is one of; empty if it is none."""
    has_begun: bool = True
    """Whether there is a run yet; one of several chips may not have begun."""


def find_runs(folder: Path, *, now: datetime, table: ProcessTable) -> list[FoundRun]:
    """Return the runs in a folder and below, newest first, damaged ones last.

    Hidden folders and links are not entered.

    Raises
    ------
    DatasetError
        If there is no such folder.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "no such folder"
        raise DatasetError(str(folder), [Problem("", what)])
    found = []
    for path, part_of in _run_folders(folder):
        if part_of and not path.exists():
            found.append(
                FoundRun(path=str(path), status=None, problem="", part_of=part_of, has_begun=False)
            )
            continue
        try:
            status = read_status(path, now=now, table=table)
            found.append(FoundRun(path=str(path), status=status, problem="", part_of=part_of))
        except DatasetError as error:
            problem = "; ".join(map(str, error.problems))
            found.append(FoundRun(path=str(path), status=None, problem=problem, part_of=part_of))
    found.sort(key=lambda run: run.path)
    found.sort(key=lambda run: "" if run.status is None else run.status.started_utc, reverse=True)
    return found


def _run_folders(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders of runs, each with that of several chips that it is a part of."""
    for parent, folders, files in os.walk(folder):
        chips = _chips_in(Path(parent))
        if chips:
            folders.clear()
            yield from ((Path(parent, chip), parent) for chip in chips)
            continue
        is_run = "journal.jsonl" in files or {"campaign.toml", LOCK_FILE} <= set(files)
        if is_run:
            folders.clear()  # no run lies inside another one
            yield Path(parent), ""
        else:
            folders[:] = sorted(name for name in folders if not name.startswith("."))


def _chips_in(folder: Path) -> tuple[str, ...]:
    """Return the chips whose runs a folder is for; none where it cannot be read which."""
    try:
        return read_chips_folder(folder).chips if is_chips_folder(folder) else ()
    except DatasetError:
        return ()
