"""`hil data ls` lists a packed file; commands that take no packed file say so."""

import json
from pathlib import Path

import h5py
import pytest

import visited_run
from command_line import hil
from hil_datasets.packed.compression import COMPRESSIONS
from hil_datasets.packed.pack import PackOptions, pack_run


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ls")
    run = visited_run.write_visited_run(folder / "run")
    path = folder / "run.hil.h5"
    pack_run(run, path, PackOptions(compression=COMPRESSIONS["gzip"]))
    return path


def test_packed_steps_and_files_are_listed_with_what_they_take(packed: Path) -> None:
    result = hil("data", "ls", packed, "--json")
    assert result.code == 0, result.stderr
    listed = {each["file"]: (each["bytes"], each["state"]) for each in json.loads(result.stdout)}
    with h5py.File(packed) as file:
        for key in visited_run.KEYS:
            size, state = listed[f"/entry/steps/{key.name}"]
            assert state == "finished"
            assert file[f"/entry/steps/{key.name}/raw"].id.get_storage_size() < size
        journal = file["/entry/files/journal.jsonl"].shape[0]
    assert listed["/entry/files/journal.jsonl"] == (journal, "")
    skipped = f"/entry/steps/{visited_run.NOT_NEEDED.name}"
    assert listed[skipped] == (None, f"skipped: {visited_run.REASON}")


def test_study_of_a_packed_file_says_how_to_get_a_folder(packed: Path, tmp_path: Path) -> None:
    result = hil("explore", packed, "--out", tmp_path / "study")
    assert result.code == 5
    assert "of a packed file hil data unpack makes a folder" in result.stderr
    assert not (tmp_path / "study").exists()
