"""Runs by what a user names: a run, a packed file, or any folder with such below it.

A folder is a run if it has a journal; the folder of several chips holds one for each. Below a
folder no link is followed, no run is looked into, and names that begin with a dot are passed over:
what is being made lies under one until it is whole.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from hil.core.errors import DatasetError, Problem
from hil_datasets.packed.layout import PACK_SUFFIX
from hil_datasets.run_directory import RunDirectory

MOST_FOLDERS = 100_000
"""Folders that are looked into below one that was named: whole disks are refused, not searched."""
_MOST_FOLDERS_FOR_WORDS, _MOST_NAMED = 1000, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A run that was found."""

    path: Path
    """Its folder or file."""
    name: str
    """What tells it from the others: its place in the folder that was named, without ending."""
    is_named: bool
    """Whether the user named it, and not only a folder around it."""


def find_runs(
    paths: Iterable[Path], *, may_be_none: bool = False, most_folders: int = MOST_FOLDERS
) -> list[FoundRun]:
    """Return the runs that paths lead to, each once: as the paths are, below one sorted by path.

    Parameters
    ----------
    paths
        Folders of runs, files, or folders with such below them. A file that is named may have any
        name, one that is found below a folder must end in ``.hil.h5``.
    may_be_none
        Whether a folder may hold none.
    most_folders
        How many folders are looked into below a path.

    Raises
    ------
    DatasetError
        If there is nothing at a path, or no run at or below it; if a folder cannot be read, or has
        too many below it.
    """
    found: dict[str, FoundRun] = {}
    for path in paths:
        runs = list(_runs_at(path, most_folders))
        if not runs and not may_be_none:
            raise DatasetError(str(path), [Problem("", "holds no run, and no packed file")])
        for run in runs:
            real = os.path.realpath(run.path)
            first = found.setdefault(real, run)
            found[real] = replace(first, is_named=first.is_named or run.is_named)
    return list(found.values())


def words_of_runs_below(path: Path) -> str:
    """Return what is added to the refusal of a folder that is no run but holds some.

    The first few are named; nothing is returned where there is none, or that cannot be seen soon.
    """
    runs: list[Path] = []
    with suppress(DatasetError, OSError):
        for run in islice(_runs_below(path, _MOST_FOLDERS_FOR_WORDS), _MOST_NAMED + 1):
            runs.append(run)  # noqa: PERF402 - those before a folder that cannot be read are kept
    if not runs:
        return ""
    names = ", ".join(str(run) for run in runs[:_MOST_NAMED])
    more = ", ..." if len(runs) > _MOST_NAMED else ""
    return f"; below it {'are the runs' if runs[1:] else 'is the run'} {names}{more}: give one"


def _runs_at(path: Path, most_folders: int) -> Iterator[FoundRun]:
    try:
        if not path.exists():
            raise DatasetError(str(path), [Problem("", "no such file or folder")])
        if not path.is_dir() or RunDirectory(path).journal_path.is_file():
            name = path.resolve().name.removesuffix(PACK_SUFFIX)
            yield FoundRun(path=path, name=name, is_named=True)
            return
        for run in _runs_below(path, most_folders):
            name = "-".join(run.relative_to(path).parts).removesuffix(PACK_SUFFIX)
            yield FoundRun(path=run, name=name, is_named=False)
    except OSError as error:
        where = str(error.filename or path)
        reason = error.strerror or str(error)
        raise DatasetError(where, [Problem("", f"cannot be read: {reason}")]) from error


def _runs_below(folder: Path, most_folders: int) -> Iterator[Path]:
    # Not by calling itself: folders may lie deeper inside each other than calls may.
    waiting, looked_into = [folder], 0
    while waiting:
        place = waiting.pop()
        if place.name.endswith(PACK_SUFFIX) and place.is_file():
            yield place
            continue
        if RunDirectory(place).journal_path.is_file():
            yield place
            continue
        looked_into += 1
        if looked_into > most_folders:
            message = f"has more than {most_folders} folders below it: name one nearer to the runs"
            raise DatasetError(str(folder), [Problem("", message)])
        waiting += reversed(_candidates(place))


def _candidates(folder: Path) -> list[Path]:
    """Return the folders and packed files in a folder, sorted by name."""
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and (
                entry.is_dir(follow_symlinks=False)
                or (entry.name.endswith(PACK_SUFFIX) and entry.is_file(follow_symlinks=False))
            )
        ]
    return [folder / name for name in sorted(names)]
