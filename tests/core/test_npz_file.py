import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hil.core.errors import ConfigError
from hil.core.npz_file import read_npz


def refusal_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_npz(path, ("weights",))
    return str(caught.value)


def test_named_arrays_that_are_there_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weights=np.array([1, 2]), other=np.array([3]))
    arrays = read_npz(tmp_path / "a.npz", ("weights", "inputs"))
    assert {name: array.tolist() for name, array in arrays.items()} == {"weights": [1, 2]}


def test_single_array_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.ones(3))
    assert "must be an .npz archive, is a single array" in refusal_of(tmp_path / "a.npz")


def test_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("weights", b"1 2 3")
    assert "a.npz: weights: is no array" in refusal_of(tmp_path / "a.npz")


def test_member_larger_than_any_memory_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|i1", "fortran_order": False, "shape": (1 << 60,)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("weights.npy", header.getvalue())
    assert "cannot be read as .npz" in refusal_of(tmp_path / "a.npz")


@pytest.mark.timeout(20)
def test_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    assert refusal_of(tmp_path / "a.npz").endswith("a.npz: is no regular file")


def test_folder_is_refused(tmp_path: Path) -> None:
    assert refusal_of(tmp_path) == f"{tmp_path}: is a folder"


def test_file_that_is_missing_is_named(tmp_path: Path) -> None:
    assert refusal_of(tmp_path / "gone.npz").endswith("gone.npz: no such file")
