"""Making written bytes survive a crash of the process or of the machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART_SUFFIX = ".part"
"""Ending of a file that is not finished; such a file is never read."""


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def finished_file(path: Path) -> Iterator[Path]:
    """Give a name to write under; on success the file is synced and gets its own name.

    If the body raises, the partial file stays behind under its ``.part`` name.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    yield part
    sync_file(part)
    part.replace(path)
    sync_file(path.parent)  # the new name itself
