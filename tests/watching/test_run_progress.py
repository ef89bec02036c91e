"""What the events of a run add up to, and when it is written; time is passed in."""

import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hil.campaign.process_identity import ProcessTable
from hil.campaign.progress_file import ProgressFile, read_progress
from hil.campaign.run_events import (
    FaultMet,
    LeftUnsafe,
    RunContinued,
    RunEnded,
    RunPaused,
    RunStarted,
    RunState,
    StepFailed,
    StepFinished,
    StepSize,
    StepSkipped,
    StepStarted,
    StopAsked,
    VectorsRead,
    Waiting,
)
from hil.campaign.run_tally import RunTally


class Clock:
    """Monotonic seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def now() -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


FAST = StepSize(name="core00_one_phase", read_mode="one_phase", vectors=800)
SLOW = StepSize(name="core00_four_phase", read_mode="four_phase", vectors=800)


def started(run: Path, *steps: StepSize, finished: frozenset[str] = frozenset()) -> RunStarted:
    return RunStarted(run=run, title="T", chip="C", steps=steps, finished=finished)


def take_step(
    tally: RunTally, clock: Clock, step: StepSize, *, block_s: float, rest_s: float = 0.0
) -> None:
    """Take a step of eight blocks; programming takes half of the rest, fitting the other half."""
    tally.hear(StepStarted(step=step.name))
    clock.seconds += rest_s / 2
    for _ in range(8):
        clock.seconds += block_s
        tally.hear(VectorsRead(step=step.name, vectors=step.vectors // 8))
    clock.seconds += rest_s / 2
    tally.hear(StepFinished(step=step.name, errors={"nmpu": 0.5}))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(clock: Clock) -> RunTally:
    return RunTally(clock=clock)


def test_nothing_is_known_of_the_rest_before_something_was_measured(
    tally: RunTally, tmp_path: Path
) -> None:
    tally.hear(started(tmp_path, FAST, SLOW))
    assert tally.progress().eta_s is None


def test_rest_is_estimated_by_the_pace_of_each_read_mode(
    tally: RunTally, clock: Clock, tmp_path: Path
) -> None:
    more = [
        StepSize(name=f"core01_{mode}", read_mode=mode, vectors=1600)
        for mode in ("one_phase", "four_phase")
    ]
    tally.hear(started(tmp_path, FAST, SLOW, *more))
    take_step(tally, clock, FAST, block_s=1.0, rest_s=2.0)
    take_step(tally, clock, SLOW, block_s=4.0, rest_s=2.0)
    # 16 blocks of 1 s, 16 of 4 s, 2 s besides for each step; 0.25 s for each of four at the end.
    assert tally.progress().eta_s == pytest.approx(16 * 1 + 16 * 4 + 2 * 2 + 4 * 0.25)
    assert tally.progress().vectors_per_s == pytest.approx({"one_phase": 100, "four_phase": 25})


def test_unknown_read_mode_counts_as_the_slowest_known(
    tally: RunTally, clock: Clock, tmp_path: Path
) -> None:
    tally.hear(started(tmp_path, FAST, SLOW))
    take_step(tally, clock, FAST, block_s=1.0)
    assert tally.progress().eta_s == pytest.approx(8.0)


def test_one_held_up_block_does_not_spoil_the_estimate(
    tally: RunTally, clock: Clock, tmp_path: Path
) -> None:
    again = StepSize(name="core01_one_phase", read_mode="one_phase", vectors=800)
    tally.hear(started(tmp_path, FAST, again))
    tally.hear(StepStarted(step=FAST.name))
    for block_s in (1, 1, 1, 1, 1, 600, 1, 1):  # the computer slept
        clock.seconds += block_s
        tally.hear(VectorsRead(step=FAST.name, vectors=100))
    # Seven intervals: six of 1 s and one that counts as 4 s. What a step takes besides its vectors
    # is not known yet and taken as 0.2 s: half of it for this step; 0.025 s for each at the end.
    assert tally.progress().eta_s == pytest.approx(8 * 10 / 7 + 0.1 + 0.2 + 2 * 0.025)


def test_pause_is_no_part_of_the_pace(tally: RunTally, clock: Clock, tmp_path: Path) -> None:
    again = StepSize(name="core01_one_phase", read_mode="one_phase", vectors=800)
    tally.hear(started(tmp_path, FAST, again))
    tally.hear(StepStarted(step=FAST.name))
    for number in range(8):
        if number == 4:
            tally.hear(RunPaused(reason="85 degrees"))
            assert tally.progress().state is RunState.PAUSED
            assert tally.progress().reason == "85 degrees"
            clock.seconds += 7200
            tally.hear(RunContinued())
        clock.seconds += 1
        tally.hear(VectorsRead(step=FAST.name, vectors=100))
    tally.hear(StepFinished(step=FAST.name))
    assert (tally.progress().state, tally.progress().reason) == (RunState.RUNNING, "")
    assert tally.progress().eta_s == pytest.approx(8.0)


def test_chips_at_the_same_time_take_as_long_as_the_slower_one(
    tally: RunTally, clock: Clock, tmp_path: Path
) -> None:
    steps = [
        StepSize(name=f"{chip}-{number}", read_mode="one_phase", vectors=100, chip=chip)
        for chip in ("a", "b")
        for number in (0, 1)
    ]
    tally.hear(started(tmp_path, *steps))
    for chip in ("a", "b"):
        tally.hear(StepStarted(step=f"{chip}-0"))
    for _ in range(10):
        clock.seconds += 1
        tally.hear(VectorsRead(step="a-0", vectors=10))
        tally.hear(VectorsRead(step="b-0", vectors=5))
    progress = tally.progress()
    assert [step.vectors_done for step in progress.current] == [100, 50]
    # Chip b has half of its first step to do and its second: 150 vectors at 5 per second, and what
    # steps take besides.
    assert progress.eta_s == pytest.approx(30.0 + 0.1 + 0.2 + 4 * 0.025)


def test_run_that_goes_on_counts_what_was_finished_before(
    tally: RunTally, clock: Clock, tmp_path: Path
) -> None:
    tally.hear(started(tmp_path, FAST, SLOW, finished=frozenset({FAST.name})))
    tally.hear(StepStarted(step=SLOW.name, vectors_done=400))
    progress = tally.progress()
    assert (progress.steps_done, progress.vectors_done) == (1, 1200)
    for _ in range(2):
        clock.seconds += 4
        tally.hear(VectorsRead(step=SLOW.name, vectors=100))
    # 200 vectors are left at 4 s for 100; those from before tell nothing of the pace.
    assert tally.progress().eta_s == pytest.approx(8.0 + 0.1 + 2 * 0.025)


def test_end_of_a_step_and_of_the_run_are_part_of_what_is_left(
    tally: RunTally, clock: Clock, tmp_path: Path
) -> None:
    again = StepSize(name="core01_one_phase", read_mode="one_phase", vectors=800)
    tally.hear(started(tmp_path, FAST, again))
    take_step(tally, clock, FAST, block_s=1.0, rest_s=4.0)
    tally.hear(StepStarted(step=again.name))
    clock.seconds += 2 + 1
    tally.hear(VectorsRead(step=again.name, vectors=800))
    # All vectors are read: half of 4 s is left of the step, and an eighth for each at the end.
    assert tally.progress().eta_s == pytest.approx(2.0 + 2 * 0.5)


def test_wait_is_part_of_what_is_left(tally: RunTally, clock: Clock, tmp_path: Path) -> None:
    again = StepSize(name="core01_one_phase", read_mode="one_phase", vectors=800)
    tally.hear(started(tmp_path, FAST, again))
    take_step(tally, clock, FAST, block_s=1.0)
    tally.hear(Waiting(reason="until core 1 is 1 h old", now_s=100.0, until_s=3700.0))
    clock.seconds += 600
    assert tally.progress().eta_s == pytest.approx(8.0 + 3000.0)


def test_errors_so_far_are_the_last_and_the_worst(tally: RunTally, tmp_path: Path) -> None:
    tally.hear(started(tmp_path, FAST, SLOW))
    tally.hear(StepFinished(step=FAST.name, errors={"float": 0.25, "nmpu": 0.5}))
    tally.hear(StepFinished(step=SLOW.name, errors={"float": math.nan, "nmpu": 0.125}))
    progress = tally.progress()
    assert progress.last_errors == {"float": None, "nmpu": 0.125}
    assert progress.last_errors_step == SLOW.name
    assert progress.worst_errors == {"float": 0.25, "nmpu": 0.5}


def test_failed_step_is_not_a_finished_one(tally: RunTally, tmp_path: Path) -> None:
    tally.hear(started(tmp_path, FAST, SLOW))
    tally.hear(StepFailed(step=FAST.name, reason="all columns are dead"))
    tally.hear(StepFinished(step=SLOW.name))
    progress = tally.progress()
    assert progress.steps_done == 1
    assert progress.failed == {FAST.name: "all columns are dead"}


def test_step_that_was_not_needed_is_neither_finished_nor_read(
    tally: RunTally, tmp_path: Path
) -> None:
    tally.hear(started(tmp_path, FAST, SLOW))
    tally.hear(StepFinished(step=FAST.name))
    tally.hear(StepSkipped(step=SLOW.name, reason="within the limit"))
    progress = tally.progress()
    assert (progress.steps_done, progress.steps_skipped, progress.steps) == (1, 1, 2)
    assert (progress.vectors_done, progress.vectors) == (FAST.vectors, FAST.vectors)


def test_link_health_counts_faults_by_kind(tally: RunTally) -> None:
    for kind in ("timeout", "wrong_crc", "timeout"):
        tally.hear(FaultMet(kind=kind, request="READ?", detail="bad", recovered_s=0.5))
    assert tally.progress().faults == {"timeout": 2, "wrong_crc": 1}
    assert tally.progress().last_fault == "timeout: bad (READ?)"


def test_end_is_told_with_its_reason(tally: RunTally, tmp_path: Path) -> None:
    tally.hear(started(tmp_path, FAST))
    tally.hear(StopAsked(reason="asked by ada"))
    assert tally.progress().state is RunState.STOPPING
    tally.hear(LeftUnsafe(reason="no link"))
    tally.hear(RunEnded(state=RunState.INTERRUPTED))
    progress = tally.progress()
    assert (progress.state, progress.reason) == (RunState.INTERRUPTED, "asked by ada")
    assert (progress.eta_s, progress.unsafe) == (0.0, "no link")


def progress_file(clock: Clock) -> ProgressFile:
    return ProgressFile(writer=ProcessTable().own(), now=now, clock=clock)


def test_file_is_written_at_most_twice_a_second(clock: Clock, tmp_path: Path) -> None:
    file = progress_file(clock)
    file.hear(started(tmp_path, FAST, SLOW))
    seen = {(tmp_path / "progress.json").stat().st_mtime_ns}
    writes = 0
    for number in range(1, 401):  # 10 s
        clock.seconds = 1000 + number / 40
        file.hear(VectorsRead(step=FAST.name, vectors=1))
        written_ns = (tmp_path / "progress.json").stat().st_mtime_ns
        writes += written_ns not in seen
        seen.add(written_ns)
    assert writes == 20
    assert not (tmp_path / "progress.json.part").exists()


def test_what_waited_is_written_by_a_tick(clock: Clock, tmp_path: Path) -> None:
    file = progress_file(clock)
    file.hear(started(tmp_path, FAST))
    file.hear(RunPaused(reason="hot"))
    assert json.loads((tmp_path / "progress.json").read_bytes())["state"] == "running"
    clock.seconds += 0.5
    file.tick()
    assert json.loads((tmp_path / "progress.json").read_bytes())["state"] == "paused"


def test_end_is_written_at_once(clock: Clock, tmp_path: Path) -> None:
    file = progress_file(clock)
    file.hear(started(tmp_path, FAST))
    file.hear(RunEnded(state=RunState.COMPLETE))
    assert json.loads((tmp_path / "progress.json").read_bytes())["state"] == "complete"


def test_what_is_written_is_read_back(clock: Clock, tmp_path: Path) -> None:
    file, tally = progress_file(clock), RunTally(clock=clock)
    for event in (
        started(tmp_path, FAST, SLOW),
        StepStarted(step=FAST.name),
        VectorsRead(step=FAST.name, vectors=100),
        FaultMet(kind="timeout", request="R", detail="d", recovered_s=None),
        StepFinished(step=FAST.name, errors={"nmpu": math.nan}),
        StepStarted(step=SLOW.name),
    ):
        file.hear(event)
        tally.hear(event)
    file.close()
    stored = read_progress(tmp_path)
    assert stored is not None
    assert stored.writer.pid == os.getpid()
    assert stored.utc == "2026-01-31T12:00:00+00:00"
    assert stored.progress == tally.progress()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"schema_version": 1}', b'{"schema_version": 2}', b"\xff"],
)
def test_damaged_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "progress.json").write_bytes(content)
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("state", "dancing"), ("eta_s", "soon"), ("faults", {"a": "b"}), ("current", [1]),
     ("steps", 1.5), ("failed", None), ("title", 3)],
)  # fmt: skip
def test_impossible_value_makes_the_file_none(
    clock: Clock, tmp_path: Path, key: str, value: object
) -> None:
    file = progress_file(clock)
    file.hear(started(tmp_path, FAST))
    path = tmp_path / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), key: value}))
    assert read_progress(tmp_path) is None
