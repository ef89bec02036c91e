"""The journal of a run: one JSON object per line, synced before anything relies on it."""

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from hil.core.errors import DatasetError, Problem
from hil_datasets.durable import names_failed_writes, sync_file


class Journal:
    """Appends events to ``journal.jsonl``.

    Events follow the words of the bluesky event model: ``start``, ``step``, ``stop``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, event: str, *, utc: str, **details: Any) -> None:
        """Append one event and sync it to the disk.

        Raises
        ------
        DatasetError
            If it cannot be written whole; what is written of it counts as nothing.
        """
        line = json.dumps({"event": event, "utc": utc, **details}).encode() + b"\n"
        with names_failed_writes(self._path):
            is_new = not self._path.exists()
            with self._path.open("a+b") as file:
                _drop_cut_short_line(file)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync_file(self._path.parent)


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

    A last line without a newline is one that a crash cut short; it is left out.

    Raises
    ------
    DatasetError
        If the file is missing, or a whole line is no event.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
    *lines, _cut_short = content.split(b"\n")
    return [_parse_event(path, number, line) for number, line in enumerate(lines, start=1)]


def _parse_event(path: Path, number: int, line: bytes) -> dict[str, Any]:
    where = f"line {number}"
    try:
        event = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise DatasetError(str(path), [Problem(where, f"is no JSON: {error}")]) from error
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise DatasetError(str(path), [Problem(where, "is no event: it has no text `event`")])
    return event
