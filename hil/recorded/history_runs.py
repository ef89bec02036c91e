"""Finding runs: folders and packed files below some folders, and those that a chip's book names."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hil.core.errors import ConfigError, DatasetError, Problem
from hil_datasets.chip_book.entry import CampaignStarted
from hil_datasets.chip_book.library import list_books
from hil_datasets.opened import open_source
from hil_datasets.run_source import RunSource

PACKED_SUFFIX = ".hil.h5"
"""How the names of packed files end."""
_JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something that was found and not used."""

    path: Path
    """The run, or what seemed to be one."""
    reason: str
    """Why."""
    is_problem: bool = True
    """Whether something is wrong with it."""


def find_runs_below(roots: Iterable[Path]) -> list[Path]:
    """Return every run at or below some paths, each once, sorted by path within a root.

    Runs are folders with a journal, and files whose name ends in ``.hil.h5``; a file that is named
    itself may have any name. Links to folders are not followed, and no run is looked into.

    Raises
    ------
    ConfigError
        If a path does not exist, or cannot be read.
    """
    found: dict[str, Path] = {}
    for root in roots:
        if not root.exists():
            raise ConfigError(str(root), [Problem("", "no such file or folder")])
        for path in [root] if root.is_file() else _below(root):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _below(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        reason = error.strerror or str(error)
        raise ConfigError(str(error.filename), [Problem("", f"cannot be read: {reason}")])

    for folder, folders, files in os.walk(root, onerror=refuse):
        if _JOURNAL in files:
            folders.clear()
            yield Path(folder)
            continue
        folders.sort()
        yield from (Path(folder) / name for name in sorted(files) if name.endswith(PACKED_SUFFIX))


def runs_in_books(books: Path, serial: str) -> tuple[list[Path], list[LeftOut]]:
    """Return the runs that the books of the chips with a serial number name.

    Returns
    -------
    Those that are still there; and those that are not, with damaged places of the books.

    Raises
    ------
    DatasetError
        If the books cannot be read.
    """
    runs: dict[Path, None] = {}
    left_out: list[LeftOut] = []
    for book in list_books(books):
        key = book.content.key
        if key is None or key.serial != serial:
            continue
        left_out += [LeftOut(path=book.path, reason=str(one)) for one in book.content.problems]
        for numbered in book.content.entries:
            # What programs without a run, as `hil calibrate best` can, names none.
            if isinstance(numbered.entry, CampaignStarted) and numbered.entry.run:
                runs[Path(numbered.entry.run)] = None
    there = [path for path in runs if (path / _JOURNAL).is_file()]
    for path in runs:
        if path not in there:
            reason = "the chip's book names it; it is not there any more"
            left_out.append(LeftOut(path=path, reason=reason, is_problem=False))
    return there, left_out


def open_each(paths: Iterable[Path], left_out: list[LeftOut]) -> Iterator[RunSource]:
    """Yield each run that can be opened; note why the others cannot."""
    for path in paths:
        try:
            yield open_source(path)
        except DatasetError as error:
            left_out.append(LeftOut(path=path, reason=str(error)))
