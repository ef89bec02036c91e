"""A file that is made beside its name and gets it when it is whole."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil_datasets.durable import sync_file
from hil_datasets.leftovers import BESIDE_PREFIX, BESIDE_SUFFIX, in_use, remove_leftovers


@contextmanager
def file_beside(path: Path, *, may_replace: bool) -> Iterator[Path]:
    """Give the name of an empty file beside `path`; after the body it is synced and renamed.

    If the body raises, nothing of it stays behind.

    Parameters
    ----------
    path
        The name that it gets.
    may_replace
        Whether a file of that name is replaced; whoever asks has looked at what it is.

    Raises
    ------
    FileExistsError
        If there is a file of that name, and it may not be replaced.
    OSError, ValueError
        If it cannot be written, or no file can have this name.
    """
    remove_leftovers(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=BESIDE_PREFIX, suffix=BESIDE_SUFFIX, dir=path.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        with in_use(part):
            yield part
            mask = os.umask(0)
            os.umask(mask)
            part.chmod(0o666 & ~mask)
            sync_file(part)
            if may_replace:
                part.replace(path)
            else:
                os.link(part, path)  # unlike a rename, this never replaces
    finally:
        part.unlink(missing_ok=True)
    sync_file(path.parent)
