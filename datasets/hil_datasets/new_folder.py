"""A folder that appears under its name when it is whole: of a run, or of several."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hil.core.errors import ConfigError, DatasetError, HilError, Problem
from hil_datasets.durable import names_failed_writes, sync_file
from hil_datasets.leftovers import BESIDE_PREFIX, BESIDE_SUFFIX, in_use, remove_leftovers
from hil_datasets.run_directory import check_run_folder

_TAKEN = "was taken by another process meanwhile; choose another folder with --out"


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a name beside `out` for the body to make a folder under; it becomes `out` in the end.

    Before that nothing appears under the name `out`. The name that is given lies in a hidden
    folder, which may hold whatever else the body needs, and which is gone in the end, however the
    body ends; only a process that is killed leaves it behind.

    Parameters
    ----------
    out
        The folder to make; it may exist if it is empty.

    Raises
    ------
    ConfigError
        If `out` is a link, a file or a folder that holds anything, lies inside a run, or cannot be
        written.
    DatasetError
        If the body cannot write: places in what it makes are told as places in `out`.
    """
    check_new_folder(out)
    with _folder_above(out) as parent:
        with _names_refusal(out):
            remove_leftovers(parent)
            scratch = tempfile.TemporaryDirectory(
                prefix=BESIDE_PREFIX, suffix=BESIDE_SUFFIX, dir=parent
            )
        with scratch as place, in_use(Path(place)):
            made = Path(place) / "made"
            with _places_in(out, made), names_failed_writes(out):
                yield made
                sync_file(made)
                _put(made, out)
                sync_file(parent)


def check_new_folder(out: Path) -> None:
    """Raise ConfigError unless `out` may become a new folder, as `new_folder` has it."""
    with _names_refusal(out):
        refusal = ""
        if out.is_symlink():
            refusal = "is a symbolic link"
        elif out.exists() and not out.is_dir():
            refusal = "is a file"
    if not refusal:
        check_run_folder(out)
        with _names_refusal(out):
            if out.is_dir() and any(out.iterdir()):  # of a run that ended before its journal began
                refusal = "is not empty"
    if refusal:
        message = f"{refusal}; choose another folder with --out (nothing was changed)"
        raise ConfigError(str(out), [Problem("", message)])


def _put(made: Path, out: Path) -> None:
    try:
        made.rename(out)  # replaces an empty folder, and nothing else
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
            raise ConfigError(str(out), [Problem("", _TAKEN)]) from error
        raise


@contextmanager
def _folder_above(out: Path) -> Iterator[Path]:
    """Give the folder of `out`; if it had to be made and the body fails, it is gone again."""
    parent = out.absolute().parent
    with _names_refusal(out):
        missing = [each for each in (parent, *parent.parents) if not each.exists()]
        parent.mkdir(parents=True, exist_ok=True)
    try:
        yield parent
    except BaseException:
        for each in missing:
            with suppress(OSError):  # somebody else has put something there
                each.rmdir()
        raise


@contextmanager
def _names_refusal(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        if isinstance(error, HilError):
            raise
        why = getattr(error, "strerror", None) or error
        reason = f"cannot be used as output folder: {why}"
        raise ConfigError(str(out), [Problem("", reason)]) from error


@contextmanager
def _places_in(out: Path, made: Path) -> Iterator[None]:
    """Let errors name what the user knows of: nothing under the other name will be there."""
    try:
        yield
    except (ConfigError, DatasetError) as error:
        place = Path(error.source)
        if not place.is_relative_to(made):
            raise
        raise type(error)(str(out / place.relative_to(made)), error.problems) from error
