"""``progress.json``: how far a run is, for whoever looks at it from another terminal."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from hil.campaign.pause_tally import CurrentPause
from hil.campaign.process_identity import ProcessIdentity
from hil.campaign.run_events import RunEnded, RunEvent, RunStarted, RunState
from hil.campaign.run_progress import CurrentStep, CurrentWait, RunProgress, utc_text
from hil.campaign.run_tally import RunTally
from hil_datasets.durable import PART_SUFFIX

PROGRESS_FILE = "progress.json"
_EVERY_S = 0.5
_WAITING_EVERY_S = 5.0
"""Nothing but the time left changes while the run waits, for days perhaps."""
_SCHEMA_VERSION = 1
_LARGEST_BYTES = 4 << 20


class ProgressFile:
    """A `RunWatcher` that keeps ``progress.json`` up to date.

    It is replaced as a whole, at most twice a second and once more at the end. It is not forced to
    the disk: after a power failure the journal says what is finished.

    Parameters
    ----------
    writer
        The process that writes the run.
    now
        The time, UTC.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        *,
        writer: ProcessIdentity,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._now = now
        self._clock = clock
        self._tally = RunTally(clock=clock)
        self._due_s = clock()
        self._is_stale = False

    def hear(self, event: RunEvent) -> None:
        """Take note of an event; write if it is time to."""
        self._tally.hear(event)
        self._is_stale = True
        if isinstance(event, RunStarted | RunEnded):
            self._write()
        else:
            self.tick()

    def tick(self) -> None:
        """Write what is not written yet, if it is time to."""
        is_idle = self._tally.is_waiting or self._tally.is_paused
        is_old = is_idle and self._clock() >= self._due_s + _WAITING_EVERY_S
        if is_old or (self._is_stale and self._clock() >= self._due_s):
            self._write()

    def close(self) -> None:
        """Write what is not written yet."""
        if self._is_stale:
            self._write()

    def _write(self) -> None:
        if self._tally.run is None:
            return
        # Also where the write fails, so that a full disk is not tried at every block.
        self._due_s = self._clock() + _EVERY_S
        content = {
            "schema_version": _SCHEMA_VERSION,
            "utc": utc_text(self._now()),
            "writer": self._writer.to_json(),
            **self._tally.progress().to_json(),
        }
        path = self._tally.run / PROGRESS_FILE
        part = path.with_name(PROGRESS_FILE + PART_SUFFIX)
        part.write_bytes(json.dumps(content, allow_nan=False).encode() + b"\n")
        part.replace(path)
        self._is_stale = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProgress:
    """What ``progress.json`` says."""

    progress: RunProgress
    """How far the run is."""
    writer: ProcessIdentity
    """The process that has written it."""
    utc: str
    """When, ISO 8601."""


def read_progress(folder: Path) -> StoredProgress | None:
    """Return what the progress file of a run says; None if there is none, or none that is whole."""
    path = folder / PROGRESS_FILE
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            value = json.loads(file.read(_LARGEST_BYTES).decode())
        if not isinstance(value, dict) or value.get("schema_version") != _SCHEMA_VERSION:
            return None
        return StoredProgress(
            progress=_progress_of(value),
            writer=ProcessIdentity.from_json(value.get("writer")),
            utc=str(value.get("utc", "")),
        )
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _progress_of(value: Mapping[str, Any]) -> RunProgress:
    for name in ("steps_done", "steps", "vectors_done", "vectors"):
        if type(value.get(name)) is not int:
            raise TypeError(f"{name} is no number")
    for name in ("reason", "title", "chip", "last_errors_step", "last_fault", "unsafe"):
        if not isinstance(value.get(name), str):
            raise TypeError(f"{name} is no text")
    for name in ("vectors_per_s", "worst_errors", "last_errors", "faults", "failed"):
        if not isinstance(value.get(name), dict):
            raise TypeError(f"{name} is no object")
    numbers = [value["elapsed_s"], *value["vectors_per_s"].values(), *value["faults"].values()]
    optional = [value["eta_s"], *value["last_errors"].values(), *value["worst_errors"].values()]
    for number in [*numbers, *(number for number in optional if number is not None)]:
        if not isinstance(number, int | float):
            raise TypeError(f"{number!r} is no number")
    # A file of a version that knew less of a run lacks what came later.
    known = {item.name: value[item.name] for item in fields(RunProgress) if item.name in value}
    current = tuple(CurrentStep(**step) for step in value["current"])
    made: dict[str, Any] = {
        "state": RunState(value["state"]),
        "current": current,
        "waiting": _wait_of(value),
        "pause": _pause_of(value),
    }
    return RunProgress(**{**known, **made})


def _wait_of(value: Mapping[str, Any]) -> CurrentWait | None:
    match value.get("waiting"):
        case None:
            return None
        case {"reason": str(reason), "left_s": None | int() | float() as left_s}:
            return CurrentWait(reason=reason, left_s=left_s)
    raise TypeError("waiting is no wait")


def _pause_of(value: Mapping[str, Any]) -> CurrentPause | None:
    match value.get("pause"):
        case None:
            return None
        case {
            "for_s": int() | float() as for_s,
            "found": str(found),
            "left_s": None | int() | float() as left_s,
        }:
            return CurrentPause(for_s=for_s, found=found, left_s=left_s)
    raise TypeError("pause is no pause")
