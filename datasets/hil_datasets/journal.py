"""The journal of a run: one JSON object per line, synced before anything relies on it."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hil.core.errors import DatasetError, Problem
from hil_datasets.durable import names_failed_writes, sync_file
from hil_datasets.journal_fields import EVENT_FIELDS, REQUIRED_FIELDS
from hil_datasets.regular_file import read_regular

BEGINNINGS = frozenset({"start", "resume"})
"""Events with which a process begins to write a run."""


class Journal:
    """Appends events to ``journal.jsonl``.

    Events follow the words of the bluesky event model: ``start``, ``step``, ``stop``; and
    ``resume``, ``skip``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, event: str, *, utc: str, **details: Any) -> None:
        """Append one event and sync it to the disk.

        NaN is stored as ``null``; of a text, such as a file name, what is no UTF-8 as its escape.

        Raises
        ------
        DatasetError
            If it cannot be written whole; what is written of it counts as nothing.
        """
        line = event_line(event, utc=utc, **details)
        with names_failed_writes(self._path):
            is_new = not self._path.exists()
            with self._path.open("a+b") as file:
                _drop_cut_short_line(file)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync_file(self._path.parent)


def event_line(event: str, *, utc: str, **details: Any) -> bytes:
    """Return an event as a line of a journal, its newline included; as `Journal.append` has it."""
    content = _storable({"event": event, "utc": utc, **details})
    return json.dumps(content, allow_nan=False).encode() + b"\n"


def _storable(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


def _drop_cut_short_line(file: BinaryIO) -> None:
    # A crash or a full disk left it; the next line would become part of it.
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read(size).rfind(b"\n") + 1)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the events of a journal.

    A last line without a newline is one that a crash cut short; it is left out. Every key of a
    known event is what the reference says, if it is there: only what tells a step from others
    must be. `null` among the errors of a step, and as the time of a recovery, is NaN here. Other
    keys and events are as they are.

    Raises
    ------
    DatasetError
        If the file is missing, or a whole line is no event, or one with an impossible value.
    """
    return parse_journal(path, read_regular(path))


def parse_journal(path: Path, content: bytes) -> list[dict[str, Any]]:
    """Return the events of a journal's content, as `read_journal`; `path` is for messages."""
    *lines, _cut_short = content.split(b"\n")
    return [parse_event(path, number, line) for number, line in enumerate(lines, start=1)]


def parse_event(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return the event of a whole line of a journal, without its newline.

    Raises
    ------
    DatasetError
        If it is none, or one with an impossible value.
    """
    where = f"line {number}"
    try:
        event = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise DatasetError(str(path), [Problem(where, f"is no JSON: {error}")]) from error
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise DatasetError(str(path), [Problem(where, "is no event: it has no text `event`")])
    what = event["event"]
    readers = EVENT_FIELDS.get(what, {})
    problems = [
        Problem(where, f"{what} event: {name}: missing")
        for name in REQUIRED_FIELDS.get(what, ())
        if name not in event
    ]
    for name, read in readers.items():
        try:
            if name in event:
                event[name] = read(event[name])
        except (ValueError, OverflowError) as error:
            problems.append(Problem(where, f"{what} event: {name}: {error}"))
    if problems:
        raise DatasetError(str(path), problems)
    return event


def last_beginning(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the last ``start`` or ``resume`` event; empty if there is none."""
    found: Mapping[str, Any] = {}
    for event in events:
        if event["event"] in BEGINNINGS:
            found = event
    return found


def last_stop(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the ``stop`` event, unless there is none or the run went on after it."""
    found: Mapping[str, Any] | None = None
    for event in events:
        if event["event"] == "stop":
            found = event
        elif event["event"] in BEGINNINGS:
            found = None
    return found
