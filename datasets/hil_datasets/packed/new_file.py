"""A file that appears under its name when it is whole, and replaces nothing unasked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from hil.core.errors import ConfigError, DatasetError, Problem
from hil_datasets.file_beside import file_beside

_OPENING = b"hil-pack "
"""What the seal of a packed file begins with."""


def check_free(path: Path, *, may_replace: bool, keeps_readouts: bool = False) -> None:
    """Raise ConfigError if a file must not get this name.

    Parameters
    ----------
    path
        The name.
    may_replace
        Whether a file that exists may be replaced.
    keeps_readouts
        Whether what is written holds a run's readouts: nothing else may replace such a file.

    Raises
    ------
    ConfigError
        If there is a file of that name and it may not be replaced, or something else, or there is
        no such folder.
    """
    reason = ""
    try:
        if path.exists() or path.is_symlink():
            if what := _what_is_no_file(path):
                reason = f"is {what}; choose another name (nothing was changed)"
            elif not may_replace:
                reason = "exists; use --force to replace it"
            elif not keeps_readouts and holds_readouts(path):
                reason = HOLDS_READOUTS
        elif not path.parent.is_dir():
            reason = f"cannot be written: there is no folder {path.parent}"
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        reason = f"cannot be used: {getattr(error, 'strerror', None) or error}"
    if reason:
        raise ConfigError(str(path), [Problem("", reason)])


def _what_is_no_file(path: Path) -> str:
    """Return what is there that is no file; nothing where it is one."""
    if path.is_symlink():
        return "a symbolic link"
    if path.is_dir():
        return "a folder"
    return "" if path.is_file() else "no regular file"


HOLDS_READOUTS = (
    "is a packed run with its readouts, which --force does not replace: choose another name, or "
    "remove it first"
)
"""Why a file must not get this name."""


def holds_readouts(path: Path) -> bool:
    """Say whether a file is a packed run that may be the only copy of its readouts.

    It is told by its first bytes and the one attribute; of a damaged one it is assumed.
    """
    with path.open("rb") as file:
        if file.read(len(_OPENING)) != _OPENING:
            return False
    try:
        with h5py.File(path, "r") as packed:
            return bool(packed.attrs["has_readouts"] != 0)
    except (OSError, RuntimeError, ValueError, TypeError, LookupError):
        return True


@contextmanager
def new_file(path: Path, *, may_replace: bool, keeps_readouts: bool = False) -> Iterator[Path]:
    """Give the name of an empty file beside `path`; on success it is synced and renamed.

    If the body raises, nothing of it stays behind.

    Raises
    ------
    ConfigError
        As `check_free`.
    DatasetError
        If it cannot be written.
    """
    check_free(path, may_replace=may_replace, keeps_readouts=keeps_readouts)
    try:
        with file_beside(path, may_replace=may_replace) as part:
            yield part
    except FileExistsError:
        raise ConfigError(str(path), [Problem("", "exists; use --force to replace it")]) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be written: {reason}")]) from error
