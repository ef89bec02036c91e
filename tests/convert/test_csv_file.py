"""CSV is read as the standard library reads it, whatever its delimiters, quotes and line ends."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import DatasetError
from hil.recorded.convert.csv_file import CsvFile

NUMBERS = st.one_of(st.integers(-(2**40), 2**40), st.floats(-1e9, 1e9, allow_nan=False))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=20
        )
    ),
    st.tuples(
        st.sampled_from([",", ";", "\t", "|"]),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        st.sampled_from(["", "\n", "\n\n"]),
    ),
)
def test_numbers_are_those_of_the_standard_library(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[float]],
    style: tuple[str, str, int, str],
) -> None:
    delimiter, end, quoting, tail = style
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([f"c{column}" for column in range(len(rows[0]))])
    writer.writerows([[repr(cell) for cell in row] for row in rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes((text.getvalue() + tail).encode())
    table = CsvFile(path, delimiter, open_end=True)
    found = np.concatenate([piece.numbers for piece in table.pieces([])])
    assert table.header == [f"c{column}" for column in range(len(rows[0]))]
    assert found.tolist() == [list(map(float, row)) for row in rows]


def test_pieces_keep_their_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    line = ",".join(["7"] * 500)
    path.write_text("\n".join([",".join(f"c{n}" for n in range(500)), *[line] * 20_000]) + "\n")
    pieces = list(CsvFile(path, ",").pieces([]))
    assert len(pieces) > 1
    ends = [piece.first_line + len(piece.numbers) for piece in pieces]
    assert [piece.first_line for piece in pieces] == [2, *ends[:-1]]
    assert ends[-1] == 20_002


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv:1: must be the header"),
        (b"a,b\n1,2\n\n3,4\n", "t.csv:3: has 1 cells: the header has 2 columns"),
        (b'a,b\n1,"2\n3",4\n', "t.csv:2: has a cell with a delimiter or a line break in quotes"),
        (b'a,b\n1,2\n1,"2\n', "t.csv:3: cannot be read as CSV: unexpected end of data"),
        (b"\xff,b\n", "t.csv:1: is no UTF-8"),
        (b"a,b\n1,2\n3,45", "t.csv: does not end with a line break, so its last value may be cut"),
        (b"a,b\r\n1,2\r\n3,45\r", "t.csv: does not end with a line break"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as refused:
        list(CsvFile(path, ",").pieces([]))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("cell", "is_rounded"),
    [
        ("2.0000000000000000001", True),
        ("1.99999999999999999999", True),
        ("2000000000.0000000001", True),
        ("1.2500000000000000001e2", True),
        ("2.5000000000000000001", False),
        ("2.00000000000000000000", False),
        ("1.250000000000000000e+02", False),
        ("2.0000000001", False),
    ],
)
def test_cells_that_become_whole_by_rounding_are_named(
    tmp_path: Path, cell: str, is_rounded: bool
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n1,2\n4.5, {cell}\n")
    (piece,) = CsvFile(path, ",").pieces([])
    assert piece.rounded == ({(1, 1): cell} if is_rounded else {})


@pytest.mark.parametrize("number", [10**20, -(2**63) - 1, 2**63])
def test_integers_beyond_64_bits_are_not_those_at_their_end(tmp_path: Path, number: int) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n1,2\n3,{number}\n")
    (piece,) = CsvFile(path, ",").pieces([])
    assert piece.numbers.tolist() == [[1.0, 2.0], [3.0, float(number)]]


def test_empty_word_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("mode,b\nfast,2\n,4\n")
    with pytest.raises(DatasetError, match=r"t\.csv:3: column mode: is empty"):
        list(CsvFile(path, ",").pieces([0]))
