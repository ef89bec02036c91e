import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import example_steps as example
from hil.core.errors import ConfigError, DatasetError
from hil_datasets import open_run
from hil_datasets.run_directory import create_run, open_directory

RAW_SHA256 = "45bb9b5270023fadde8a9450e2df859e1e75f2d180eb38736bc595ff30126a12"
"""Content hash of the example's readouts."""


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


@pytest.mark.parametrize("inside", ["new", "steps", "steps/new", "a/b/c", "../link/new"])
def test_folder_inside_a_run_is_refused_and_nothing_made(tmp_path: Path, inside: str) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    (tmp_path / "link").symlink_to(run.path / "steps")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        create_run(run.path / inside, b"")
    assert str(caught.value) == (
        f"{run.path / inside}: lies inside the run {run.path}; "
        "choose another folder with --out (nothing was changed)"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_relative_folder_inside_a_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    monkeypatch.chdir(run.path)
    with pytest.raises(ConfigError, match=r"^new: lies inside the run "):
        create_run(Path("new"), b"")


def test_folder_beside_a_run_becomes_one(tmp_path: Path) -> None:
    example.write_run(tmp_path / "run", example.ONE)
    assert create_run(tmp_path / "other", b"").campaign_path.is_file()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a\0b", "embedded null byte"),
        ("new/a\0b", "embedded null byte"),
        ("\ud800", "'utf-8' codec can't encode"),
        ("x" * 300, "File name too long"),
        ("new/" + "x" * 300, "File name too long"),
        ("new/" + "x" * 300 + "/new", "File name too long"),
        ("x/" * 3000, "File name too long"),
    ],
    ids=["nul", "nul_below", "half_a_character", "name", "name_below", "name_between", "path"],
)
def test_impossible_folder_is_refused_and_nothing_made(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        create_run(tmp_path / name, b"")
    assert f": cannot be used as output folder: {reason}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be used as output folder: Permission denied"):
        create_run(tmp_path / "run", b"")


def test_missing_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent: no such folder"):
        open_directory(tmp_path / "absent")


@pytest.mark.parametrize("name", ["folder", "file"])
def test_folder_or_file_without_a_journal_is_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"no run: it has no journal\.jsonl"):
        open_directory(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["b/one"], "; below it is the run {0}/b/one: give one"),
        (["b/one", "a"], "; below it are the runs {0}/a, {0}/b/one: give one"),
        (["d", "c", "b", "a"], "; below it are the runs {0}/a, {0}/b, {0}/c, ...: give one"),
        ([], ""),
    ],
)
def test_runs_below_a_folder_that_is_none_are_named(
    tmp_path: Path, names: list[str], said: str
) -> None:
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "journal.jsonl").touch()
    with pytest.raises(DatasetError) as caught:
        open_directory(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no run: it has no journal.jsonl{said.format(tmp_path)}"
    )


def test_impossible_name_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read: File name too long"):
        open_directory(tmp_path / ("x" * 300))


def test_step_file_is_named_after_core_and_read_mode(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", b"")
    assert run.step_path(example.OTHER_CORE) == run.path / "steps" / "core02_one_phase.h5"


def test_finished_steps_are_those_of_the_journal_in_its_order(tmp_path: Path) -> None:
    example.write_run(tmp_path / "run", example.OTHER_CORE, example.FOUR)
    assert open_directory(tmp_path / "run").finished_steps() == [example.OTHER_CORE, example.FOUR]


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


def test_readouts_other_than_those_of_the_journal_are_refused(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    other = example.write_step(run.step_path(example.ONE), example.ONE, raw=example.RAW + 1)
    with pytest.raises(DatasetError) as caught:
        list(run.read_steps())
    assert str(caught.value) == (
        f"{run.path}/steps/core00_one_phase.h5: /: belongs to another run: "
        f"its raw_sha256 is {other}, the journal's {RAW_SHA256}"
    )


def test_step_of_another_campaign_than_the_journal_says_is_refused(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    origin = replace(example.ORIGIN, campaign_sha256="0" * 64)
    example.write_step(run.step_path(example.ONE), example.ONE, origin=origin)
    with pytest.raises(DatasetError) as caught:
        list(run.read_steps())
    assert str(caught.value) == (
        f"{run.path}/steps/core00_one_phase.h5: /: belongs to another run: "
        f"its campaign_sha256 is {'0' * 64}, the journal's {example.CAMPAIGN_SHA256}"
    )


def test_journal_that_names_no_campaign_holds_no_step_to_one(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    lines = run.journal_path.read_bytes().splitlines(keepends=True)
    run.journal_path.write_bytes(b'{"event": "start", "utc": "1"}\n' + b"".join(lines[1:]))
    assert [record.key for record in run.read_steps()] == [example.ONE]


def test_steps_of_two_chips_are_refused(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE)
    origin = replace(example.ORIGIN, chip=replace(example.CHIP, serial="43"))
    example.write_step(run.step_path(example.OTHER_CORE), example.OTHER_CORE, origin=origin)
    lines = [json.loads(line) for line in run.journal_path.read_text().splitlines()]
    older = [{key: line[key] for key in line if key != "facts_sha256"} for line in lines]
    run.journal_path.write_text("".join(json.dumps(line) + "\n" for line in older))
    with pytest.raises(DatasetError) as caught:
        list(run.read_steps())
    assert str(caught.value) == (
        f"{run.path}/steps/core02_one_phase.h5: /: is of the chip Acme AIMC-4x3, serial 43, "
        "firmware 1.0: the steps before it are of Acme AIMC-4x3, serial 42, firmware 1.0"
    )


def test_one_step_is_read_by_its_key(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE)
    assert run.read_step(example.OTHER_CORE).key == example.OTHER_CORE


def test_one_step_is_held_to_the_journal(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    example.write_step(run.step_path(example.ONE), example.ONE, raw=example.RAW + 1)
    with pytest.raises(DatasetError, match=r"core00_one_phase\.h5: /: belongs to another run: "):
        run.read_step(example.ONE)


def test_step_that_is_not_finished_is_not_read_by_its_key(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    example.write_step(run.step_path(example.FOUR), example.FOUR)
    with pytest.raises(DatasetError, match="run: this run has no finished step core00_four_phase"):
        run.read_step(example.FOUR)


def test_stored_campaign_is_read_byte_for_byte(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", b"\xef\xbb\xbftitle = 1\r\n")
    assert run.read_campaign() == b"\xef\xbb\xbftitle = 1\r\n"


def test_missing_campaign_is_a_dataset_error(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", b"")
    run.campaign_path.unlink()
    with pytest.raises(DatasetError, match=r"campaign\.toml: no such file$"):
        run.read_campaign()


def test_pipe_in_place_of_the_campaign_is_refused_before_it_is_waited_for(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", b"")
    run.campaign_path.unlink()
    os.mkfifo(run.campaign_path)
    with pytest.raises(DatasetError, match=r"campaign\.toml: is no regular file$"):
        run.read_campaign()


def test_one_step_at_a_time_is_in_memory(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.FOUR, example.ONE)
    steps = run.read_steps()
    next(steps)
    # Nothing of the second has been looked at yet.
    run.step_path(example.ONE).unlink()
    with pytest.raises(DatasetError, match="core00_one_phase"):
        next(steps)


def test_what_is_left_of_a_run_without_a_journal_is_begun_again(tmp_path: Path) -> None:
    create_run(tmp_path / "run", b"first")
    (tmp_path / "run" / "lock.json").write_text("{}")
    assert create_run(tmp_path / "run", b"second").read_campaign() == b"second"


def test_folder_with_something_else_beside_a_campaign_file_is_not_taken(tmp_path: Path) -> None:
    create_run(tmp_path / "run", b"first")
    (tmp_path / "run" / "steps" / "core00_one_phase.h5").write_text("precious")
    with pytest.raises(ConfigError, match="is not empty"):
        create_run(tmp_path / "run", b"second")


def test_name_that_may_be_a_files_is_told_of_both(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing\.h5: no such file or folder$"):
        open_run(tmp_path / "nothing.h5")
