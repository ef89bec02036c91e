"""All the books of a folder, and which one the user means."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.legible import quoted
from hil_datasets.chip_book.book import ChipBook, read_book
from hil_datasets.chip_book.chip_key import SUFFIX, ChipKey
from hil_datasets.chip_book.content import BookContent

_MOST_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBook:
    """A book on the disk."""

    path: Path
    """The file."""
    content: BookContent
    """What it holds."""


def book_of(key: ChipKey, folder: Path) -> ChipBook:
    """Return the book of a chip in a folder of books; it need not exist."""
    return ChipBook(folder / key.file_name, key)


def list_books(folder: Path) -> list[StoredBook]:
    """Return every book of a folder, sorted by file name; none if there is no such folder.

    Raises
    ------
    DatasetError
        If the folder or one of the books cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(folder), [Problem("", f"cannot be read: {reason}")]) from error
    return [StoredBook(path=path, content=_read_checked(path)) for path in paths]


def _read_checked(path: Path) -> BookContent:
    content = read_book(path)
    if content.key is not None and content.key.file_name != path.name:
        message = f"is the book of {content.key}, whose name is {content.key.file_name}"
        raise DatasetError(str(path), [Problem("line 1", message)])
    return content


def find_book(
    folder: Path, serial: str, *, manufacturer: str | None = None, model: str | None = None
) -> StoredBook:
    """Return the book of the chip with a serial number.

    Parameters
    ----------
    folder
        Folder of books.
    serial
        The serial number, or the name of the book's file, which is never ambiguous.
    manufacturer, model
        Which of several chips with that serial number.

    Raises
    ------
    ConfigError
        If there is none, with the one most like it, or more than one, with all of them.
    DatasetError
        If the books cannot be read.
    """
    books = list_books(folder)
    found = [book for book in books if _is_meant(book, serial, manufacturer, model)]
    if len(found) == 1:
        return found[0]
    message = _ambiguous(serial, found) if found else _unknown(serial, books, folder)
    raise ConfigError("SERIAL", [Problem("", message)])


def _is_meant(book: StoredBook, serial: str, manufacturer: str | None, model: str | None) -> bool:
    key = book.content.key
    if serial == book.path.name:
        return True
    return (
        key is not None
        and key.serial == serial
        and manufacturer in {None, key.manufacturer}
        and model in {None, key.model}
    )


def _ambiguous(serial: str, found: list[StoredBook]) -> str:
    candidates = "".join(
        f"\n  {book.content.key} ({book.path.name})" for book in found[:_MOST_SHOWN]
    )
    return (
        f"{len(found)} chips have the serial number {quoted(serial)}; choose with --manufacturer "
        f"and --model:{candidates}"
    )


def _unknown(serial: str, books: list[StoredBook], folder: Path) -> str:
    known = sorted({book.content.key.serial for book in books if book.content.key is not None})
    if not known:
        return f"no chip has a book yet in {folder}"
    close = difflib.get_close_matches(serial, known, n=1)
    shown = ", ".join(map(quoted, known[:_MOST_SHOWN]))
    hint = f"did you mean {quoted(close[0])}?" if close else f"known: {shown}"
    return f"no chip as asked for has the serial number {quoted(serial)}; {hint}"
