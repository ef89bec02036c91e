"""Runs by what a user names: a run, a packed file, or a folder of any number of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hil.core.errors import DatasetError, Problem
from hil_datasets.packed.layout import PACK_SUFFIX
from hil_datasets.run_directory import RunDirectory

_DEEPEST = 4
"""Folders inside each other that are looked into: benches, campaigns, chips, runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A run that was found."""

    path: Path
    """Its folder or file."""
    name: str
    """What tells it from the others: its place in the folder that was named, without ending."""
    is_named: bool
    """Whether the user named it, and not a folder around it."""


def find_runs(path: Path) -> list[FoundRun]:
    """Return the runs that a path leads to, sorted by their names.

    Parameters
    ----------
    path
        A run, a packed file, the folder of several chips, or any folder of these.

    Raises
    ------
    DatasetError
        If there is none, or the folder cannot be read.
    """
    try:
        if path.is_file() or RunDirectory(path).journal_path.is_file():
            name = path.resolve().name.removesuffix(PACK_SUFFIX)
            return [FoundRun(path=path, name=name, is_named=True)]
        if not path.is_dir():
            raise DatasetError(str(path), [Problem("", "no such file or folder")])
        found = sorted(_runs_below(path, _DEEPEST))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error
    if not found:
        raise DatasetError(str(path), [Problem("", "holds no run, and no packed file")])
    return [
        FoundRun(
            path=run,
            name="-".join(run.relative_to(path).parts).removesuffix(PACK_SUFFIX),
            is_named=False,
        )
        for run in found
    ]


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_symlink():
            continue
        if entry.is_file():
            if entry.name.endswith(PACK_SUFFIX):
                yield entry
        elif RunDirectory(entry).journal_path.is_file():
            yield entry
        elif entry.is_dir() and depth > 1:
            yield from _runs_below(entry, depth - 1)
