"""Reading only what is a file: a pipe or a device would keep the reader waiting."""

from pathlib import Path

from hil.core.errors import DatasetError, Problem


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
        If it is missing, no file, or cannot be read.
    """
    try:
        check_regular(path)
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
