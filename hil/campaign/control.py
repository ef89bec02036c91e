"""Stopping a run from another terminal: a request in its folder, and a signal to its process.

The request says what is wanted and of whom, so that one left for a writer that has ended means
nothing to the next. The runner looks for it between blocks. A process on this machine also gets
SIGTERM: at once where it shall stop at once, otherwise if it has not taken notice in a while. It is
never killed, because the chip would stay as it is. A signal takes proof: the system's lock is held,
and number, start time and start of the machine are those of the lock file.
"""

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from hil.campaign.process_identity import ProcessIdentity, ProcessTable, Whereabouts
from hil.campaign.progress_file import read_progress
from hil.campaign.run_events import RunState
from hil.campaign.run_lock import LOCK_FILE, is_lock_held, read_lock
from hil.core.errors import DatasetError, Problem
from hil_datasets.durable import PART_SUFFIX

STOP_REQUEST = "stop-request.json"
_LARGEST_BYTES = 65536
_LOOK_EVERY_S = 0.1
_FIRST_PROCESS = 1
"""It starts the machine or the container; its end is the end of everything there."""
_PATIENCE_S = 2.0
"""How long a process may take to notice a request before it gets a signal, or another one."""


class StopKind(StrEnum):
    """How fast a run shall stop."""

    AFTER_BLOCK = "after_block"
    """When the block of vectors that is being read is stored."""
    AT_ONCE = "at_once"
    """Without waiting for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequest:
    """A wish that a run stops."""

    kind: StopKind
    """How fast."""
    by: str
    """Who wishes it."""
    utc: str
    """Since when, ISO 8601."""


def leave_stop_request(
    folder: Path,
    kind: StopKind,
    *,
    writer: ProcessIdentity,
    by: ProcessIdentity,
    now: Callable[[], datetime],
) -> None:
    """Ask the writer of a run to stop.

    Raises
    ------
    OSError
        If the request cannot be written.
    """
    content = {
        "kind": str(kind),
        "by": str(by),
        "utc": now().isoformat(timespec="seconds"),
        "writer": writer.to_json(),
    }
    part = folder / f"{STOP_REQUEST}.{by.pid}{PART_SUFFIX}"
    part.write_bytes(json.dumps(content).encode() + b"\n")
    part.replace(folder / STOP_REQUEST)


class StopRequests:
    """What a writer is asked by those who want its run to stop.

    Parameters
    ----------
    folder
        The run directory.
    writer
        The process that writes it; requests to others mean nothing.
    """

    def __init__(self, folder: Path, writer: ProcessIdentity) -> None:
        self._path = folder / STOP_REQUEST
        self._writer = writer

    def pending(self) -> StopRequest | None:
        """Return what is asked; cheap enough to look between any two blocks."""
        try:
            if not self._path.is_file():
                return None
            with self._path.open("rb") as file:
                value = json.loads(file.read(_LARGEST_BYTES).decode())
            if ProcessIdentity.from_json(value["writer"]) != self._writer:
                return None
            return StopRequest(
                kind=StopKind(value["kind"]), by=str(value["by"]), utc=str(value["utc"])
            )
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def clear(self) -> None:
        """Remove a request, when the run begins, goes on or has ended."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return  # it names its writer, so what is left of it harms nobody


class StopOutcome(StrEnum):
    """What has come of asking a run to stop."""

    NOT_RUNNING = "not_running"
    """Nobody writes it."""
    WAS_KILLED = "was_killed"
    """Its writer was gone already."""
    STOPPED = "stopped"
    """Its writer has ended."""
    STILL_RUNNING = "still_running"
    """Its writer has not ended in time; it has the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReport:
    """What was done to stop a run, and what came of it."""

    outcome: StopOutcome
    """What came of it."""
    writer: ProcessIdentity | None
    """Who wrote the run; None if nobody did."""
    signals: int
    """How many signals the writer got."""
    note: str
    """What else there is to know, such as why no signal could be sent; empty if nothing."""
    waited_s: float
    """How long it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTools:
    """The world, as far as stopping a run needs it."""

    table: ProcessTable
    """The processes of this machine."""
    now: Callable[[], datetime]
    """The time, UTC."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    sleep: Callable[[float], None]
    """Waits so many seconds."""


def stop_run(folder: Path, kind: StopKind, *, wait_s: float, tools: StopTools) -> StopReport:
    """Ask a run to stop, and wait until it has.

    Raises
    ------
    DatasetError
        If its lock cannot be read, or the request cannot be written.
    """
    try:
        owner = read_lock(folder)
    except ValueError as error:
        raise DatasetError(str(folder), [Problem("", str(error))]) from error
    began_s = tools.clock()
    if owner is None:
        return _report(StopOutcome.NOT_RUNNING, None, tools.clock() - began_s)
    writer = owner.process
    if tools.table.find(writer).is_over:
        return _report(StopOutcome.WAS_KILLED, writer, tools.clock() - began_s)
    try:
        leave_stop_request(folder, kind, writer=writer, by=tools.table.own(), now=tools.now)
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise DatasetError(str(folder / STOP_REQUEST), [Problem("", reason)]) from error
    return _wait_for_end(folder, writer, kind, wait_s, tools)


def _wait_for_end(
    folder: Path, writer: ProcessIdentity, kind: StopKind, wait_s: float, tools: StopTools
) -> StopReport:
    began_s = tools.clock()
    next_signal_s = began_s if kind is StopKind.AT_ONCE else began_s + _PATIENCE_S
    most_signals = 2 if kind is StopKind.AT_ONCE else 1
    signals, note = 0, ""
    while not _has_ended(folder, writer, tools.table):
        now_s = tools.clock()
        if now_s - began_s >= wait_s:
            return _report(StopOutcome.STILL_RUNNING, writer, wait_s, signals=signals, note=note)
        if not note and signals < most_signals and now_s >= next_signal_s:
            if kind is StopKind.AFTER_BLOCK and _is_stopping(folder, writer):
                most_signals = 0  # it has taken notice
            else:
                note = _send_sigterm(folder, writer, tools.table)
                signals += not note
                next_signal_s = now_s + _PATIENCE_S
        tools.sleep(_LOOK_EVERY_S)
    return _report(StopOutcome.STOPPED, writer, tools.clock() - began_s, signals=signals, note=note)


def _report(
    outcome: StopOutcome,
    writer: ProcessIdentity | None,
    waited_s: float,
    *,
    signals: int = 0,
    note: str = "",
) -> StopReport:
    return StopReport(outcome=outcome, writer=writer, signals=signals, note=note, waited_s=waited_s)


def _has_ended(folder: Path, writer: ProcessIdentity, table: ProcessTable) -> bool:
    if table.find(writer).is_over:
        return True
    try:
        owner = read_lock(folder)
    except ValueError:
        return False
    return owner is None or owner.process != writer


def _is_stopping(folder: Path, writer: ProcessIdentity) -> bool:
    stored = read_progress(folder)
    return (
        stored is not None
        and stored.writer == writer
        and (stored.progress.state is RunState.STOPPING or stored.progress.state.is_over)
    )


def _send_sigterm(folder: Path, writer: ProcessIdentity, table: ProcessTable) -> str:
    """Send SIGTERM to a process if it is the one that is meant; return why not."""
    descriptor = None
    try:
        # The number may be given to another process at any moment, the descriptor never is:
        # what is looked up while it is open is the process that gets the signal.
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # it is on another machine or gone, or the kernel is old
                descriptor = os.pidfd_open(writer.pid)
        if table.find(writer).is_over:
            return ""
        if doubt := _doubt(folder, writer, table):
            return f"no signal was sent: {doubt}"
        if descriptor is None:
            os.kill(writer.pid, signal.SIGTERM)
        else:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return ""
    except OSError as error:
        return f"no signal was sent to {writer}: {error.strerror or error}"
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return ""


def _doubt(folder: Path, writer: ProcessIdentity, table: ProcessTable) -> str:
    """Return why a process must not get a signal, or may not be the one meant; empty if neither."""
    if table.find(writer) is Whereabouts.ELSEWHERE:
        return f"{writer} is on another machine, it has only the request"
    if writer.pid == os.getpid():
        return "the run is written by this very process"
    if writer.pid == _FIRST_PROCESS:
        return "process 1 is never sent one"
    if not table.is_certainly(writer):
        return f"it is not proven that {writer} is the one that {LOCK_FILE} means"
    if not is_lock_held(folder):
        return f"nobody holds {LOCK_FILE}, so {writer} does not write the run"
    return ""
