"""A whole book: its entries, and what is wrong in it."""

from dataclasses import dataclass, replace

from hil.core.errors import Problem
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.entry import BookEntry, BookOpened
from hil_datasets.chip_book.line import decode_line


@dataclass(frozen=True, slots=True)
class NumberedEntry:
    """An entry and its number."""

    number: int
    """Number of the entry, and of its line; from 1."""
    entry: BookEntry
    """What it tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookContent:
    """What a book holds."""

    key: ChipKey | None = None
    """Which chip it is of; None if the book is empty, or its first line damaged."""
    entries: tuple[NumberedEntry, ...] = ()
    """What can be read, in order, without the first one."""
    problems: tuple[Problem, ...] = ()
    """What cannot be read, or is missing, each with the number of its line."""
    lines: int = 0
    """Whole lines."""
    size: int = 0
    """Bytes of them; what follows was cut short by a crash."""
    last_number: int = 0
    """Number of the last entry that can be read."""
    damaged_since: int = 0
    """Lines after it that cannot."""
    lost_before: int = 0
    """Entries before it that are damaged or missing."""

    @property
    def lost(self) -> int:
        """How many entries are damaged or missing, as far as can be told."""
        return self.lost_before + self.damaged_since

    @property
    def next_number(self) -> int:
        """Number of the next entry."""
        return self.last_number + self.damaged_since + 1


def extend_content(content: BookContent, added: bytes) -> BookContent:
    """Return a book with what was appended to it.

    Parameters
    ----------
    content
        The book before.
    added
        Bytes from ``content.size`` on. A last line without a newline is one that a crash cut short:
        nobody relied on it, and it is left out.

    Notes
    -----
    Of entries that are missing between two others there are as many as their numbers leave room
    for, or as many as damaged lines stand there, whichever is more.
    """
    *lines, cut_short = added.split(b"\n")
    reader = _Reader(content)
    for line in lines:
        reader.take(line)
    return replace(
        reader.content,
        entries=content.entries + tuple(reader.entries),
        problems=content.problems + tuple(reader.problems),
        size=content.size + len(added) - len(cut_short),
    )


class _Reader:
    """Takes lines in their order."""

    def __init__(self, content: BookContent) -> None:
        self.entries: list[NumberedEntry] = []
        self.problems: list[Problem] = []
        self._key = content.key
        self._lines = content.lines
        self._last = content.last_number
        self._damaged = content.damaged_since
        self._lost = content.lost_before

    @property
    def content(self) -> BookContent:
        """How far it has come, without entries and problems."""
        return BookContent(
            key=self._key,
            lines=self._lines,
            last_number=self._last,
            damaged_since=self._damaged,
            lost_before=self._lost,
        )

    def take(self, line: bytes) -> None:
        self._lines += 1
        try:
            number, entry = decode_line(line)
            self._check_place(number, entry)
        except ValueError as error:
            self._damaged += 1
            self._complain(str(error))
            return
        missing = number - self._last - 1
        if missing > self._damaged:
            self._complain(f"is entry {number}, the last one before it is {self._last or 'none'}")
        self._lost += max(missing, self._damaged)
        self._last, self._damaged = number, 0
        if isinstance(entry, BookOpened):
            self._key = ChipKey(
                manufacturer=entry.manufacturer, model=entry.model, serial=entry.serial
            )
        else:
            self.entries.append(NumberedEntry(number, entry))

    def _check_place(self, number: int, entry: BookEntry) -> None:
        if number <= self._last:
            raise ValueError(f"is entry {number}, which was here already: two books in one file?")
        if isinstance(entry, BookOpened) and self._lines > 1:
            raise ValueError("is the beginning of a book: two books in one file?")

    def _complain(self, message: str) -> None:
        self.problems.append(Problem(f"line {self._lines}", message))
