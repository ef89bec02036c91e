"""`hil data`: its words, its JSON and its exit codes, on runs that the mock chip has made."""

import json
import shutil
from pathlib import Path

import pytest

import example_steps as example
from command_line import campaign_file, hil


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on the mock chip."""
    folder = tmp_path_factory.mktemp("data")
    ended = hil("run", campaign_file(folder, campaign="cores = [0]"), "--quiet")
    assert ended.code == 0, ended.stderr
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_whole_run_is_called_whole(run: Path) -> None:
    ended = hil("data", "verify", run)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{run}: whole (2 step files, ")


def cut_off(run: Path) -> None:
    """Leave a run as a kill before its second step would."""
    journal = run / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if json.loads(line)["event"] == "step"]
    journal.write_text("".join(lines[: ends[0] + 1]))
    (run / "steps" / f"core00_{json.loads(lines[ends[1]])['read_mode']}.h5").unlink()
    (run / "campaign.h5").unlink()


def test_steps_that_a_killed_run_did_not_come_to_take_one_line(run: Path) -> None:
    cut_off(run)
    ended = hil("data", "verify", run)
    assert ended.code == 1
    stopped, unfinished, last = ended.stdout.splitlines()
    assert stopped.startswith("journal.jsonl: has no stop after its last event, step")
    assert unfinished == "unfinished: 1 of 2 steps (hil resume goes on with them)"
    assert last.startswith(f"{run}: unfinished, nothing damaged (1 step files, ")
    (named,) = [one for one in hil("data", "verify", run, "--json").json["problems"] if one["step"]]
    assert (named["kind"], named["step"]) == ("unfinished", "core00_four_phase")


def test_damage_of_a_killed_run_does_not_drown(run: Path) -> None:
    cut_off(run)
    step = run / "steps" / "core00_one_phase.h5"
    step.write_bytes(step.read_bytes()[:-1])
    ended = hil("data", "verify", run)
    assert ended.code == 1
    assert "steps/core00_one_phase.h5: " in ended.stdout
    assert "nothing damaged" not in ended.stdout


def test_damaged_run_is_repaired_and_replayed(run: Path, tmp_path: Path) -> None:
    step = run / "steps" / "core00_one_phase.h5"
    step.write_bytes(step.read_bytes()[: step.stat().st_size // 2])
    found = hil("data", "verify", run, "--json")
    assert found.code == 1
    assert {problem["path"] for problem in found.json["problems"]} == {"steps/core00_one_phase.h5"}
    new = tmp_path / "new"
    repair = hil("data", "repair", run, "--out", new, "--json")
    assert (repair.code, repair.json["whole"]) == (0, ["core00_four_phase"])
    (loss,) = repair.json["steps"]
    assert loss["state"] == "salvaged"
    assert loss["vectors"] + loss["vectors_lost"] == 96
    assert hil("data", "verify", new).code == 0
    assert hil("info", new).code == 0
    replay = hil("replay", new, "--out", tmp_path / "replay", "--quiet")
    assert (replay.code, replay.stderr) == (0, "")
    assert hil("data", "verify", tmp_path / "replay").code == 0


def test_folder_without_a_run_cannot_be_read(tmp_path: Path) -> None:
    ended = hil("data", "verify", tmp_path)
    assert (ended.code, ended.stdout) == (5, "")
    assert ended.stderr == f"error: {tmp_path}: no run: it has no journal.jsonl\n"


def test_runs_of_several_chips_are_each_checked(tmp_path: Path) -> None:
    example.write_run(tmp_path / "left", example.ONE)
    example.write_run(tmp_path / "right", example.ONE).index_path.unlink()
    chips = {
        "schema_version": 1,
        "title": "Two",
        "campaign": "/c.toml",
        "campaign_sha256": "",
        "assignments": [],
        "chips": ["left", "right"],
    }
    (tmp_path / "chips.json").write_text(json.dumps(chips))
    ended = hil("data", "verify", tmp_path, "--json")
    assert ended.code == 1
    assert ended.json["chips"]["left"]["problems"] == []
    assert [each["path"] for each in ended.json["chips"]["right"]["problems"]] == ["campaign.h5"]


def test_tree_names_shapes_types_and_units(run: Path) -> None:
    ended = hil("data", "tree", run / "steps" / "core00_one_phase.h5")
    assert ended.code == 0
    assert "  raw  uint16  vector 96 x polarity 2 x column 256  (count)\n" in ended.stdout


def test_tree_of_no_hdf5_file_says_so(run: Path) -> None:
    ended = hil("data", "tree", run / "journal.jsonl")
    assert ended.code == 5
    assert "cannot be read as HDF5" in ended.stderr


def test_list_has_steps_and_files(run: Path) -> None:
    listed = hil("data", "ls", run, "--json").json
    assert [each["state"] for each in listed[:2]] == ["finished", "finished"]
    assert "campaign.h5" in {each["file"] for each in listed}
