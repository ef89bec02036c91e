"""Reading only what is a file: a pipe or a device would keep the reader waiting."""

from pathlib import Path

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.regular_file import read_regular_file

LARGEST_BYTES = 64 << 20
"""Most bytes of a file that is read whole, 64 MiB: a campaign, or settings as they came out."""
LARGEST_LINES_BYTES = 1 << 30
"""Most bytes of one that grows line by line (``.jsonl``), 1 GiB: the journal of a long run."""


def check_regular(path: Path) -> None:
    """Raise DatasetError unless there is a file, or a link to one.

    Raises
    ------
    OSError
        If the system cannot say.
    """
    if not path.is_file():
        what = "is no regular file" if path.exists() else "no such file"
        raise DatasetError(str(path), [Problem("", what)])


def read_regular(path: Path) -> bytes:
    """Return the content of a file.

    Raises
    ------
    DatasetError
        If it is missing, no file, larger than any of its kind, or cannot be read.
    """
    largest = LARGEST_LINES_BYTES if path.suffix == ".jsonl" else LARGEST_BYTES
    try:
        check_regular(path)
        return read_regular_file(path, largest=largest)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
    except ConfigError as error:
        raise DatasetError(error.source, error.problems) from error
