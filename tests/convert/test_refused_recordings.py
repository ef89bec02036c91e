"""What a recording is not: every mismatch is told with its file, its line or its axes."""

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foreign_recordings import HEAD, WEIGHTS, convert, counts_of, inputs_of, write_weights
from hil.core.errors import ConfigError, DatasetError

SPLIT = "[vectors]\nverification = 8\n"
STEPS = '[steps]\ncore = 0\nread_mode = "four_phase"\n'
TABLE = (
    HEAD.format(form="counts")
    + SPLIT
    + '[steps]\nread_mode = "four_phase"\n[csv]\ncore = "core"\nvector = "v"\n'
    + '[counts]\nrule = "pair"\nfiles = "c.csv"\ncolumns = ["p{column}", "n{column}"]\n'
    + '[inputs]\nfiles = "c.csv"\ncolumns = ["x{row}"]\n'
    + '[weights]\nfiles = "w.csv"\ncolumns = ["w{column}"]\n'
)
ARRAYS = (
    HEAD.format(form="counts")
    + SPLIT
    + STEPS
    + '[counts]\nrule = "pair"\narray = "c"\naxes = ["vector", "polarity", "column"]\n'
    + '[inputs]\narray = "x"\naxes = ["vector", "row"]\n'
    + '[weights]\narray = "w"\naxes = ["row", "column"]\n'
)
HEADER = "core,v,x0,x1,x2,x3,p0,p1,p2,n0,n1,n2"


def lines(vectors: int = 40) -> list[str]:
    inputs = inputs_of(vectors)
    return [
        ",".join(map(str, (3, vector, *x, *counts.reshape(-1))))
        for vector, (x, counts) in enumerate(zip(inputs, counts_of(inputs), strict=True))
    ]


def refused(tmp_path: Path, mapping: str, *files: Path) -> str:
    with pytest.raises(DatasetError) as error:
        convert(tmp_path, mapping, *files)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["map.toml", *(file.name for file in files)]
    ), "something was left behind"
    return str(error.value).replace(f"{tmp_path}/", "")


def refused_table(tmp_path: Path, content: list[str], header: str = HEADER) -> str:
    (tmp_path / "c.csv").write_text("\n".join(["# of a bench", header, *content]) + "\n")
    return refused(tmp_path, TABLE, tmp_path / "c.csv", write_weights(tmp_path / "w.csv"))


def changed(line: int, cell: int, value: str) -> list[str]:
    found = lines()
    cells = found[line].split(",")
    cells[cell] = value
    found[line] = ",".join(cells)
    return found


def test_unchanged_lines_are_taken(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("\n".join([HEADER, *lines()]) + "\n")
    outcome = convert(tmp_path, TABLE, tmp_path / "c.csv", write_weights(tmp_path / "w.csv"))
    assert [key.name for key in outcome.run.finished_steps()] == ["core03_four_phase"]


def test_file_cut_in_its_last_number_is_refused_unless_the_mapping_says_it_is_whole(
    tmp_path: Path,
) -> None:
    whole = "\n".join([HEADER, *lines()]) + "\n"
    assert whole.endswith(",90\n")
    (tmp_path / "c.csv").write_text(whole[:-2])  # 9 is a count as good as 90
    told = refused(tmp_path, TABLE, tmp_path / "c.csv", write_weights(tmp_path / "w.csv"))
    assert told == (
        "c.csv: does not end with a line break, so its last value may be cut: copy the file again, "
        "or say csv.open_end = true in the mapping if it is whole"
    )
    (tmp_path / "c.csv").write_text(whole[:-1])
    mapping = TABLE.replace("[csv]", "[csv]\nopen_end = true")
    outcome = convert(tmp_path, mapping, tmp_path / "c.csv", tmp_path / "w.csv")
    with h5py.File(outcome.run.path / "steps" / "core03_four_phase.h5") as file:
        assert file["raw"][-1, 1, 2] == 90


def test_file_of_fits_cut_in_its_last_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("column,slope,intercept\n0,1.5,30\n1,1.25,3")
    mapping = HEAD.format(form="fits") + STEPS + '[fits]\nrule = "single"\n'
    told = refused(tmp_path, mapping, tmp_path / "f.csv")
    assert "f.csv: does not end with a line break, so its last value may be cut" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            changed(6, 6, "2.0000000000000000001"),
            "c.csv:9: column p0: 2.0000000000000000001 is no whole number",
        ),
        (
            changed(6, 1, "6.0000000000000000001"),
            "c.csv:9: column v: 6.0000000000000000001 is no whole number",
        ),
        (changed(6, 0, "inf"), "c.csv:9: column core: inf is no whole number"),
        (changed(6, 0, "nan"), "c.csv:9: column core: nan is no whole number"),
        (changed(6, 1, "-inf"), "c.csv:9: column v: -inf is no whole number"),
        (
            changed(6, 1, "1e300"),
            "c.csv:9: column v: 1e+300: must be above -9007199254740993 and below 9007199254740993",
        ),
        (changed(6, 3, "1,2"), "c.csv:9: has 13 cells: the header has 12 columns"),
        (changed(6, 3, "7.5"), "c.csv:9: column x1: 7.5 is no whole number"),
        (changed(6, 3, "128"), "c.csv:9: column x1: is 128: must be -127 to 127"),
        (changed(6, 6, "-1"), "c.csv:9: column p0: is -1: must be 0 to 4095"),
        (changed(6, 6, "4096"), "c.csv:9: column p0: is 4096: must be 0 to 4095"),
        (changed(6, 6, "nan"), "c.csv:9: column p0: nan is no finite number"),
        (changed(6, 6, ""), "c.csv:9: column p0: is empty"),
        (changed(6, 6, "12x"), "c.csv:9: column p0: is '12x': must be a number"),
        (changed(6, 0, "-3"), "c.csv:9: column core: core -3: must be 0 to 999999"),
        (changed(6, 1, "5"), "c.csv:9: vector 5 of core 3 is there twice, before in line 8"),
        (lines(39), "core03_four_phase: has 39 vectors, of which vectors.verification holds out 8"),
        ([], "c.csv: has no line after its header"),
    ],
)
def test_wrong_line_is_told_with_its_number(
    tmp_path: Path, content: list[str], message: str
) -> None:
    assert message in refused_table(tmp_path, content)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace("v,", "t,"), "csv.vector: the header lacks the column 'v'"),
        (HEADER.replace("n1", "m1"), "counts.columns: the header lacks 'n{column}' for 1"),
        (HEADER.replace("n2", "m2"), "counts.columns: the header has 3 of P and 2 of N"),
        (HEADER.replace("n2", "n1"), "c.csv:2: the header names the column 'n1' twice"),
        (HEADER.replace("x", "y"), "inputs.columns: the header has no column 'x{row}'; it has"),
    ],
)
def test_wrong_header_is_told(tmp_path: Path, header: str, message: str) -> None:
    assert message in refused_table(tmp_path, lines(), header)


def arrays(**changes: object) -> dict[str, Any]:
    inputs = inputs_of(40)
    whole = {"c": counts_of(inputs), "x": inputs, "w": WEIGHTS}
    return {name: np.asarray(array) for name, array in (whole | changes).items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": inputs_of(41)}, "has 40 vectors of counts and 41 of inputs"),
        ({"w": WEIGHTS[:3]}, "core00_four_phase: its inputs have 4 rows, its weights 3"),
        ({"w": WEIGHTS[:, :2]}, "core00_four_phase: its counts have 3 columns, its weights 2"),
        ({"w": WEIGHTS / 2}, "weights (w): at row 0, column 0: 2.5 is no whole number"),
        ({"c": np.zeros((40, 3, 3), int)}, "counts (c): has 3 places along polarity: must have 2"),
        (
            {"c": np.zeros((40, 3), int)},
            "counts (c): has 2 axes, of shape (40, 3): the mapping names 3",
        ),
        ({"c": np.zeros((40, 2, 3), complex)}, "c: is of the type '<c16'"),
        (
            {"c": counts_of(inputs_of(40)) > 9},
            "c: is of the type bool, which holds True and False: must be integers or real numbers",
        ),
        ({"x": inputs_of(40) > 0}, "x: is of the type bool"),
        ({"w": WEIGHTS > 0}, "w: is of the type bool"),
        ({"c": np.array([{}], object)}, "c: holds pickled objects, which can run code"),
        ({"c": np.zeros((0, 2, 3))}, "c: is of shape (0, 2, 3)"),
    ],
)
def test_wrong_array_is_told(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    np.savez(tmp_path / "r.npz", **arrays(**changes))
    assert message in refused(tmp_path, ARRAYS, tmp_path / "r.npz")


def test_every_wrong_array_is_told_at_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **arrays(x=inputs_of(40) * 100, w=WEIGHTS * 100))
    told = refused(tmp_path, ARRAYS, tmp_path / "r.npz")
    assert "r.npz: 2 problems:" in told
    assert "inputs (x): " in told
    assert "weights (w): " in told


def test_archive_that_unpacks_to_far_more_than_it_has_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<u2", "fortran_order": False, "shape": (40 << 20, 2, 1)}
    )
    with zipfile.ZipFile(tmp_path / "r.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("c.npy", "w") as member:
            member.write(header.getvalue())
            for _ in range(160):
                member.write(bytes(1 << 20))
        for name in ("x", "w"):
            content = io.BytesIO()
            np.save(content, arrays()[name])
            archive.writestr(f"{name}.npy", content.getvalue())
    told = refused(tmp_path, ARRAYS, tmp_path / "r.npz")
    assert "c: unpacks to 167772160 bytes from " in told


def test_header_that_claims_more_than_there_is_allocates_nothing(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<u2", "fortran_order": False, "shape": (1 << 40, 2, 3)}
    )
    with zipfile.ZipFile(tmp_path / "r.npz", "w") as archive:
        archive.writestr("c.npy", header.getvalue() + bytes(12))
        archive.writestr("x.npy", b"no array")
    told = refused(tmp_path, ARRAYS, tmp_path / "r.npz")
    assert "c: is uint16 of shape (1099511627776, 2, 3), 13194139533312 bytes: the file has" in told
    assert "x: is no array in .npy form" in told
    assert "w: this array is missing; the file has c, x" in told


@pytest.mark.parametrize("size", [0, 10, 300])
def test_truncated_archive_is_told(tmp_path: Path, size: int) -> None:
    np.savez(tmp_path / "r.npz", **arrays())
    content = (tmp_path / "r.npz").read_bytes()
    (tmp_path / "r.npz").write_bytes(content[:size])
    assert "r.npz" in refused(tmp_path, ARRAYS, tmp_path / "r.npz")


def test_wrong_expected_outputs_are_told(tmp_path: Path) -> None:
    expected = inputs_of(40) @ WEIGHTS
    expected[5, 1] += 1
    np.savez(tmp_path / "r.npz", **arrays(), y=expected)
    mapping = ARRAYS + '[expected]\narray = "y"\naxes = ["vector", "column"]\n'
    told = refused(tmp_path, mapping, tmp_path / "r.npz")
    assert f"its expected output of vector 5, column 1 is {expected[5, 1]}" in told


def test_inputs_that_do_not_tell_the_weights_are_refused(tmp_path: Path) -> None:
    inputs = inputs_of(40)
    inputs[:, 3] = inputs[:, 2]
    np.savez(tmp_path / "r.npz", c=counts_of(inputs), x=inputs, y=inputs @ WEIGHTS)
    mapping = ARRAYS.partition("[weights]")[0]
    mapping += '[expected]\narray = "y"\naxes = ["vector", "column"]\n'
    told = refused(tmp_path, mapping, tmp_path / "r.npz")
    assert "its inputs tell 3 rows apart of the 4 that are driven" in told


def test_file_that_belongs_to_nothing_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **arrays())
    (tmp_path / "notes.csv").write_text("a\n1\n")
    told = refused(tmp_path, ARRAYS, tmp_path / "r.npz", tmp_path / "notes.csv")
    assert told.startswith("notes.csv: belongs to no source of the mapping")
    assert told.endswith(".npz and .npy files are read as arrays, every other one as CSV")


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"r\.npz: no such file"):
        convert(tmp_path, ARRAYS, tmp_path / "r.npz")


def test_folder_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **arrays())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("done")
    with pytest.raises(ConfigError, match="is not empty; choose another folder"):
        convert(tmp_path, ARRAYS, tmp_path / "r.npz")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]
