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
    table = CsvFile(path, delimiter)
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
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as refused:
        list(CsvFile(path, ",").pieces([]))
    assert message in str(refused.value)


def test_empty_word_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("mode,b\nfast,2\n,4\n")
    with pytest.raises(DatasetError, match=r"t\.csv:3: column mode: is empty"):
        list(CsvFile(path, ",").pieces([0]))
