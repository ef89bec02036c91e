"""What a killed process leaves of a file or folder that it was making, told from what still grows.

Whatever is made beside its later name is called ``.hil-XXXX.part``, and locked by who makes it. The
system gives the lock up with the process, so that whoever can take it knows that nobody writes.
"""

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BESIDE_PREFIX, BESIDE_SUFFIX = ".hil-", ".part"
"""How the name of what is being made begins and ends."""
_YOUNGEST_S = 60.0
"""Age below which nothing is removed: between its making and its locking nobody holds it."""


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Hold a file or folder that is being made for the length of the body.

    A file system without locks is no error: nothing is ever removed there.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove from a folder what killed processes of this user were making in it.

    Nothing is said where that fails: it costs room, and nothing reads it.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(BESIDE_PREFIX) and entry.name.endswith(BESIDE_SUFFIX):
                with suppress(OSError):
                    _remove_unused(Path(entry.path))


def _remove_unused(path: Path) -> None:
    status = path.lstat()
    is_folder = stat.S_ISDIR(status.st_mode)
    if (
        not (is_folder or stat.S_ISREG(status.st_mode))
        or status.st_uid != os.getuid()
        or time.time() - status.st_mtime < _YOUNGEST_S
    ):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_folder:
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
