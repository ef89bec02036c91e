"""What a damaged HDF5 file makes of whoever reads it, and the error that is told instead."""

from collections.abc import Iterator
from contextlib import contextmanager

from hil.core.errors import DatasetError, HilError, Problem

DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, MemoryError)
"""h5py passes on whatever the HDF5 library, NumPy or its own code trip over in a damaged file."""


def damage_of(error: BaseException) -> Problem:
    """Return the problem of a file in whose reading an error of `DAMAGE` was met."""
    return Problem("/", f"cannot be read as HDF5, it is damaged: {error}")


@contextmanager
def damage_named(source: str) -> Iterator[None]:
    """Raise whatever HDF5 makes of a damaged file as an error of the file.

    Parameters
    ----------
    source
        Name of the file, for messages.

    Raises
    ------
    DatasetError
        If damage is met in the body; this project's own errors go through.
    """
    try:
        yield
    except HilError:
        raise
    except DAMAGE as error:
        # Only the operating system's own refusals have words of their own.
        refusal = error.strerror if isinstance(error, OSError) and error.errno else None
        problem = Problem("", f"cannot be read: {refusal}") if refusal else damage_of(error)
        raise DatasetError(source, [problem]) from error
