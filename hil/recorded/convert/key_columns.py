"""The columns of a CSV file that tell which step a line belongs to."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil.recorded.convert.csv_file import CsvFile, CsvPiece
from hil.recorded.convert.mapping import Mapping
from hil.recorded.convert.source_file import PartialKey, core_of, read_mode_of

_LARGEST_EXACT = 2**53
"""Largest float64 up to which all whole numbers are there: a larger one may stand for another."""
_KEYS = ("core", "read_mode", "visit")


class KeyColumns:
    """Those of one file.

    Parameters
    ----------
    table
        The file.
    says
        The mapping, which names them; what the header lacks tells nothing apart.
    """

    def __init__(self, table: CsvFile, says: Mapping) -> None:
        self._table = table
        self._says = says
        self._places = {
            name: table.header.index(column)
            for name in (*_KEYS, "vector")
            if (column := getattr(says.csv, name)) is not None and column in table.header
        }

    @property
    def texts(self) -> list[int]:
        """Places of the columns that hold words."""
        return [self._places[name] for name in ("read_mode", "visit") if name in self._places]

    def vectors(self, piece: CsvPiece) -> npt.NDArray[np.int64] | None:
        """Return the numbers of the vectors in a piece, if the file has them."""
        if "vector" not in self._places:
            return None
        return self.whole(piece, self._places["vector"], lambda _: None)

    def split(self, piece: CsvPiece) -> list[tuple[PartialKey, npt.NDArray[np.int64]]]:
        """Return the keys in a piece, each with its lines, counted from the piece's first."""
        columns = {name: self._key_column(piece, name) for name in _KEYS if name in self._places}
        everything = np.arange(len(piece.numbers), dtype=np.int64)
        if not columns:
            return [(PartialKey(), everything)]
        table = np.stack(list(columns.values()), axis=1)
        different, which = np.unique(table, axis=0, return_inverse=True)
        split = []
        for place, row in enumerate(different.tolist()):
            named: dict[str, Any] = dict(zip(columns, row, strict=True))
            if "read_mode" in named:
                named["read_mode"] = list(ReadMode)[named["read_mode"]]
            split.append((PartialKey(**named), everything[which.reshape(-1) == place]))
        return split

    def _key_column(self, piece: CsvPiece, name: str) -> npt.NDArray[np.int64]:
        place = self._places[name]
        if name == "core":
            return self.whole(piece, place, core_of)
        cells = piece.texts[place]
        known: dict[str, int] = {}
        for number, cell in enumerate(cells):
            if cell not in known:
                try:
                    known[cell] = self._named(name, cell)
                except ValueError as error:
                    column = self._table.header[place]
                    message = f"column {column}: {error}"
                    raise self._table.wrong(piece.first_line + number, message) from error
        return np.array([known[cell] for cell in cells], dtype=np.int64)

    def _named(self, name: str, cell: str) -> int:
        if name == "read_mode":
            return list(ReadMode).index(read_mode_of(cell, self._says.read_modes))
        number = float(cell)
        if self._says.visits is not None:
            values = self._says.visits.values
            if number not in values:
                raise ValueError(f"{cell} is not in visits.values")
            return values.index(number)
        if not (number.is_integer() and 0 <= number < 1000):
            raise ValueError(f"{cell} is no number of a visit: must be 0 to 999")
        return int(number)

    def whole(
        self, piece: CsvPiece, place: int, check: Callable[[int], object]
    ) -> npt.NDArray[np.int64]:
        """Return a column of whole numbers, each of which has passed a check."""
        column = piece.numbers[:, place]
        self._table.require_exact(piece, [place])
        for number, value in enumerate(column.tolist()):
            try:
                check(_whole(value))
            except (ValueError, OverflowError) as error:
                message = f"column {self._table.header[place]}: {error}"
                raise self._table.wrong(piece.first_line + number, message) from error
        return column.astype(np.int64)


def _whole(value: float) -> int:
    if not (math.isfinite(value) and value == int(value)):
        raise ValueError(f"{value} is no whole number")
    if isinstance(value, float) and abs(value) > _LARGEST_EXACT:
        raise ValueError(
            f"{value:g}: must be above -{_LARGEST_EXACT + 1} and below {_LARGEST_EXACT + 1}"
        )
    return int(value)
