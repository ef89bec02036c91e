"""The file of a book: appended to and read under a lock, synced before anything relies on it."""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hil.core.errors import DatasetError, Problem
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.content import BookContent, extend_content
from hil_datasets.chip_book.entry import BookEntry, BookOpened
from hil_datasets.chip_book.line import encode_line
from hil_datasets.durable import names_failed_writes, sync_file

_LOCK_TIMEOUT_S = 10.0
"""How long another process may take to append; it takes milliseconds unless it is stopped."""
_LOCK_POLL_S = 0.005


class ChipBook:
    """Appends to the book of a chip, which any number of processes may do at once.

    What was read of the file stays in memory, and only what was appended since is read again: lines
    that are there never change.

    Parameters
    ----------
    path
        The file; it and its folder are made when the first entry is written.
    key
        Which chip it is of.
    lock_timeout_s
        How long to wait for another process that writes.
    """

    def __init__(
        self, path: Path, key: ChipKey, *, lock_timeout_s: float = _LOCK_TIMEOUT_S
    ) -> None:
        self.path = path
        """The file."""
        self.key = key
        """Which chip it is of."""
        self._lock_timeout_s = lock_timeout_s
        self._known = BookContent()
        self._known_file: tuple[int, int] | None = None

    def read(self) -> BookContent:
        """Return what the book holds; nothing if it does not exist.

        Raises
        ------
        DatasetError
            If it cannot be read, is of another chip, or another process keeps it locked.
        """
        content = read_book(self.path, lock_timeout_s=self._lock_timeout_s)
        self._check_key(content)
        return content

    def append(
        self, entry: BookEntry, *, check: Callable[[BookContent], None] = lambda _: None
    ) -> int:
        """Append an entry, sync it to the disk, and return its number.

        Parameters
        ----------
        entry
            What to write.
        check
            Called with what the book holds, while no other process can change it; what it raises
            keeps the entry from being written.

        Raises
        ------
        DatasetError
            If it cannot be written whole; what is written of it counts as nothing. If the book is
            of another chip, or another process keeps it locked.
        """
        with names_failed_writes(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path, os.O_RDWR | os.O_CREAT, self._lock_timeout_s) as file:
                content = self._load(file)
                self._check_key(content)
                check(content)
                return self._write(file, content, entry)

    def _load(self, file: int) -> BookContent:
        status = os.fstat(file)
        is_known = self._known_file == (status.st_dev, status.st_ino)
        if not is_known or status.st_size < self._known.size:
            self._known = BookContent()
        self._known = extend_content(self._known, _read_from(file, self._known.size))
        self._known_file = (status.st_dev, status.st_ino)
        return self._known

    def _check_key(self, content: BookContent) -> None:
        if content.key not in {None, self.key}:
            problem = Problem("line 1", f"is the book of {content.key}, not of {self.key}")
            raise DatasetError(str(self.path), [problem])

    def _write(self, file: int, content: BookContent, entry: BookEntry) -> int:
        number, added = content.next_number, b""
        if content.lines == 0:
            opened = BookOpened(
                utc=entry.utc,
                manufacturer=self.key.manufacturer,
                model=self.key.model,
                serial=self.key.serial,
            )
            added, number = encode_line(1, opened), 2
        added += encode_line(number, entry)
        os.ftruncate(file, content.size)  # a line that a crash cut short
        rest = memoryview(added)
        os.lseek(file, content.size, os.SEEK_SET)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
        if content.lines == 0:
            self._sync_folders()
        return number

    def _sync_folders(self) -> None:
        """Sync the name of a new book, and those of the folders made for it."""
        folder = self.path.parent
        sync_file(folder)
        for above in list(folder.parents)[:2]:
            with suppress(PermissionError):  # not ours: then it was there before
                sync_file(above)


def read_book(path: Path, *, lock_timeout_s: float = _LOCK_TIMEOUT_S) -> BookContent:
    """Return what a book holds; nothing if it does not exist.

    Damaged lines do not make it unreadable: they are among the problems.

    Raises
    ------
    DatasetError
        If it cannot be read, or another process keeps it locked.
    """
    try:
        with _locked(path, os.O_RDONLY, lock_timeout_s) as file:
            return extend_content(BookContent(), _read_from(file, 0))
    except FileNotFoundError:
        return BookContent()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error


@contextmanager
def _locked(path: Path, flags: int, timeout_s: float) -> Iterator[int]:
    """Open a regular file and lock it: for all others to write, for nobody else but readers.

    The lock is that of ``flock``: it belongs to the open file and not to the process, so that it
    holds between threads, and ends with the process however that ends.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        # Without O_NONBLOCK a pipe without a writer would be waited for.
        file = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise DatasetError(str(path), [Problem("", "is no regular file")])
            _wait_for_lock(file, path, flags, deadline)
            if _still_names(path, file):
                yield file
                return
        finally:
            os.close(file)


def _wait_for_lock(file: int, path: Path, flags: int, deadline: float) -> None:
    kind = fcntl.LOCK_EX if flags & os.O_RDWR else fcntl.LOCK_SH
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                message = "is kept locked by another process; is one of hil stopped or hung?"
                raise DatasetError(str(path), [Problem("", message)]) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return


def _still_names(path: Path, file: int) -> bool:
    """Tell whether the file was not moved or replaced while its lock was waited for."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _read_from(file: int, offset: int) -> bytes:
    parts = []
    os.lseek(file, offset, os.SEEK_SET)
    while part := os.read(file, 1 << 20):
        parts.append(part)
    return b"".join(parts)
