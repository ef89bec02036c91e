"""One writer per run directory.

``lock.json`` names the process that writes a run, and that process holds a lock of the operating
system (flock) on it, which ends with the process however that ends. The rules:

- The file appears whole, by a link that fails where it exists, and is replaced whole by a rename.
  So a reader never sees half of it, and no kill leaves half of it behind.
- Who finds one takes the system's lock on it first, then looks whether it is still the file of
  that name. Of two processes that find the same dead owner, one becomes the next.
- An owner counts as dead if its process on this machine is gone, has another start time, or the
  machine has started again since, and nobody holds the system's lock.
- The owner on another machine cannot be asked: its lock is broken only on request.
- Readers only read.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from hil.campaign.process_identity import ProcessIdentity, ProcessTable, Whereabouts
from hil.campaign.run_lock_file import is_file_at, place_new, replace_file, take_system_lock
from hil.core.errors import ConfigError, Problem

LOCK_FILE = "lock.json"
_TRIES, _BETWEEN_TRIES_S = 50, 0.02
"""How long to wait for another process that is about to take or give back the lock: a second."""
_LARGEST_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOwner:
    """Who a lock file names."""

    process: ProcessIdentity
    """The process that writes the run."""
    since: str
    """Since when, ISO 8601, UTC."""

    def __str__(self) -> str:
        return f"{self.process}, since {self.since}"


class RunLock:
    """A run directory's lock, held until `release` or the end of the process."""

    def __init__(self, path: Path, descriptor: int, owner: LockOwner, note: str) -> None:
        self._path = path
        self._descriptor = descriptor
        self.owner = owner
        """What the lock file says: this process."""
        self.note = note
        """From whom the lock was taken over, and why that was right; empty for a new one."""

    @property
    def is_held(self) -> bool:
        """Whether the lock is still this process's own, and nobody has broken it."""
        return self._descriptor >= 0 and is_file_at(self._descriptor, self._path)

    def release(self) -> None:
        """Give the lock back, unless somebody has broken it."""
        if self._descriptor < 0:
            return
        try:
            if self.is_held:
                self._path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def acquire_run_lock(
    folder: Path,
    *,
    now: Callable[[], datetime],
    table: ProcessTable | None = None,
    breaks_lock: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> RunLock:
    """Become the one writer of a run directory.

    Parameters
    ----------
    folder
        The run directory.
    now
        The time, UTC.
    table
        The processes of this machine.
    breaks_lock
        Whether a lock of another machine, or one that cannot be read, is taken all the same. A
        live process of this machine keeps its lock even then.
    sleep
        Waits so many seconds.

    Raises
    ------
    ConfigError
        If another process has it, or may have it, or the folder cannot be written.
    """
    table = table or ProcessTable()
    path = folder / LOCK_FILE
    since = now().isoformat(timespec="seconds")
    owner = LockOwner(process=table.own(), since=since)
    content = json.dumps({**owner.process.to_json(), "since": since}).encode() + b"\n"
    refusal = "changes hands all the time"
    try:
        for _ in range(_TRIES):
            descriptor = place_new(path, content)
            if descriptor is not None:
                return RunLock(path, descriptor, owner, "")
            found = _Found.at(path)
            if found is None:
                continue  # it was given back meanwhile
            with found:
                refusal, may_change = found.judge(table, breaks_lock=breaks_lock)
                if not refusal:
                    note = f"took over the lock of {found.who}: {found.why_over(table)}"
                    return RunLock(path, replace_file(path, content), owner, note)
            if not may_change:
                break
            sleep(_BETWEEN_TRIES_S)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(str(folder), [Problem("", f"cannot be locked: {reason}")]) from error
    raise ConfigError(str(folder), [Problem("", refusal)])


def read_lock(folder: Path) -> LockOwner | None:
    """Return whom the lock of a run directory names; None if there is none.

    Raises
    ------
    ValueError
        If the lock file is none, or cannot be read.
    """
    path = folder / LOCK_FILE
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{LOCK_FILE}: is no regular file")
        with path.open("rb") as file:
            return _parse(file.read(_LARGEST_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{LOCK_FILE}: {error.strerror or error}") from error


def is_lock_held(folder: Path) -> bool:
    """Tell whether some process holds the system's lock on a run directory's lock file.

    What the file says proves nothing: it may be left from long ago, or copied with the folder.
    """
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # Shared, and given back at once: who comes to take the lock meanwhile tries again.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


class _Found:
    """A lock file that was there, opened, with the system's lock on it if that was free."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_free = take_system_lock(descriptor)
        try:
            self.owner: LockOwner | None = _parse(os.pread(descriptor, _LARGEST_BYTES, 0))
        except ValueError:
            self.owner = None

    @classmethod
    def at(cls, path: Path) -> "_Found | None":
        """Open the lock file; None if there is none, or there is another one by now."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        found = cls(descriptor)
        if is_file_at(descriptor, path):
            return found
        os.close(descriptor)
        return None

    @property
    def who(self) -> str:
        return "an unknown process" if self.owner is None else str(self.owner)

    def why_over(self, table: ProcessTable) -> str:
        """Say why the lock may be taken."""
        if self.owner is None:
            return "it could not be read, and was to be broken"
        return {
            Whereabouts.GONE: "that process is gone",
            Whereabouts.REUSED: "that process is gone, and another one has its number",
            Whereabouts.REBOOTED: "the machine has started again since",
        }.get(table.find(self.owner.process), "it was to be broken")

    def judge(self, table: ProcessTable, *, breaks_lock: bool) -> tuple[str, bool]:
        """Say why the lock must not be taken, and whether that may pass in a moment."""
        if self.owner is None:
            if self.is_free and breaks_lock:
                return "", False
            unreadable = (
                f"its {LOCK_FILE} cannot be read, so who writes it is not known; if nobody does, "
                "use --break-lock"
            )
            return unreadable, not self.is_free
        where = table.find(self.owner.process)
        if where.is_over:
            # Whoever has the system's lock is just taking over, or is a child left behind.
            left_behind = (
                f"is locked by {self.who}, which is gone, but a process that it started is not: "
                "end that first"
            )
            return ("" if self.is_free else left_behind), True
        if where is Whereabouts.ELSEWHERE and self.is_free:
            if breaks_lock:
                return "", False
            elsewhere = (
                f"is written by {self.who}; that is another machine, which cannot be asked from "
                "here: if nothing runs there any more, use --break-lock"
            )
            return elsewhere, False
        return f"is written by {self.who}: hil status shows it, hil abort stops it", False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _parse(content: bytes) -> LockOwner:
    try:
        value = json.loads(content.decode())
        process = ProcessIdentity.from_json(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{LOCK_FILE}: {error}") from error
    since = value.get("since")
    if not isinstance(since, str):
        raise ValueError(f"{LOCK_FILE}: since is {since!r}: must be text")  # noqa: TRY004
    return LockOwner(process=process, since=since)
