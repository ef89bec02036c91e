"""``log.jsonl``: what happens in a run, one JSON object per line, bounded in size."""

import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, BinaryIO, Self

from hil.campaign.run_events import (
    FaultMet,
    LeftUnsafe,
    PauseSeen,
    RunEnded,
    RunEvent,
    RunPaused,
    RunStarted,
    RunState,
    StepFailed,
    StopAsked,
    VectorsRead,
    Warned,
)

LOG_FILE = "log.jsonl"
_PIECE_BYTES = 4 << 20
_KEPT_PIECES = 4
_LONGEST_TEXT = 8192
_PACKAGES = ("hil", "hil_drivers", "hil_calibration", "hil_datasets", "hil_mock_device")
_WARNINGS = (LeftUnsafe, FaultMet, RunPaused, StepFailed, StopAsked, Warned)


class LogFile:
    """A file of JSON lines that never grows beyond its bound and never raises.

    When a piece is full it becomes ``log.1.jsonl``, the former one ``log.2.jsonl`` and so on; the
    oldest is removed. What cannot be written is counted, and the next line that can says how many
    were lost.

    Parameters
    ----------
    path
        The newest piece; continued if it exists.
    now
        The time, UTC.
    piece_bytes
        Size of a piece beyond which the next one is begun.
    kept
        Pieces kept besides the newest.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], datetime],
        piece_bytes: int = _PIECE_BYTES,
        kept: int = _KEPT_PIECES,
    ) -> None:
        self._path = path
        self._now = now
        self._piece_bytes = piece_bytes
        self._kept = kept
        self._file: BinaryIO | None = None
        self._lost = 0
        self._lock = Lock()

    def write(self, level: str, event: str, *, utc: datetime | None = None, **details: Any) -> None:
        """Append a line."""
        time = (utc or self._now()).isoformat(timespec="milliseconds")
        content = {"utc": time, "level": level, "event": event, **_storable(details)}
        with self._lock:
            if self._lost:
                lost = {"utc": time, "level": "warning", "event": "lost", "lines": self._lost}
                if not self._append(lost):
                    self._lost += 1
                    return
                self._lost = 0
            if not self._append(content):
                self._lost += 1

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._drop()

    def _append(self, content: Mapping[str, Any]) -> bool:
        line = json.dumps(content, allow_nan=False).encode() + b"\n"
        try:
            file = self._open()
            if file.tell() and file.tell() + len(line) > self._piece_bytes:
                self._rotate()
                file = self._open()
            self._write_whole(file, line)
        except (OSError, ValueError):
            self._drop()
            return False
        return True

    def _open(self) -> BinaryIO:
        if self._file is None:
            # Unbuffered: a line is with the operating system before the campaign goes on.
            self._file = self._path.open("ab", buffering=0)
            if self._file.tell() and not _ends_with_newline(self._path):
                self._file.write(b"\n")  # a kill has cut the last line short
        return self._file

    @staticmethod
    def _write_whole(file: BinaryIO, line: bytes) -> None:
        before = file.tell()
        written = file.write(line)
        if written != len(line):
            with suppress(OSError):
                os.ftruncate(file.fileno(), before)
            raise OSError("written only in part")

    def _rotate(self) -> None:
        self._drop()
        for number in range(self._kept - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._piece(number).replace(self._piece(number + 1))
        if self._kept:
            self._path.replace(self._piece(1))
        else:
            self._path.unlink()

    def _piece(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.stem}.{number}{self._path.suffix}")

    def _drop(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _storable(value: Any) -> Any:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _storable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            items = sorted(map(str, value)) if isinstance(value, set | frozenset) else value
            return [_storable(item) for item in items]
    text = str(value).encode(errors="backslashreplace").decode()
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


class _LogHandler(logging.Handler):
    """Carries what any module says to its logger into a log file."""

    def __init__(self, file: LogFile) -> None:
        super().__init__(level=logging.INFO)
        self._log = file

    def emit(self, record: logging.LogRecord) -> None:
        details: dict[str, Any] = {"logger": record.name}
        with suppress(Exception):  # a message that does not fit its arguments stops nothing
            details["message"] = record.getMessage()
        if record.exc_info:
            with suppress(Exception):
                details["error"] = logging.Formatter().formatException(record.exc_info)
        self._log.write(
            record.levelname.lower(),
            "log",
            utc=datetime.fromtimestamp(record.created, tz=UTC),
            **details,
        )


class RunLog:
    """A `RunWatcher` that writes the log of a run, and all that is logged meanwhile.

    Parameters
    ----------
    now
        The time, UTC.
    """

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._log: LogFile | None = None
        self._handler: _LogHandler | None = None
        self._levels: dict[str, int] = {}

    def hear(self, event: RunEvent) -> None:
        """Write an event down, unless it is one of very many."""
        if isinstance(event, RunStarted) and self._log is None:
            self._open(event.run / LOG_FILE)
        if self._log is None or isinstance(event, VectorsRead | PauseSeen):
            return
        details = {item.name: getattr(event, item.name) for item in fields(event)}
        if isinstance(event, RunStarted):
            details["steps"] = len(event.steps)
            details["finished"] = len(event.finished)
        self._log.write(_level_of(event), _snake_case(type(event).__name__), **details)

    def tick(self) -> None:
        """Do nothing: every line is written at once."""

    def close(self) -> None:
        """Close the file, and listen to loggers no longer."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
            for name, level in self._levels.items():
                logging.getLogger(name).setLevel(level)
        if self._log is not None:
            self._log.close()
        self._handler, self._log = None, None

    def _open(self, path: Path) -> None:
        self._log = LogFile(path, now=self._now)
        self._handler = _LogHandler(self._log)
        logging.getLogger().addHandler(self._handler)
        for name in _PACKAGES:
            logger = logging.getLogger(name)
            self._levels[name] = logger.level
            if not logger.isEnabledFor(logging.INFO):
                logger.setLevel(logging.INFO)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _level_of(event: RunEvent) -> str:
    if isinstance(event, RunEnded) and event.state is RunState.FAILED:
        return "error"
    return "warning" if isinstance(event, _WARNINGS) else "info"


def _snake_case(name: str) -> str:
    """Return the name of a class in the words of the log.

    Examples
    --------
    >>> _snake_case("StepFinished")
    'step_finished'
    """
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]
