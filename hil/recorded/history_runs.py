"""Runs that a chip's book names, and opening runs of which some may be damaged."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hil.core.errors import DatasetError
from hil_datasets.chip_book.entry import CampaignStarted
from hil_datasets.chip_book.library import list_books
from hil_datasets.found_runs import FoundRun
from hil_datasets.opened import open_source
from hil_datasets.run_directory import RunDirectory
from hil_datasets.run_source import RunSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something that was found and not used."""

    path: Path
    """The run, or what seemed to be one."""
    reason: str
    """Why."""
    is_problem: bool = True
    """Whether something is wrong with it."""


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
    there = [path for path in runs if RunDirectory(path).journal_path.is_file()]
    for path in runs:
        if path not in there:
            reason = "the chip's book names it; it is not there any more"
            left_out.append(LeftOut(path=path, reason=reason, is_problem=False))
    return there, left_out


def open_each(runs: Iterable[FoundRun], left_out: list[LeftOut]) -> Iterator[RunSource]:
    """Yield each run that can be opened; note why the others cannot."""
    for run in runs:
        try:
            yield open_source(run.path)
        except DatasetError as error:
            left_out.append(LeftOut(path=run.path, reason=str(error)))
