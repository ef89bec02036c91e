"""An export is written whole or not at all, and never destroys anything else."""

import os
from pathlib import Path

import pytest

from hil.cli.publish import publish
from hil.core.errors import ConfigError


def test_new_file_is_written(tmp_path: Path) -> None:
    publish(b"new", tmp_path / "a.json", may_replace=False)
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_existing_file_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(ConfigError, match="exists; use --force"):
        publish(b"new", path, may_replace=False)
    assert path.read_bytes() == b"old"
    publish(b"new", path, may_replace=True)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("may_replace", [False, True])
def test_neighbour_with_a_part_name_stays(tmp_path: Path, *, may_replace: bool) -> None:
    (tmp_path / "a.json.part").write_bytes(b"mine")
    publish(b"new", tmp_path / "a.json", may_replace=may_replace)
    assert (tmp_path / "a.json.part").read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "dangling link"])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, kind: str) -> None:
    path, victim = tmp_path / "a.json", tmp_path / "victim"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        if kind == "link":
            victim.write_bytes(b"mine")
        path.symlink_to(victim)
    before = path.lstat()
    with pytest.raises(ConfigError, match="no regular file"):
        publish(b"new", path, may_replace=True)
    assert path.lstat().st_ino == before.st_ino
    assert not victim.exists() or victim.read_bytes() == b"mine"


def test_files_of_a_run_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "run" / "steps").mkdir(parents=True)
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_text("{}\n")
    for path in (journal, tmp_path / "run" / "steps" / "new.json"):
        with pytest.raises(ConfigError, match="lies inside the run"):
            publish(b"new", path, may_replace=True)
    assert journal.read_text() == "{}\n"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "no/such/folder.json"], ids=len)
def test_impossible_name_is_a_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        publish(b"new", tmp_path / name, may_replace=False)
