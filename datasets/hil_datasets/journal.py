"""The journal of a run: one JSON object per line, synced before anything relies on it."""

import json
import os
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError, Problem


class Journal:
    """Appends events to ``journal.jsonl``.

    Events follow the words of the bluesky event model: ``start``, ``step``, ``stop``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, event: str, *, utc: str, **details: Any) -> None:
        """Append one event and sync it to the disk."""
        line = json.dumps({"event": event, "utc": utc, **details})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the events of a journal.

    A last line without a newline is one that a crash cut short; it is left out.

    Raises
    ------
    DatasetError
        If the file is missing, or a whole line is no JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(str(path), [Problem("", f"cannot be read: {error}")]) from error
    events = []
    *lines, _cut_short = text.split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except json.JSONDecodeError as error:
            problem = Problem(f"line {number}", f"is no JSON: {error}")
            raise DatasetError(str(path), [problem]) from error
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise DatasetError(str(path), [Problem(f"line {number}", "is no event")])
        events.append(event)
    return events
