"""Reading CSV files piece by piece, as fast as numpy reads numbers; a fault is told by line."""

import csv
import io
import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.legible import printable, quoted
from hil.core.regular_file import open_regular_file

_PIECE_BYTES = 8 << 20
_LONGEST_LINE = 16 << 20
_NEWLINE = ord("\n")
_HIGHEST = np.iinfo(np.int64).max
_NEARLY_WHOLE = re.compile(
    rb"\.(?:0{6,}[0-9]*[1-9]|9{6,})"  # 1 + 1e-16 and 2**31 + 1e-7 are whole in float64
    rb"|(?=[0-9.]{17,}[eE])[0-9.]*[1-9][eE]"
)
"""What may be in the text of a number that is whole only after it is rounded to float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvPiece:
    """Some lines of a CSV file."""

    first_line: int
    """Number of the first one in the file, from 1."""
    numbers: npt.NDArray[Any]
    """Shape (line, column), int64 or float64; 0 in columns of texts."""
    rounded: Mapping[tuple[int, int], str]
    """Texts of cells that are no whole numbers although their float64 is, by line and column."""
    texts: dict[int, list[str]]
    """The cells of columns of texts."""


class CsvFile:
    """A CSV file with a header.

    Lines that begin with ``#`` before the header are left out, and so are empty lines at the end.

    Parameters
    ----------
    path
        The file.
    delimiter
        What stands between two cells.
    open_end
        Whether its last line may lack the line break.

    Raises
    ------
    DatasetError
        If it cannot be read, or has no header, or one that names a column twice, or if its end may
        be cut.
    """

    def __init__(self, path: Path, delimiter: str, *, open_end: bool = False) -> None:
        self._path = path
        self._delimiter = delimiter
        with self._opened() as stream:
            self._header_line = self._skip_remarks(stream)
            self.header = self._parse_header(stream.readline(_LONGEST_LINE))
            self._begin = stream.tell()
            if not open_end:
                self._require_end(stream)

    def pieces(self, texts: Collection[int]) -> Iterator[CsvPiece]:
        """Yield the lines after the header.

        Parameters
        ----------
        texts
            Columns that hold texts, by their places.

        Raises
        ------
        DatasetError
            If a line has more or fewer cells than the header, or a cell is no number.
        """
        line = self._header_line + 1
        for content in self._whole_lines():
            found = self._parsed(content, line, texts)
            yield found
            line += len(found.numbers)

    def _whole_lines(self) -> Iterator[bytes]:
        """Yield pieces that end with a line; empty lines at the end of the file are left out."""
        ready, rest = b"", b""
        with self._opened() as stream:
            stream.seek(self._begin)
            while piece := stream.read(_PIECE_BYTES):
                end = piece.rfind(b"\n") + 1
                if not end:
                    rest += piece
                    if len(rest) > _LONGEST_LINE:
                        message = f"a line is longer than {_LONGEST_LINE} bytes"
                        raise DatasetError(str(self._path), [Problem("", message)])
                    continue
                if ready:
                    yield ready
                ready, rest = rest + piece[:end], piece[end:]
        last = (ready + rest).rstrip(b"\r\n")
        if last:
            yield last + b"\n"

    def require_exact(self, piece: CsvPiece, places: Collection[int]) -> None:
        """Raise DatasetError if a cell of these columns is whole only in float64."""
        for (line, place), text in piece.rounded.items():
            if place in places:
                message = f"column {self.header[place]}: {text} is no whole number"
                raise self.wrong(piece.first_line + line, message)

    def wrong(self, line: int, message: str) -> DatasetError:
        """Return the error for a line."""
        return DatasetError(str(self._path), [Problem("", printable(message), line)])

    def _opened(self) -> IO[bytes]:
        try:
            return open_regular_file(self._path)
        except ConfigError as error:
            raise DatasetError(error.source, error.problems) from error

    def _require_end(self, stream: IO[bytes]) -> None:
        size = stream.seek(0, os.SEEK_END)
        if size == self._begin:
            return  # no line at all, which is told later
        stream.seek(size - 1)
        if stream.read(1) != b"\n":
            message = (
                "does not end with a line break, so its last value may be cut: copy the file "
                "again, or say csv.open_end = true in the mapping if it is whole"
            )
            raise DatasetError(str(self._path), [Problem("", message)])

    def _skip_remarks(self, stream: IO[bytes]) -> int:
        line = 1
        while True:
            begin = stream.tell()
            found = stream.readline(_LONGEST_LINE)
            if not found.startswith(b"#"):
                stream.seek(begin)
                return line
            line += 1

    def _parse_header(self, content: bytes) -> list[str]:
        line = self._header_line
        try:
            text = content.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise self.wrong(line, f"is no UTF-8: {error}") from error
        if not text.strip():
            raise self.wrong(line, "must be the header, with the names of the columns: is empty")
        try:
            cells = next(csv.reader([text], delimiter=self._delimiter))
        except (csv.Error, StopIteration) as error:
            raise self.wrong(line, f"the header cannot be read: {error}") from error
        header = [cell.strip() for cell in cells]
        known: set[str] = set()
        for name in header:
            if name in known:
                raise self.wrong(line, f"the header names the column {quoted(name)} twice")
            known.add(name)
        return header

    def _parsed(self, content: bytes, line: int, texts: Collection[int]) -> CsvPiece:
        plain = self._plain(content, line)
        lines, separators = self._cells(plain, line)
        found = {place: self._take_texts(plain, separators, place, line) for place in texts}
        flat = bytes(plain[:-1]).replace(b"\n", self._delimiter.encode())
        numbers = self._numbers(flat, lines * len(self.header))
        if numbers is None:
            raise self._no_number(flat, line)
        return CsvPiece(
            first_line=line,
            numbers=numbers.reshape(lines, len(self.header)),
            texts=found,
            rounded={} if numbers.dtype.kind == "i" else self._rounded(flat, numbers),
        )

    def _rounded(self, flat: bytes, numbers: npt.NDArray[Any]) -> dict[tuple[int, int], str]:
        """Return the texts of cells that only float64 makes whole, by line and column."""
        starts = [match.start() for match in _NEARLY_WHOLE.finditer(flat)]
        if not starts:
            return {}
        ends = np.flatnonzero(np.frombuffer(flat, np.uint8) == ord(self._delimiter))
        found = {}
        for place in np.unique(np.searchsorted(ends, starts)).tolist():
            if not numbers[place].is_integer():
                continue
            begin = ends[place - 1] + 1 if place else 0
            end = ends[place] if place < len(ends) else len(flat)
            text = flat[begin:end].decode().strip()
            if Decimal(text) != int(numbers[place]):
                found[divmod(place, len(self.header))] = text
        return found

    def _plain(self, content: bytes, line: int) -> bytearray:
        """Return lines without quotes and carriage returns."""
        if b'"' in content:
            content = self._unquoted(content, line)
        if b"\r" in content:
            content = content.replace(b"\r\n", b"\n")
        return bytearray(content)

    def _unquoted(self, content: bytes, line: int) -> bytes:
        lines: list[str] = []
        try:
            rows = csv.reader(
                io.StringIO(content.decode(), newline=""), delimiter=self._delimiter, strict=True
            )
            for cells in rows:
                if any({self._delimiter, "\n", "\r"} & set(cell) for cell in cells):
                    raise self.wrong(
                        line + len(lines), "has a cell with a delimiter or a line break in quotes"
                    )
                lines.append(self._delimiter.join(cells))
        except (csv.Error, UnicodeDecodeError) as error:
            raise self.wrong(line + len(lines), f"cannot be read as CSV: {error}") from error
        return ("\n".join(lines) + "\n").encode()

    def _cells(self, plain: bytearray, line: int) -> tuple[int, npt.NDArray[np.int64]]:
        """Return the number of lines, and where each cell ends, shape (line, column)."""
        letters = np.frombuffer(plain, np.uint8)
        is_newline = letters == _NEWLINE
        ends = np.flatnonzero(is_newline | (letters == ord(self._delimiter)))
        last = np.flatnonzero(is_newline[ends])
        cells = np.diff(last, prepend=-1)
        if (cells != len(self.header)).any():
            wrong = int(np.argmax(cells != len(self.header)))
            raise self.wrong(
                line + wrong,
                f"has {cells[wrong]} cells: the header has {len(self.header)} columns",
            )
        return len(last), ends.reshape(len(last), len(self.header))

    def _take_texts(
        self, plain: bytearray, ends: npt.NDArray[np.int64], place: int, line: int
    ) -> list[str]:
        """Return the cells of a column, and leave 0 in their place."""
        flat = ends.reshape(-1)
        ordinal = np.arange(len(ends)) * ends.shape[1] + place
        begins = np.where(ordinal > 0, flat[ordinal - 1] + 1, 0)
        found: list[str] = []
        for begin, end in zip(begins.tolist(), flat[ordinal].tolist(), strict=True):
            text = plain[begin:end].decode(errors="replace").strip()
            if not text:
                raise self.wrong(line + len(found), f"column {self.header[place]}: is empty")
            found.append(text)
            plain[begin:end] = b"0".ljust(end - begin)
        return found

    def _numbers(self, flat: bytes, count: int) -> npt.NDArray[Any] | None:
        """Return the numbers of cells; None if one is none."""
        dtypes: tuple[type[Any], ...] = (np.int64, np.float64)
        for dtype in dtypes:  # integers are read nine times as fast
            try:
                with warnings.catch_warnings():  # numpy before 2.4 warns where later ones raise
                    warnings.simplefilter("error", DeprecationWarning)
                    numbers = np.fromstring(flat, dtype=dtype, sep=self._delimiter)
            except (ValueError, DeprecationWarning):
                continue
            is_cut = (
                dtype is np.int64 and (numbers == _HIGHEST).any()
            )  # what lies beyond becomes it
            if len(numbers) == count and not is_cut:
                return numbers
        return None

    def _no_number(self, flat: bytes, line: int) -> DatasetError:
        for place, cell in enumerate(flat.split(self._delimiter.encode())):
            column = place % len(self.header)
            try:
                float(cell)
            except ValueError:
                shown = quoted(cell.decode(errors="replace").strip())
                what = "is empty" if not cell.strip() else f"is {shown}: must be a number"
                return self.wrong(
                    line + place // len(self.header), f"column {self.header[column]}: {what}"
                )
        return self.wrong(line, "cannot be read as numbers")
