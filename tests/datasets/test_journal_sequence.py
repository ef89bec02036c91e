"""Journals whose lines are not those of one run: nobody reads its steps, and a repair says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets import open_run
from hil_datasets.integrity.finding import FindingKind
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.packed.pack import pack_run
from hil_datasets.packed.packed_run import open_packed
from hil_datasets.run_directory import RunDirectory, open_directory
from recorded_runs import command

FIRST, SECOND = "core00_one_phase", "core02_one_phase"

Lines = list[dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Lines 1 to 4: start, a step of core 0, one of core 2, stop."""
    made = example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE)
    lines = _lines(made)
    lines[0]["planned"] = [FIRST, SECOND]
    _write(made, lines)
    return made


def _lines(run: RunDirectory) -> Lines:
    return [json.loads(line) for line in run.journal_path.read_text().splitlines()]


def _write(run: RunDirectory, lines: Lines) -> None:
    run.journal_path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _second_start(lines: Lines) -> Lines:
    return [*lines[:2], lines[0], *lines[2:]]


def _early_stop(lines: Lines) -> Lines:
    return [lines[0], lines[3], *lines[1:3]]


def _other_file(lines: Lines) -> Lines:
    return [lines[0], lines[1] | {"file": f"steps/{SECOND}.h5"}, *lines[2:]]


def _step_again(lines: Lines) -> Lines:
    return [*lines[:3], lines[1], lines[3]]


FORGERIES: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "a second start": (_second_start, "line 3: is a second start of the run"),
    "a stop in second place": (
        _early_stop,
        "line 3: a step event after the run stopped, without a resume between them",
    ),
    "the file of another core": (
        _other_file,
        f"line 2: the step event of {FIRST} names 'steps/{SECOND}.h5': must be steps/{FIRST}.h5",
    ),
    "a step twice": (_step_again, f"line 4: {FIRST} is finished a second time, after line 2"),
}


@pytest.mark.parametrize(("forge", "said"), FORGERIES.values(), ids=FORGERIES)
def test_journal_that_no_run_writes_is_refused_by_whoever_reads_steps(
    run: RunDirectory, tmp_path: Path, forge: Callable[[Lines], Lines], said: str
) -> None:
    _write(run, forge(_lines(run)))
    readers: tuple[Callable[[], object], ...] = (
        lambda: open_run(run.path),
        lambda: run.read_step(example.ONE),
        lambda: run.read_facts(example.OTHER_CORE),
        lambda: list(run.read_steps()),
        lambda: run.readouts(example.ONE).raw,
        lambda: pack_run(open_directory(run.path), tmp_path / "run.hil.h5"),
    )
    for read in readers:
        with pytest.raises(DatasetError) as caught:
            read()
        assert f"{run.path}: journal.jsonl" in str(caught.value)
        assert said in str(caught.value)
        assert "hil data verify says all that is wrong" in str(caught.value)
    assert not (tmp_path / "run.hil.h5").exists()


@pytest.mark.parametrize(("forge", "said"), FORGERIES.values(), ids=FORGERIES)
def test_repair_of_such_a_journal_makes_a_run_that_is_read_and_says_what_it_left_out(
    run: RunDirectory, tmp_path: Path, forge: Callable[[Lines], Lines], said: str
) -> None:
    _write(run, forge(_lines(run)))
    assert any(said.partition(": ")[2] in str(each) for each in verify_run(run.path).findings)
    done = command("data", "repair", run.path, "--out", tmp_path / "repaired")
    assert done.code == 0, done.stdout + done.stderr
    assert "nothing is lost" not in done.stdout
    assert len(open_run(tmp_path / "repaired")) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "run"),
        ("data", "pack", "run", "--output", "run.hil.h5"),
        ("data", "split", "run", "--by", "core", "--out", "parts"),
        ("calibrate", "apply", "run", "--output", "codes.npz"),
        ("export", "run", "--format", "json", "-o", "codes.json"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_line_of_another_run_of_the_campaign_is_refused_by_commands(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    _put_foreign_step(run, tmp_path)
    monkeypatch.chdir(tmp_path)
    done = command(*arguments)
    assert done.code == 5
    assert f"line 4: {FIRST} is finished a second time, after line 2" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run"]


def _put_foreign_step(run: RunDirectory, folder: Path) -> RunDirectory:
    """Put a step of another run of the same campaign and chip in place of the run's own."""
    other = example.write_run(folder / "other", example.ONE, raw=example.RAW[::-1].copy())
    lines = _lines(run)
    _write(run, [*lines[:3], _lines(other)[1], lines[3]])
    shutil.copyfile(other.step_path(example.ONE), run.step_path(example.ONE))
    return other


def test_repair_of_a_step_with_two_lines_says_that_it_may_be_another_runs(
    run: RunDirectory, tmp_path: Path
) -> None:
    _put_foreign_step(run, tmp_path)
    done = command("data", "repair", run.path, "--out", tmp_path / "repaired")
    assert done.code == 0, done.stdout + done.stderr
    words = "its file fits line 4, and may be of another run"
    assert f"{FIRST}: found: line 2 of the journal, whose readouts are others: {words}" in (
        done.stdout
    )
    assert any(words in note for note in verify_run(tmp_path / "repaired").notes)


def test_repair_gives_a_line_the_name_of_its_file(run: RunDirectory, tmp_path: Path) -> None:
    _write(run, _other_file(_lines(run)))
    done = command("data", "repair", run.path, "--out", tmp_path / "repaired")
    assert done.code == 0, done.stdout + done.stderr
    events = _lines(RunDirectory(tmp_path / "repaired"))
    assert [event["file"] for event in events if event.get("file")] == [f"steps/{FIRST}.h5"]


def test_packed_journal_is_held_to_its_order_as_a_folders_is(
    run: RunDirectory, tmp_path: Path
) -> None:
    path = tmp_path / "run.hil.h5"
    pack_run(run, path)
    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
        (place,) = (name for name in names if name.endswith("journal.jsonl"))
    assert open_packed(path).finished_steps() == [example.ONE, example.OTHER_CORE]
    forged = json.dumps(_lines(run)[1]).encode() + b"\n"
    _append_to_packed_journal(path, place, forged)
    with pytest.raises(DatasetError, match=f"{FIRST} is finished a second time, after line 2"):
        open_packed(path).finished_steps()


def _append_to_packed_journal(path: Path, place: str, line: bytes) -> None:
    from hil_datasets.packed.layout import PACK_FORMAT  # noqa: PLC0415
    from hil_datasets.seal import seal_file  # noqa: PLC0415

    with h5py.File(path, "r+") as file:
        content = file[place][...].tobytes() + line
        attributes = dict(file[place].attrs)
        del file[place]
        made = file.create_dataset(place, data=memoryview(content), dtype="u1")
        for name, value in attributes.items():
            made.attrs[name] = value
    seal_file(path, form=PACK_FORMAT)


def _order_findings(run: RunDirectory) -> list[tuple[str, str]]:
    found = verify_run(run.path).findings
    return [(each.where, each.message) for each in found if each.kind is FindingKind.SEQUENCE]


def test_verify_names_steps_that_were_finished_in_another_order_than_planned(
    run: RunDirectory,
) -> None:
    start, first, second, stop = _lines(run)
    _write(run, [start, second, first, stop])
    message = f"{FIRST} is finished after {SECOND}, and was planned before it"
    assert _order_findings(run) == [("line 3", message)]
    assert len(open_run(run.path)) == 2  # each step is whole, and of this run


def test_step_that_failed_may_be_finished_after_a_resume(run: RunDirectory) -> None:
    start, first, second, stop = _lines(run)
    failure = {"event": "failure", "utc": "", "step": FIRST, "reason": "no fit"}
    resume = start | {"event": "resume"}
    _write(run, [start, failure, second, stop, resume, first, stop])
    assert _order_findings(run) == []
    assert len(open_run(run.path)) == 2


@pytest.mark.parametrize("made", ["repair", "merge", "split"])
def test_run_that_was_made_from_others_is_in_no_order(run: RunDirectory, made: str) -> None:
    start, first, second, stop = _lines(run)
    _write(run, [start, second, first, stop, {"event": made, "utc": ""}, stop])
    assert _order_findings(run) == []
    assert len(open_run(run.path)) == 2


def test_run_whose_last_line_is_being_written_is_read(run: RunDirectory) -> None:
    lines = run.journal_path.read_bytes().splitlines(keepends=True)
    run.journal_path.write_bytes(b"".join(lines[:2]) + lines[1][:40])
    assert list(open_run(run.path).steps) == [example.ONE]


def test_run_that_lost_its_index_is_not_packed(run: RunDirectory, tmp_path: Path) -> None:
    run.index_path.unlink()
    done = command("data", "pack", run.path, "--output", tmp_path / "run.hil.h5")
    assert done.code == 5
    assert "campaign.h5: the index is missing" in done.stderr
    assert "hil data repair makes the index again" in done.stderr
    assert not (tmp_path / "run.hil.h5").exists()


def test_run_that_has_not_stopped_is_packed_without_an_index(
    run: RunDirectory, tmp_path: Path
) -> None:
    run.index_path.unlink()
    _write(run, _lines(run)[:2])
    assert pack_run(run, tmp_path / "run.hil.h5").steps == 1
