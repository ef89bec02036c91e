"""CSV files with a line for each vector, or for each row of the weights, as blocks of steps."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.core.legible import cut_short, printable
from hil.recorded.convert.blocks import Block, code_range
from hil.recorded.convert.codes import UnfitValueError, to_codes, to_pair
from hil.recorded.convert.csv_file import CsvFile, CsvPiece
from hil.recorded.convert.key_columns import KeyColumns
from hil.recorded.convert.mapping import CountsSection, Mapping, Rule, SourceSection
from hil.recorded.convert.source_file import PartialKey, SourceFile


@dataclass
class _Lines:
    """What was read of one section for one key."""

    codes: list[npt.NDArray[Any]] = field(default_factory=list)
    lines: list[npt.NDArray[np.int64]] = field(default_factory=list)
    vectors: list[npt.NDArray[np.int64]] = field(default_factory=list)


@dataclass(frozen=True)
class _Wanted:
    """Columns of one section."""

    section: SourceSection
    places: list[int]
    """Of the columns in the file; those of P, then of N."""


class TableSource:
    """One CSV file, for every section of the mapping that its name belongs to.

    Parameters
    ----------
    file
        The file.
    keys
        Sections with what the name of the file says of their steps.
    says
        The mapping.
    """

    def __init__(self, file: SourceFile, keys: dict[str, PartialKey], says: Mapping) -> None:
        self._file = file
        self._keys = keys
        self._says = says
        self._csv = CsvFile(file.path, says.csv.delimiter, open_end=says.csv.open_end)
        self._check_key_columns()
        self._columns = KeyColumns(self._csv, says)
        self._wanted = self._wanted_columns()
        self._lines: dict[str, dict[PartialKey, _Lines]] = {
            name: defaultdict(_Lines) for name in self._wanted
        }

    def blocks(self) -> dict[str, dict[PartialKey, Block]]:
        """Read the file; return its blocks by section and key.

        Raises
        ------
        DatasetError
            If a line or a number in it is not what the mapping says.
        """
        for piece in self._csv.pieces(self._columns.texts):
            for key, chosen in self._columns.split(piece):
                self._take(piece, key, chosen)
        if not any(self._lines.values()):
            raise self._wrong([Problem("", "has no line after its header")])
        return {
            name: {key: self._block(name, key, lines) for key, lines in self._lines[name].items()}
            for name in self._wanted
        }

    def _check_key_columns(self) -> None:
        if "counts" not in self._keys:
            return  # inputs or weights in a file of their own may be those of every core
        header, csv = self._csv.header, self._says.csv
        problems = [
            Problem(f"csv.{name}", f"the header lacks the column {column!r}")
            for name in ("core", "read_mode", "visit", "vector")
            if (column := getattr(csv, name)) is not None and column not in header
        ]
        if problems:
            raise self._wrong(problems)

    def _wanted_columns(self) -> dict[str, _Wanted]:
        wanted, problems = {}, []
        for name in self._keys:
            section: SourceSection = getattr(self._says, name)
            places: list[list[int]] = []
            for pattern in section.columns or []:
                found, problem = _numbered(self._csv.header, pattern)
                places.append(found)
                if problem:
                    problems.append(Problem(f"{name}.columns", problem))
            if len({len(each) for each in places}) > 1 and not problems:
                message = f"the header has {len(places[0])} of P and {len(places[1])} of N"
                problems.append(Problem(f"{name}.columns", message))
            wanted[name] = _Wanted(section, [place for each in places for place in each])
        if problems:
            raise self._wrong(problems)
        return wanted

    def _take(self, piece: CsvPiece, key: PartialKey, chosen: npt.NDArray[np.int64]) -> None:
        vectors = self._columns.vectors(piece)
        for name, wanted in self._wanted.items():
            codes, dtype = code_range(wanted.section, name, self._says)
            if codes.is_plain:
                self._csv.require_exact(piece, wanted.places)
            columns = piece.numbers[chosen][:, wanted.places]
            try:
                found = to_codes(columns, codes, dtype)
            except UnfitValueError as error:
                line, place = int(chosen[error.at[0]]), wanted.places[error.at[1]]
                told = error.told(f"column {self._csv.header[place]}")
                raise self._csv.wrong(piece.first_line + line, told) from error
            lines = self._lines[name][key]
            lines.codes.append(found)
            lines.lines.append(chosen + piece.first_line)
            if vectors is not None:
                lines.vectors.append(vectors[chosen])

    def _block(self, name: str, key: PartialKey, lines: _Lines) -> Block:
        codes = np.concatenate(lines.codes)
        vectors = None
        if lines.vectors and name != "weights":
            numbers = np.concatenate(lines.vectors)
            order = np.argsort(numbers, kind="stable")
            codes, vectors = codes[order], numbers[order]
            self._check_vectors(vectors, np.concatenate(lines.lines)[order], key)
        section = self._wanted[name].section
        if isinstance(section, CountsSection):
            codes = self._counts(codes, section.rule)
        return Block(codes=codes, vectors=vectors, where=f"{self._file.path}: {name}")

    def _counts(self, codes: npt.NDArray[Any], rule: Rule) -> npt.NDArray[np.uint16]:
        if rule is Rule.PAIR:
            codes = codes.reshape(len(codes), 2, -1)
            if self._says.axes.polarity[0] == "N":
                codes = codes[:, ::-1]
        return to_pair(codes, rule)

    def _check_vectors(
        self, vectors: npt.NDArray[np.int64], lines: npt.NDArray[np.int64], key: PartialKey
    ) -> None:
        again = np.flatnonzero(np.diff(vectors) == 0)
        if len(again):
            place = int(again[0])
            message = (
                f"vector {vectors[place]} of {key} is there twice, before in line {lines[place]}"
            )
            raise self._csv.wrong(int(lines[place + 1]), message)

    def _wrong(self, problems: Sequence[Problem]) -> DatasetError:
        return DatasetError(str(self._file.path), problems)


def _numbered(header: Sequence[str], pattern: str) -> tuple[list[int], str]:
    """Return the places of numbered columns in the order of their numbers, and what is wrong."""
    before, _, after = pattern.replace("{row}", "{}").replace("{column}", "{}").partition("{}")
    found: dict[int, int] = {}
    for place, name in enumerate(header):
        number = name[len(before) : len(name) - len(after)]
        if name == f"{before}{number}{after}" and number.isascii() and number.isdigit():
            if int(number) in found:
                return [], f"the header names number {int(number)} of {pattern!r} twice"
            found[int(number)] = place
    if not found:
        known = printable(cut_short(", ".join(header)))
        return [], f"the header has no column {pattern!r}; it has {known}"
    numbers = sorted(found)
    first = numbers[0]
    if first > 1:
        return [], f"the columns {pattern!r} begin with {first}: must begin with 0 or 1"
    missing = sorted(set(range(first, first + len(numbers))) - set(numbers))
    if missing:
        return [], f"the header lacks {pattern!r} for {missing[0]}"
    return [found[number] for number in numbers], ""
