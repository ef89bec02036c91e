"""The file of a run's lock: placed whole, replaced whole, and locked when it appears.

`hil.campaign.run_lock` has the rules.
"""

import errno
import fcntl
import os
import time
from pathlib import Path

from hil_datasets.durable import PART_SUFFIX

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_NO_SYSTEM_LOCKS = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL})


def place_new(path: Path, content: bytes) -> int | None:
    """Make the lock file; return its descriptor, locked, or None if there is one."""
    if path.is_symlink() or path.exists():
        return None
    part, descriptor = _write_part(path, content)
    try:
        os.link(part, path)
    except (FileExistsError, FileNotFoundError):  # not found: another process tidied it away
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _NO_LINKS:
            raise
        return _place_without_links(path, content)
    finally:
        part.unlink(missing_ok=True)
    return descriptor


def _place_without_links(path: Path, content: bytes) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    _fill(descriptor, content)
    return descriptor


def replace_file(path: Path, content: bytes) -> int:
    """Put another lock file in the place of one whose system's lock is held."""
    part, descriptor = _write_part(path, content)
    try:
        part.replace(path)
    except OSError:
        os.close(descriptor)
        part.unlink(missing_ok=True)
        raise
    return descriptor


def _write_part(path: Path, content: bytes) -> tuple[Path, int]:
    part = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}{PART_SUFFIX}")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _fill(descriptor, content)
    except OSError:
        os.close(descriptor)
        part.unlink(missing_ok=True)
        raise
    return part, descriptor


def _fill(descriptor: int, content: bytes) -> None:
    take_system_lock(descriptor)
    os.write(descriptor, content)
    os.fsync(descriptor)


def take_system_lock(descriptor: int) -> bool:
    """Say whether nobody else has the system's lock; where there are none, nobody has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_SYSTEM_LOCKS:
            raise
    return True


def is_file_at(descriptor: int, path: Path) -> bool:
    """Say whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
