"""A CSV file with a slope and an intercept a line, one line for each column of the chip."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.core.legible import cut_short, printable
from hil.recorded.convert.csv_file import CsvFile, CsvPiece
from hil.recorded.convert.fitted_lines import FittedLines, fitted_lines
from hil.recorded.convert.key_columns import KeyColumns
from hil.recorded.convert.mapping import FitsSection, Mapping, Rule
from hil.recorded.convert.source_file import PartialKey, SourceFile

_MOST_COLUMNS = 1 << 16


@dataclass
class _Found:
    """The numbers of one step, by polarity and column."""

    slope: dict[tuple[int, int], float] = field(default_factory=dict)
    intercept: dict[tuple[int, int], float] = field(default_factory=dict)
    errors: dict[tuple[int, int], float] = field(default_factory=dict)
    line: dict[tuple[int, int], int] = field(default_factory=dict)


def read_fits_table(file: SourceFile, says: Mapping) -> dict[PartialKey, FittedLines]:
    """Read the lines of each step.

    Raises
    ------
    DatasetError
        If the file lacks a column or a line, has one twice, or holds what is none.
    """
    section = says.fits
    assert section is not None  # noqa: S101 - the form is fits
    table = CsvFile(file.path, says.csv.delimiter, open_end=says.csv.open_end)
    is_pair = section.rule is Rule.PAIR
    _check_header(file, table, says, section)
    keys = KeyColumns(table, says)
    polarity = table.header.index(section.polarity) if is_pair else None
    texts = keys.texts + ([] if polarity is None else [polarity])
    found: dict[PartialKey, _Found] = {}
    for piece in table.pieces(texts):
        signs = _signs(table, piece, polarity)
        columns = keys.whole(piece, table.header.index(section.column), _check_column)
        for key, chosen in keys.split(piece):
            step = found.setdefault(key, _Found())
            for place in chosen.tolist():
                at = (signs[place], int(columns[place]))
                line = piece.first_line + place
                if at in step.line:
                    message = (
                        f"column {at[1]} of {key} is there twice, before in line {step.line[at]}"
                    )
                    raise table.wrong(line, message)
                step.line[at] = line
                step.slope[at] = piece.numbers[place, table.header.index(section.slope)]
                step.intercept[at] = piece.numbers[place, table.header.index(section.intercept)]
                if section.errors is not None:
                    step.errors[at] = piece.numbers[place, table.header.index(section.errors)]
    if not found:
        raise DatasetError(str(file.path), [Problem("", "has no line after its header")])
    return {key: _lines(step, key, section.rule) for key, step in found.items()}


def _check_header(file: SourceFile, table: CsvFile, says: Mapping, section: FitsSection) -> None:
    names = [section.slope, section.intercept, section.column]
    names += [section.errors] if section.errors is not None else []
    names += [section.polarity] if section.rule is Rule.PAIR else []
    names += [name for name in (says.csv.core, says.csv.read_mode, says.csv.visit) if name]
    lacks = [name for name in names if name not in table.header]
    if lacks:
        known = printable(cut_short(", ".join(table.header)))
        message = f"the header lacks {', '.join(map(repr, lacks))}; it has {known}"
        raise DatasetError(str(file.path), [Problem("", message)])


def _check_column(number: int) -> None:
    if not 0 <= number < _MOST_COLUMNS:
        raise ValueError(f"{number}: must be 0 to {_MOST_COLUMNS - 1}")


def _signs(table: CsvFile, piece: CsvPiece, polarity: int | None) -> list[int]:
    if polarity is None:
        return [0] * len(piece.numbers)
    signs = []
    for number, cell in enumerate(piece.texts[polarity]):
        if cell.upper() not in {"P", "N"}:
            message = f"column {table.header[polarity]}: {cell!r}: must be P or N"
            raise table.wrong(piece.first_line + number, message)
        signs.append("PN".index(cell.upper()))
    return signs


def _lines(step: _Found, key: PartialKey, rule: Rule) -> FittedLines:
    columns = [column for _, column in step.line]
    first, count = min(columns), len(set(columns))
    if first > 1:
        raise ValueError(f"the columns of {key} begin with {first}: must begin with 0 or 1")
    shape = (2, count) if rule is Rule.PAIR else (count,)
    for sign in range(2 if rule is Rule.PAIR else 1):
        for column in range(first, first + count):
            if (sign, column) not in step.line:
                which = f"{'PN'[sign]} of " if rule is Rule.PAIR else ""
                raise ValueError(f"{key}: {which}column {column} is missing")

    def gathered(numbers: dict[tuple[int, int], float]) -> npt.NDArray[Any]:
        ordered = [numbers[at] for at in sorted(step.line)]
        return np.array(ordered, np.float64).reshape(shape)

    return fitted_lines(
        gathered(step.slope),
        gathered(step.intercept),
        gathered(step.errors) if step.errors else None,
        rule=rule,
        where=str(key),
    )
