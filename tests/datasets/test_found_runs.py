"""Runs below folders: the same ones in the same order for every command that looks for any."""

import os
from pathlib import Path

import pytest

from hil.core.errors import DatasetError
from hil_datasets.found_runs import find_runs


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(b"")
    return folder


def make_pack(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89HDF")
    return path


def names_below(folder: Path) -> list[str]:
    return [run.path.relative_to(folder).as_posix() for run in find_runs([folder])]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two runs of one campaign of several chips, one run by itself, one packed file."""
    folder = tmp_path / "lab"
    for chip in ("right", "left"):
        make_run(folder / "bench" / "week_1" / chip)
    (folder / "bench" / "week_1" / "chips.json").write_text("{}")
    make_run(folder / "alone")
    make_pack(folder / "bench" / "old.hil.h5")
    (folder / "notes.h5").write_bytes(b"")
    return folder


def test_folders_chips_and_packed_files_are_found_sorted_by_path(lab: Path) -> None:
    assert names_below(lab) == [
        "alone",
        "bench/old.hil.h5",
        "bench/week_1/left",
        "bench/week_1/right",
    ]


def test_found_run_is_named_after_its_place_below_the_folder(lab: Path) -> None:
    runs = find_runs([lab])
    assert [run.name for run in runs] == [
        "alone",
        "bench-old",
        "bench-week_1-left",
        "bench-week_1-right",
    ]
    assert not any(run.is_named for run in runs)


def test_named_run_and_file_of_any_name_are_taken_as_they_are(lab: Path) -> None:
    runs = find_runs([lab / "notes.h5", lab / "bench" / "old.hil.h5", lab / "alone"])
    assert [(run.name, run.is_named) for run in runs] == [
        ("notes.h5", True),
        ("old", True),
        ("alone", True),
    ]


def test_run_that_is_named_beside_its_folder_is_found_once_and_counts_as_named(lab: Path) -> None:
    runs = find_runs([lab, lab / "bench" / ".." / "alone"])
    assert [(run.path.name, run.is_named) for run in runs] == [
        ("alone", True),
        ("old.hil.h5", False),
        ("left", False),
        ("right", False),
    ]


def test_no_run_is_looked_into(lab: Path) -> None:
    make_run(lab / "alone" / "inside")
    make_pack(lab / "alone" / "steps" / "kept.hil.h5")
    assert names_below(lab / "alone") == ["."]


def test_loops_and_links_are_not_followed(lab: Path) -> None:
    (lab / "bench" / "again").symlink_to(lab)
    (lab / "bench" / "other.hil.h5").symlink_to(lab / "bench" / "old.hil.h5")
    (lab / "self").symlink_to(lab / "self")
    assert len(names_below(lab)) == 4


def test_link_that_is_named_is_followed(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(lab)
    assert len(find_runs([tmp_path / "link", lab])) == 4


def test_what_is_being_made_is_passed_over(lab: Path) -> None:
    make_run(lab / ".new-converting-x" / "run")
    make_pack(lab / ".new.hil.h5")
    assert len(names_below(lab)) == 4


def test_pipe_by_the_name_of_a_packed_file_is_passed_over(lab: Path) -> None:
    os.mkfifo(lab / "bench" / "pipe.hil.h5")
    assert len(names_below(lab)) == 4


def test_more_folders_than_may_be_looked_into_are_refused(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"empty_{number}").mkdir()
    make_run(tmp_path / "run")
    assert len(find_runs([tmp_path], most_folders=6)) == 1
    with pytest.raises(DatasetError, match="has more than 5 folders below it: name one nearer"):
        find_runs([tmp_path], most_folders=5)


def test_folder_without_a_run_is_refused_unless_it_may_have_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no run, and no packed file"):
        find_runs([tmp_path])
    assert find_runs([tmp_path], may_be_none=True) == []


@pytest.mark.parametrize("may_be_none", [False, True])
def test_path_that_does_not_exist_is_refused(tmp_path: Path, *, may_be_none: bool) -> None:
    with pytest.raises(DatasetError, match="none: no such file or folder"):
        find_runs([tmp_path / "none"], may_be_none=may_be_none)


def test_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read: File name too long"):
        find_runs([tmp_path / ("x" * 300)])
