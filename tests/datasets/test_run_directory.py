import os
from pathlib import Path

import pytest

import example_steps as example
from hil.core.errors import ConfigError, DatasetError
from hil_datasets.run_directory import create_run, open_run


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_new_run_holds_its_campaign_byte_for_byte(tmp_path: Path) -> None:
    run = create_run(tmp_path / "deep" / "run", b"\xef\xbb\xbftitle = 1\r\n")
    assert run.campaign_path.read_bytes() == b"\xef\xbb\xbftitle = 1\r\n"
    assert sorted(path.name for path in run.path.iterdir()) == ["campaign.toml", "steps"]


def test_empty_folder_becomes_a_run(tmp_path: Path) -> None:
    assert create_run(tmp_path, b"").campaign_path.is_file()


def test_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    example.write_run(tmp_path / "run", example.ONE)
    before = content_of(tmp_path)
    with pytest.raises(ConfigError, match="already holds a run; choose another folder with --out"):
        create_run(tmp_path / "run", b"other")
    assert content_of(tmp_path) == before


def test_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="is not empty"):
        create_run(tmp_path, b"")
    assert content_of(tmp_path) == {str(tmp_path / "thesis.tex"): b"years of work"}


def test_file_in_the_way_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ConfigError) as caught:
        create_run(tmp_path / "run", b"")
    assert str(caught.value) == f"{tmp_path / 'run'}: cannot be used as output folder: File exists"
    assert (tmp_path / "run").read_text() == "a file"


def test_file_in_place_of_a_parent_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used as output folder: Not a directory"):
        create_run(tmp_path / "file" / "run", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be used as output folder: Permission denied"):
        create_run(tmp_path / "run", b"")


def test_missing_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent: no such folder"):
        open_run(tmp_path / "absent")


@pytest.mark.parametrize("name", ["folder", "file"])
def test_folder_or_file_without_a_journal_is_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"no run: it has no journal\.jsonl"):
        open_run(tmp_path / name)


def test_impossible_name_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read: File name too long"):
        open_run(tmp_path / ("x" * 300))


def test_step_file_is_named_after_core_and_read_mode(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", b"")
    assert run.step_path(example.OTHER_CORE) == run.path / "steps" / "core02_one_phase.h5"


def test_finished_steps_are_those_of_the_journal_in_its_order(tmp_path: Path) -> None:
    example.write_run(tmp_path / "run", example.OTHER_CORE, example.FOUR)
    assert open_run(tmp_path / "run").finished_steps() == [example.OTHER_CORE, example.FOUR]


def test_steps_are_read_sorted_by_core_and_read_mode(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.OTHER_CORE, example.ONE, example.FOUR)
    assert [record.key for record in run.read_steps()] == [
        example.FOUR,
        example.ONE,
        example.OTHER_CORE,
    ]


def test_step_file_that_the_journal_does_not_name_is_not_read(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    example.write_step(run.step_path(example.FOUR), example.FOUR)
    assert [record.key for record in run.read_steps()] == [example.ONE]


def test_run_without_a_finished_step_says_so(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run")
    with pytest.raises(DatasetError, match="run: this run has no finished step"):
        list(run.read_steps())


def test_finished_step_without_its_file_is_named(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    run.step_path(example.ONE).unlink()
    with pytest.raises(DatasetError, match=r"steps/core00_one_phase\.h5: no such file"):
        list(run.read_steps())


def test_step_file_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE)
    run.step_path(example.ONE).replace(run.step_path(example.OTHER_CORE))
    example.write_step(run.step_path(example.ONE), example.ONE)
    with pytest.raises(
        DatasetError, match=r"core02_one_phase\.h5: /: holds step core00_one_phase$"
    ):
        list(run.read_steps())


@pytest.mark.parametrize(
    "details",
    [
        '"core": 0',
        '"core": "0", "read_mode": "one_phase"',
        '"core": true, "read_mode": "one_phase"',
        '"core": -1, "read_mode": "one_phase"',
        '"core": 1e400, "read_mode": "one_phase"',
        '"core": 0, "read_mode": "../../etc"',
        '"core": 0, "read_mode": ["one_phase"]',
    ],
)
def test_damaged_step_event_is_named(tmp_path: Path, details: str) -> None:
    run = create_run(tmp_path / "run", b"")
    run.journal_path.write_text(f'{{"event": "step", {details}}}\n')
    with pytest.raises(DatasetError, match=r"journal\.jsonl: a step event is damaged: "):
        run.finished_steps()


def test_one_step_at_a_time_is_in_memory(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.FOUR, example.ONE)
    steps = run.read_steps()
    next(steps)
    # Nothing of the second has been looked at yet.
    run.step_path(example.ONE).unlink()
    with pytest.raises(DatasetError, match="core00_one_phase"):
        next(steps)
