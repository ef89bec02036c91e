"""Making written bytes survive a crash of the process or of the machine."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.core.errors import DatasetError, Problem

PART_SUFFIX = ".part"
"""Ending of a file that is not finished; only that of a step is ever read again."""

MAKING_SUFFIX = ".making"
"""Ending of what is being made of a step file in one go; what is left of one means nothing."""


def sync_file(path: Path) -> None:
    """Force a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve_room(descriptor: int) -> None:
    """Set room on the disk aside for all of a file, holes too: writing into it is faster then.

    Raises
    ------
    OSError
        If the disk has not so much room. One that cannot set room aside is no error.
    """
    try:
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise


@contextmanager
def finished_file(path: Path, *, suffix: str = PART_SUFFIX) -> Iterator[Path]:
    """Give a name to write under; on success the file is synced and gets its own name.

    If the body raises, the partial file stays behind under its ``.part`` name, or the one with
    another `suffix`.
    """
    part = path.with_name(path.name + suffix)
    yield part
    sync_file(part)
    part.replace(path)
    sync_file(path.parent)  # the new name itself


@contextmanager
def names_failed_writes(path: Path) -> Iterator[None]:
    """Turn a failure to write, in the body, into a `DatasetError` with the file and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be written: {reason}")]) from error


class WriteLatch:
    """A file for HDF5 to write to: it keeps its first failure, and drops all that follows.

    HDF5 cannot let go of what it failed to write: on a full disk its close fails, and the process
    ends in a segmentation fault (seen with HDF5 2.0). So it never hears of a failure;
    whoever owns the file asks with `check` after every flush. What was written before the failure
    stays as it is.

    Parameters
    ----------
    path
        File to write.
    is_new
        Whether it is made, or emptied if it exists; otherwise it must exist and is kept.
    """

    def __init__(self, path: Path, *, is_new: bool = True) -> None:
        self._file = path.open("w+b" if is_new else "r+b", buffering=0)
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def sync(self) -> None:
        """Force what was written to the disk."""
        os.fsync(self._file.fileno())

    def write_head(self, content: bytes) -> None:
        """Write bytes that are none of HDF5's to the beginning of the file."""
        os.pwrite(self._file.fileno(), content, 0)

    def write_at(self, content: memoryview, offset: int) -> None:
        """Write all of `content` at a place that HDF5 has set aside, unless a write has failed."""
        if self._failure is not None:
            return
        try:
            written = os.pwrite(self._file.fileno(), content, offset)
            if written == content.nbytes:
                return
            rest = content.cast("B")[written:]
            while rest.nbytes:
                offset += written
                written = os.pwrite(self._file.fileno(), rest, offset)
                rest = rest[written:]
        except OSError as error:
            self._failure = error

    def fileno(self) -> int:
        """Return the descriptor, to read with."""
        return self._file.fileno()

    def write(self, content: memoryview) -> int:
        """Write all of `content`, unless a write has failed."""
        rest = memoryview(content).cast("B")
        length = len(rest)
        try:
            while rest and self._failure is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error
        return length

    def truncate(self, size: int) -> int:
        """Set the size, unless a write has failed."""
        try:
            if self._failure is None:
                self._file.truncate(size)
        except OSError as error:
            self._failure = error
        return size

    def flush(self) -> None:
        """Do nothing: every write goes to the operating system at once."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the place of the next read or write."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place of the next read or write."""
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Read bytes."""
        return self._file.read(size)

    def readinto(self, buffer: bytearray) -> int:
        """Read bytes into a buffer."""
        return self._file.readinto(buffer)
