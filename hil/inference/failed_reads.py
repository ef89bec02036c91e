"""An input that the system cannot read is told as one, with its path."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.core.errors import DatasetError, Problem


@contextmanager
def names_failed_reads(path: Path) -> Iterator[None]:
    """Turn a failure to read, in the body, into a `DatasetError` with the path and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
