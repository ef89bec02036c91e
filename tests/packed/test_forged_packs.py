"""What somebody changed in a packed file who could seal it again is told, and not read."""

import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets import open_run
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.packed.compression import COMPRESSIONS
from hil_datasets.packed.pack import PackOptions, pack_run
from hil_datasets.run_directory import RunDirectory
from hil_datasets.seal import seal_file

ONE, OTHER = (f"/entry/steps/{key.name}" for key in (example.ONE, example.OTHER_CORE))
JOURNAL, CAMPAIGN = "/entry/files/journal.jsonl", "/entry/files/campaign.toml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("forged") / "run"
    return example.write_run(folder, example.ONE, example.OTHER_CORE)


def forged(path: Path, run: RunDirectory, change: Callable[[h5py.File], object]) -> Path:
    pack_run(run, path, PackOptions(compression=COMPRESSIONS["gzip"]))
    with h5py.File(path, "r+") as file:
        change(file)
    seal_file(path, form="hil-pack")
    return path


def told(path: Path) -> list[tuple[str, str, str]]:
    found = verify_run(path).findings
    return [(finding.path, finding.where, finding.message) for finding in found]


def test_file_that_denies_its_readouts_is_told(run: RunDirectory, tmp_path: Path) -> None:
    path = forged(tmp_path / "a.hil.h5", run, lambda file: file.attrs.modify("has_readouts", 0))
    message = "has weights, inputs, raw, expected: has_readouts of the file says that it has none"
    assert told(path) == [(ONE, "/", message), (OTHER, "/", message)]


def short_chunk(file: h5py.File) -> None:
    """Store a chunk of raw that inflates to the first 12 of its 72 bytes."""
    raw = file[ONE]["raw"]
    first = np.ascontiguousarray(raw[:1]).view(np.uint8).reshape(-1, 2).T.tobytes()
    raw.id.write_direct_chunk((0, 0, 0), zlib.compress(first), filter_mask=0)


@pytest.mark.parametrize("what", ["raw", "inputs", "weights", "expected"])
def test_chunk_that_inflates_to_less_is_not_read_as_zeros(
    run: RunDirectory, tmp_path: Path, what: str
) -> None:
    path = forged(tmp_path / "a.hil.h5", run, short_chunk)
    with pytest.raises(DatasetError, match=r"core00_one_phase"):
        getattr(open_run(path).cores[0]["one_phase"], what)
    assert {place for place, _, _ in told(path)} == {ONE}


def exchanged(file: h5py.File) -> None:
    file.move(ONE, "/entry/steps/other")
    file.move(OTHER, ONE)
    file.move("/entry/steps/other", OTHER)


def test_step_in_the_place_of_another_is_not_handed_out(run: RunDirectory, tmp_path: Path) -> None:
    path = forged(tmp_path / "a.hil.h5", run, exchanged)
    with pytest.raises(DatasetError, match="holds step core02_one_phase"):
        _ = open_run(path).cores[0]["one_phase"].raw


def test_forged_expected_outputs_are_told_and_not_read(run: RunDirectory, tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file[ONE]["expected"][5, 1] = 940

    path = forged(tmp_path / "a.hil.h5", run, change)
    message = "of vector 5, column 1 is 940: its inputs and weights make -940"
    assert told(path) == [(ONE, "/expected", message)]
    with pytest.raises(DatasetError, match=message):
        _ = open_run(path).cores[0]["one_phase"].expected


def broken(file: h5py.File, place: str) -> None:
    dataset = file[place]
    dataset.id.write_direct_chunk((0,), b"no deflate stream", filter_mask=0)


def lost(file: h5py.File, place: str) -> None:
    del file[place]


@pytest.mark.parametrize("place", [JOURNAL, CAMPAIGN])
def test_damaged_file_is_not_called_missing(run: RunDirectory, tmp_path: Path, place: str) -> None:
    path = forged(tmp_path / "a.hil.h5", run, lambda file: broken(file, place))
    ((found, where, message),) = told(path)
    assert (found, where) == ("a.hil.h5", place)
    assert message.startswith(("chunk at row 0: ", "cannot be read: "))


@pytest.mark.parametrize("place", [JOURNAL, CAMPAIGN])
def test_missing_file_is_called_so(run: RunDirectory, tmp_path: Path, place: str) -> None:
    path = forged(tmp_path / "a.hil.h5", run, lambda file: lost(file, place))
    assert told(path) == [(place, "", "missing in this packed file")]
