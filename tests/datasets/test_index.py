import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets.index import TABLES, TILE_TABLES, write_index
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step_files.schema import STEP_DATASETS

PER_COLUMN = [
    "correction/a_p", "correction/a_n", "correction/b", "correction/a_p_errors",
    "correction/a_n_errors", "correction/b_errors", "correction/residual_rms",
    "correction/r_squared", "correction/saturated_counts",
    "coefficients/scale_p", "coefficients/scale_n", "coefficients/offset", "coefficients/swap",
    "coefficients/flags",
    "quality/effective_bits", "quality/inl", "quality/residual_rms", "quality/noise_rms",
    "quality/saturated_share", "quality/outlier_share", "quality/condition",
    "quality/glitch_share",
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return example.write_run(tmp_path / "run", example.ONE, example.FOUR, example.OTHER_CORE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("raw", example.RAW),
        ("inputs", example.INPUTS),
        ("weights", example.WEIGHTS),
        ("expected", example.EXPECTED),
    ],
)
def test_readouts_are_read_through_the_index(
    run: RunDirectory, name: str, content: np.ndarray
) -> None:
    with h5py.File(run.path / "campaign.h5") as index:
        dataset = index["cores/00/one_phase"][name]
        np.testing.assert_array_equal(dataset[...], content, strict=True)
        assert dataset.is_virtual
        assert "" not in [dimension.label for dimension in dataset.dims]
        assert dataset.attrs["units"]


def test_each_step_is_read_from_its_own_file(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    other = example.RAW + 1
    example.write_step(run.step_path(example.OTHER_CORE), example.OTHER_CORE, raw=other)
    write_index(run, [example.OTHER_CORE, example.ONE])
    with h5py.File(run.index_path) as index:
        assert index["cores/00/one_phase/raw"][0, 0].tolist() == [100, 101, 102]
        assert index["cores/02/one_phase/raw"][0, 0].tolist() == [101, 102, 103]


@pytest.mark.parametrize("is_moved", [False, True], ids=["in_place", "moved"])
def test_readouts_are_read_through_from_another_working_directory(
    run: RunDirectory, tmp_path: Path, is_moved: bool
) -> None:
    folder = run.path.rename(tmp_path / "moved") if is_moved else run.path
    code = (
        "import h5py, sys\n"
        "with h5py.File(sys.argv[1]) as index:\n"
        "    print(index['cores/00/one_phase/raw'][5].tolist())\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, str(folder / "campaign.h5")],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "[[150, 151, 4095], [50, 51, 0]]\n"


@pytest.mark.parametrize(
    ("name", "value"), [("raw", 65535), ("inputs", -128), ("weights", -128), ("expected", -(2**31))]
)
def test_missing_step_file_shows_values_that_cannot_be_measured(
    run: RunDirectory, name: str, value: int
) -> None:
    run.step_path(example.ONE).unlink()
    with h5py.File(run.index_path) as index:
        assert np.unique(index["cores/00/one_phase"][name]).tolist() == [value]


def test_step_group_carries_the_steps_attributes(run: RunDirectory) -> None:
    with h5py.File(run.index_path) as index:
        attributes = index["cores/02/one_phase"].attrs
        assert attributes["step_file"] == "steps/core02_one_phase.h5"
        assert attributes["core"] == 2
        assert attributes["temperature_c"] == 25.5


def test_index_says_what_it_is(run: RunDirectory) -> None:
    with h5py.File(run.index_path) as index:
        assert index.attrs["file_format"] == "hil-campaign"
        assert index.attrs["format_version"] == 2


def test_axes_of_the_tables_are_named_by_value(run: RunDirectory) -> None:
    with h5py.File(run.index_path) as index:
        assert index["core"][...].tolist() == [0, 2]
        assert index["read_mode"].asstr()[...].tolist() == ["four_phase", "one_phase"]


@pytest.mark.parametrize("name", PER_COLUMN)
def test_table_has_axes_core_read_mode_column(run: RunDirectory, name: str) -> None:
    with h5py.File(run.index_path) as index:
        table = index[name]
        assert table.shape == (2, 2, 3)
        labels = [dimension.label for dimension in table.dims]
        assert labels == ["core", "read_mode", "column"]
        assert table.attrs["units"]
        assert table.attrs["long_name"]


def test_steps_without_quality_are_indexed_without_its_tables(tmp_path: Path) -> None:
    old = replace(example.CONCLUSION, quality=None)
    run = example.write_run(tmp_path / "run", example.ONE, conclusion=old)
    with h5py.File(run.index_path) as index:
        assert "quality" not in index
        assert index["correction/a_p"][0, 0].tolist() == [0.5, 0.25, 0.0]


def test_every_dataset_per_column_has_a_table() -> None:
    assert [spec.path for spec in TABLES] == PER_COLUMN
    assert [spec.path for spec in STEP_DATASETS if spec.axes == ("column",)] == PER_COLUMN


def test_table_holds_each_steps_codes_at_its_place(run: RunDirectory) -> None:
    with h5py.File(run.index_path) as index:
        assert index["coefficients/offset"][...].tolist() == [
            [[-3, 5, 0], [-3, 5, 0]],
            [[0, 0, 0], [-3, 5, 0]],
        ]
        assert index["tables/finished"][...].tolist() == [[1, 1], [0, 1]]
        assert index["tables/shift"][...].tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("name", [spec.path for spec in TILE_TABLES])
def test_table_per_tile_has_axes_and_units(run: RunDirectory, name: str) -> None:
    with h5py.File(run.index_path) as index:
        assert [dimension.label for dimension in index[name].dims] == ["core", "read_mode"]
        assert index[name].attrs["units"]


def test_real_numbers_of_a_step_that_was_not_taken_are_nan(run: RunDirectory) -> None:
    with h5py.File(run.index_path) as index:
        assert np.isnan(index["correction/a_p"][1, 0]).all()
        assert np.isnan(index["tables/output_lsb"][1, 0])
        assert index["tables/output_lsb"][1, 1] == 8.5


def test_nmpu_format_is_in_the_index_without_a_shift(run: RunDirectory) -> None:
    with h5py.File(run.index_path) as index:
        nmpu = json.loads(index["coefficients"].attrs["nmpu"])
    assert nmpu["in_bits"] == 10
    assert nmpu["shift"] is None


def test_index_of_nothing_is_readable(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run")
    with h5py.File(run.index_path) as index:
        assert index["core"].shape == (0,)


def test_rewriting_leaves_open_readers_the_old_index(run: RunDirectory) -> None:
    with h5py.File(run.index_path) as old:
        write_index(run, [example.ONE])
        assert sorted(old["cores"]) == ["00", "02"]
    with h5py.File(run.index_path) as new:
        assert sorted(new["cores"]) == ["00"]


def test_failed_rewriting_leaves_the_old_index(run: RunDirectory) -> None:
    before = run.index_path.read_bytes()
    run.step_path(example.FOUR).write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"core00_four_phase\.h5: cannot be indexed: "):
        write_index(run, [example.ONE, example.FOUR])
    assert run.index_path.read_bytes() == before
    assert not list(run.path.glob("*.part"))


def test_missing_step_file_cannot_be_indexed(run: RunDirectory) -> None:
    run.step_path(example.FOUR).unlink()
    with pytest.raises(DatasetError, match=r"core00_four_phase\.h5: cannot be indexed: "):
        write_index(run, [example.FOUR])


def test_steps_of_different_widths_cannot_be_indexed_together(run: RunDirectory) -> None:
    conclusion = replace(example.CONCLUSION, flags=np.zeros(4, np.uint16))
    path = run.step_path(example.OTHER_CORE)
    example.write_step(path, example.OTHER_CORE, conclusion=conclusion)
    with pytest.raises(DatasetError, match=r"core02_one_phase\.h5: cannot be indexed: "):
        write_index(run, [example.ONE, example.OTHER_CORE])


def test_index_that_cannot_be_written_is_named(run: RunDirectory) -> None:
    run.index_path.unlink()
    run.index_path.mkdir()
    with pytest.raises(DatasetError, match=r"campaign\.h5: cannot be written: "):
        write_index(run, [example.ONE])


def test_order_of_steps_does_not_matter(run: RunDirectory) -> None:
    # Not by bytes: HDF5 stamps a virtual dataset with the second it was made in.
    before = content_of(run)
    write_index(run, [example.OTHER_CORE, example.ONE, example.FOUR])
    assert content_of(run) == before


def content_of(run: RunDirectory) -> dict[str, bytes]:
    content = {}
    with h5py.File(run.index_path) as index:
        for path in (
            "core",
            "read_mode",
            "tables/shift",
            "tables/output_lsb",
            "cores/00/one_phase/raw",
        ):
            content[path] = repr(index[path][...].tolist()).encode()
    return content
