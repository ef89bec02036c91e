"""A run with several visits: its journal, its index, its recording."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import example_steps as example
import visited_run as visited
from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil_datasets.index import write_index
from hil_datasets.journal import read_journal
from hil_datasets.recording import NotRecordedError, Recording
from hil_datasets.run_directory import RunDirectory, open_directory
from hil_datasets.step import StepKey, StepKind
from hil_mock_device.player import RecordedChip

ONE = ReadMode.ONE_PHASE
FIRST_HOT_COUNTS = [[99, 100, 101], [0, 1, 2]]
"""Counts of vector 0 in visit 1: one less than in visit 0, where they are above 9."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return visited.write_visited_run(tmp_path_factory.mktemp("visited") / "run")


@pytest.fixture
def recording(run: RunDirectory) -> Recording:
    return Recording(run.read_steps())


def test_finished_steps_have_their_visit_and_kind(run: RunDirectory) -> None:
    assert open_directory(run.path).finished_steps() == list(visited.KEYS)


def test_skipped_step_is_told_with_its_reason_and_is_not_finished(run: RunDirectory) -> None:
    assert run.skipped_steps() == {visited.NOT_NEEDED: visited.REASON}
    assert visited.NOT_NEEDED not in run.finished_steps()


def test_step_that_was_taken_after_all_is_not_skipped(tmp_path: Path) -> None:
    run = visited.write_visited_run(tmp_path / "run", [visited.COLD])
    run.journal.append("step", utc="1", raw_sha256="0", **visited.event_of(visited.NOT_NEEDED))
    assert run.skipped_steps() == {}


def test_steps_of_a_kind_are_read_alone(run: RunDirectory) -> None:
    probes = list(run.read_steps(kinds=[StepKind.PROBE]))
    assert [record.key for record in probes] == [visited.PROBE]


def test_steps_of_a_kind_that_there_are_none_of_are_an_error(run: RunDirectory) -> None:
    with pytest.raises(
        DatasetError, match=r"has no finished step of the kind verify, but 5 others$"
    ):
        list(run.read_steps(kinds=[StepKind.VERIFY]))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"event": "step", "visit": -1}, "step event: visit: is -1: must be a number, 0 or more"),
        ({"event": "step", "kind": "bake"}, "step event: kind: 'bake' is not a valid StepKind"),
        ({"event": "skip", "visit": True}, "skip event: visit: is True: must be a number"),
        ({"event": "skip", "kind": 3}, "skip event: kind: is 3: must be text"),
        ({"event": "skip", "reason": None}, "skip event: reason: is None: must be text"),
    ],
)
def test_journal_with_an_impossible_visit_is_refused(
    tmp_path: Path, event: dict[str, Any], reason: str
) -> None:
    step = {"core": 0, "read_mode": "one_phase", "raw_sha256": "0"}
    (tmp_path / "journal.jsonl").write_text(json.dumps(step | event) + "\n")
    with pytest.raises(DatasetError) as caught:
        read_journal(tmp_path / "journal.jsonl")
    assert f"line 1: {reason}" in str(caught.value)


def test_skip_without_a_core_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"event": "skip", "read_mode": "one_phase"}\n')
    with pytest.raises(DatasetError, match="skip event: core: missing"):
        read_journal(tmp_path / "journal.jsonl")


@pytest.mark.parametrize(
    ("group", "first"),
    [
        ("cores/00/one_phase", [[100, 101, 102], [0, 1, 2]]),
        ("visits/01/calibrate/cores/00/one_phase", FIRST_HOT_COUNTS),
        ("visits/02/probe/cores/00/one_phase", [[98, 99, 100], [0, 1, 2]]),
    ],
)
def test_index_leads_to_every_step(run: RunDirectory, group: str, first: list[Any]) -> None:
    with h5py.File(run.index_path) as index:
        assert index[group]["raw"][0].tolist() == first


def test_index_tells_under_what_a_step_was_taken(run: RunDirectory) -> None:
    with h5py.File(run.index_path) as index:
        attributes = index["visits/02/probe/cores/00/one_phase"].attrs
        assert (attributes["kind"], attributes["visit"]) == ("probe", 2)
        assert attributes["age_s"] == 6000.0
        assert json.loads(attributes["correction_of"])["step"] == "core00_one_phase_visit01"


def test_tables_of_the_index_hold_the_newest_calibrations(tmp_path: Path) -> None:
    run = visited.write_visited_run(tmp_path / "run", visited.KEYS[:3])
    path = run.step_path(visited.HOT)
    newer = replace(example.CONCLUSION, output_lsb=4.25)
    origin = replace(example.ORIGIN, circumstance=replace(example.ORIGIN.circumstance, visit=1))
    example.write_step(path, visited.HOT, origin=origin, conclusion=newer)
    write_index(run, run.finished_steps())
    with h5py.File(run.index_path) as index:
        assert index["core"][...].tolist() == [0, 2]
        assert index["tables/output_lsb"][:, 0].tolist() == [4.25, 8.5]


def test_run_without_a_calibration_has_an_index_without_tables(tmp_path: Path) -> None:
    key = replace(example.ONE, kind=StepKind.PROGRAM)
    run = example.write_run(tmp_path / "run", key)
    with h5py.File(run.index_path) as index:
        assert index["visits/00/program/cores/00/one_phase/raw"].shape == (6, 2, 3)
        assert index["core"].shape == index["read_mode"].shape == (0,)
        assert "tables" not in index


def test_played_step_answers_until_another_is_played(recording: Recording) -> None:
    chip = RecordedChip(recording)
    recording.play(visited.HOT)
    assert chip.convert(0, ONE, example.INPUTS[:1])[0].tolist() == FIRST_HOT_COUNTS
    recording.play(visited.COLD)
    assert chip.convert(0, ONE, example.INPUTS[:1])[0].tolist() == example.RAW[0].tolist()
    assert chip.convert(2, ONE, example.INPUTS[:1])[0].tolist() == example.RAW[0].tolist()


def test_step_that_is_played_again_begins_with_its_first_readouts(recording: Recording) -> None:
    chip = RecordedChip(recording)
    for _ in range(2):
        recording.play(visited.HOT)
        assert chip.convert(0, ONE, example.INPUTS[[0]])[0].tolist() == FIRST_HOT_COUNTS


def test_played_probe_gives_its_outputs_for_every_vector(recording: Recording) -> None:
    chip = RecordedChip(recording)
    recording.play(visited.PROBE)
    counts = chip.convert(0, ONE, example.INPUTS[[3, 5]])
    conclusion = example.CONCLUSION
    outputs = chip.correct(0, ONE, counts, conclusion.fmt, conclusion.registers)
    assert outputs.tolist() == [[3, -3, 0], [5, -5, 0]]


def test_reset_does_not_change_what_is_played(recording: Recording) -> None:
    chip = RecordedChip(recording)
    recording.play(visited.HOT)
    chip.reset()
    assert chip.convert(0, ONE, example.INPUTS[[0]])[0].tolist() == FIRST_HOT_COUNTS


def test_step_that_was_not_recorded_is_not_played(recording: Recording) -> None:
    with pytest.raises(DatasetError, match=r"holds no step core07_one_phase_visit03$"):
        recording.play(StepKey(7, ONE, visit=3))


def test_without_a_choice_the_steps_answer_one_after_the_other(recording: Recording) -> None:
    chip = RecordedChip(recording)
    read = [chip.convert(0, ONE, example.INPUTS)[5, 0, 0] for _ in range(4)]
    assert [int(count) for count in read] == [150, 149, 148, 150]


def test_reset_begins_with_the_first_step_again(recording: Recording) -> None:
    chip = RecordedChip(recording)
    for _ in range(2):
        assert chip.convert(0, ONE, example.INPUTS[[5]])[0, 0, 0] == 150
        assert chip.convert(0, ONE, example.INPUTS[[5]])[0, 0, 0] == 149
        chip.reset()


def test_step_that_does_not_hold_the_vectors_is_left_out(run: RunDirectory) -> None:
    steps = {record.key: record for record in run.read_steps()}
    other = steps[visited.HOT]
    unlike = replace(other, inputs=-other.inputs, raw=np.zeros_like(other.raw))
    recording = Recording([steps[visited.COLD], unlike])
    assert recording.playing(0, ONE, -example.INPUTS[[3]]) == visited.HOT
    assert recording.playing(0, ONE, example.INPUTS[[3]]) == visited.COLD
    with pytest.raises(NotRecordedError, match=r"was not recorded for core00_one_phase$"):
        recording.counts(recording.playing(0, ONE, example.INPUTS * 2), example.INPUTS * 2)
