"""The journal of a run: one JSON object per line, synced before anything relies on it."""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hil.core.errors import DatasetError, Problem
from hil.core.readout import ReadMode
from hil_datasets.durable import names_failed_writes, sync_file
from hil_datasets.regular_file import read_regular
from hil_datasets.step_files.stored_errors import errors_from_json
from hil_datasets.step_kind import StepKind
from hil_datasets.visit_terms import terms_from_json

_SHA256 = re.compile("[0-9a-f]{64}")


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
    readers = _READERS.get(what, {})
    problems = [
        Problem(where, f"{what} event: {name}: missing")
        for name in _REQUIRED.get(what, ())
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


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {value!r}: must be text")  # noqa: TRY004 - one error for what is stored
    value.encode()  # JSON's escapes can make half a character, which nothing prints
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"is {value!r}: must be a list of texts")  # noqa: TRY004
    return [_text(item) for item in value]


def _named_texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"is {value!r}: must be an object of texts")  # noqa: TRY004
    return {_text(name): _text(item) for name, item in value.items()}


def _seconds(value: object) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"is {value!r}: must be seconds, 0 or more, or null")
    return float(value)


def _counts(value: object) -> dict[str, int]:
    if not isinstance(value, dict) or not all(
        type(count) is int and count >= 0 for count in value.values()
    ):
        raise ValueError(f"is {value!r}: must be an object of numbers, 0 or more")
    return {_text(name): count for name, count in value.items()}


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"is {value!r}: must be a number, 0 or more")
    return value


def _sources(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(source, dict) for source in value):
        raise ValueError(f"is {value!r}: must be a list of objects")
    for source in value:
        _text(source.get("journal_sha256"))
        _texts(source.get("steps"))
    return value


def _read_mode(value: object) -> ReadMode:
    return ReadMode(_text(value))


def _kind(value: object) -> StepKind:
    return StepKind(_text(value))


def _sha256(value: object) -> str:
    if not isinstance(value, str) or _SHA256.fullmatch(value) is None:
        raise ValueError(f"is {value!r}: must be a SHA-256, 64 digits of 0-9 and a-f")
    return value


def _named_hashes(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"is {value!r}: must be an object of SHA-256 hashes")  # noqa: TRY004
    return {_text(name): _sha256(item) for name, item in value.items()}


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"is {value!r}: must be true or false")  # noqa: TRY004
    return value


def _refit_options(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != {"set", "calibration_vectors"}:
        raise ValueError(f"is {value!r}: must be an object of set and calibration_vectors")
    vectors = value["calibration_vectors"]
    vectors = None if vectors is None else _number(vectors)
    return {"set": _texts(value["set"]), "calibration_vectors": vectors}


_BEGINNING: dict[str, Callable[[object], Any]] = {
    "refit_of": _named_hashes,
    "converted_from": _named_hashes,
    "mapping_sha256": _sha256,
    "synthesised": _yes_or_no,
    "options": _refit_options,
    "utc": _text,
    "campaign": _text,
    "campaign_sha256": _text,
    "resolved_sha256": _text,
    "resource": _text,
    "chip": _text,
    "identity": _named_texts,
    "geometry": _counts,
    "software": _named_texts,
    "planned": _texts,
    "visits": terms_from_json,
    "work": _named_texts,
    "instruments": _named_texts,
}
_READERS: dict[str, dict[str, Callable[[object], Any]]] = {
    "start": _BEGINNING | {"title": _text, "replay_of": _named_texts, "replayed_run": _text},
    "resume": _BEGINNING | {"config": _text, "accepted": _texts},
    "program": {
        "utc": _text,
        "core": _number,
        "weights": _text,
        "bench_s": _seconds,
        "step": _text,
    },
    "step": {
        "utc": _text,
        "core": _number,
        "read_mode": _read_mode,
        "visit": _number,
        "kind": _kind,
        "file": _text,
        "raw_sha256": _text,
        "concluded_sha256": _sha256,
        "errors": errors_from_json,
        "reason": _text,
        "remark": _text,
        "synthesised": _yes_or_no,
    },
    "skip": {
        "utc": _text,
        "step": _text,
        "core": _number,
        "read_mode": _read_mode,
        "visit": _number,
        "kind": _kind,
        "reason": _text,
    },
    "fault": {
        "utc": _text,
        "step": _text,
        "kind": _text,
        "request": _text,
        "detail": _text,
        "recovered_s": _seconds,
    },
    "failure": {"utc": _text, "step": _text, "reason": _text},
    "suspect": {
        "utc": _text,
        "step": _text,
        "first_vector": _number,
        "vectors": _number,
        "reason": _text,
        "file": _text,
    },
    "pause": {"utc": _text, "step": _text, "reason": _text},
    "continue": {"utc": _text, "step": _text},
    "repair": {
        "utc": _text,
        "of": _text,
        "step": _text,
        "state": _text,
        "proof": _text,
        "vectors": _number,
        "vectors_lost": _number,
        "raw_sha256": _text,
        "was_raw_sha256": _text,
        "lines_lost": _number,
        "file": _text,
        "lost": _texts,
    },
    "merge": {"utc": _text, "sources": _sources},
    "split": {
        "utc": _text,
        "by": _text,
        "part": _text,
        "steps": _texts,
        "journal_sha256": _text,
    },
    "stop": {
        "utc": _text,
        "status": _text,
        "reason": _text,
        "failed": _texts,
        "faults": _counts,
    },
}
_REQUIRED = {"step": ("core", "read_mode", "raw_sha256"), "skip": ("core", "read_mode")}


BEGINNINGS = frozenset({"start", "resume"})
"""Events with which a process begins to write a run."""


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
