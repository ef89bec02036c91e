"""A run that waits says so: in its progress, in the words for a terminal, and in progress.json."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hil.campaign.process_identity import ProcessTable
from hil.campaign.progress_file import ProgressFile, read_progress
from hil.campaign.run_events import (
    RunEnded,
    RunStarted,
    RunState,
    StepSize,
    StepStarted,
    VectorsRead,
    WaitEnded,
    Waiting,
)
from hil.campaign.run_progress import CurrentWait
from hil.campaign.run_tally import RunTally
from hil.cli.progress_words import line_of

STEP = StepSize(name="core00_one_phase", read_mode="one_phase", vectors=800)
OLD = Waiting(reason="until core 0 is 3 h old", now_s=1000.0, until_s=8980.0)
WARM = Waiting(reason="for chamber.temperature to settle at 40 degC", now_s=1000.0, until_s=None)


class Clock:
    """Monotonic seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 5.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def started(run: Path) -> RunStarted:
    return RunStarted(run=run, title="T", chip="C", steps=(STEP, STEP))


def test_line_says_how_long_a_run_waits_and_what_for(clock: Clock, tmp_path: Path) -> None:
    tally = RunTally(clock=clock)
    tally.hear(started(tmp_path))
    tally.hear(OLD)
    assert line_of(tally.progress()) == ("0/1 steps, 0 %, waits 2 h 13 min until core 0 is 3 h old")
    clock.seconds += 7200.0
    assert tally.progress().waiting == CurrentWait(reason=OLD.reason, left_s=780.0)
    tally.hear(WaitEnded())
    assert tally.progress().waiting is None
    tally.hear(WARM)
    assert line_of(tally.progress()).endswith("waits for chamber.temperature to settle at 40 degC")


def test_run_that_has_ended_waits_no_longer(clock: Clock, tmp_path: Path) -> None:
    tally = RunTally(clock=clock)
    tally.hear(started(tmp_path))
    tally.hear(WARM)
    tally.hear(RunEnded(state=RunState.INTERRUPTED, reason="SIGINT"))
    assert tally.progress().waiting is None


def test_wait_is_no_part_of_the_pace(clock: Clock, tmp_path: Path) -> None:
    tally = RunTally(clock=clock)
    tally.hear(started(tmp_path))
    tally.hear(StepStarted(step=STEP.name))
    for _ in range(2):
        clock.seconds += 1.0
        tally.hear(VectorsRead(step=STEP.name, vectors=100))
    tally.hear(OLD)
    clock.seconds += 86400.0
    tally.hear(WaitEnded())
    for _ in range(3):
        clock.seconds += 1.0
        tally.hear(VectorsRead(step=STEP.name, vectors=100))
    assert tally.progress().vectors_per_s == {"one_phase": pytest.approx(100.0)}


def progress_file(clock: Clock) -> ProgressFile:
    return ProgressFile(
        writer=ProcessTable().own(), now=lambda: datetime(2026, 1, 31, tzinfo=UTC), clock=clock
    )


def test_file_of_a_waiting_run_is_kept_fresh_and_is_read_back(clock: Clock, tmp_path: Path) -> None:
    file = progress_file(clock)
    file.hear(started(tmp_path))
    clock.seconds += 1.0
    file.hear(OLD)
    clock.seconds += 980.0
    file.tick()
    stored = read_progress(tmp_path)
    assert stored is not None
    assert stored.progress.waiting == CurrentWait(reason=OLD.reason, left_s=7000.0)
    before = (tmp_path / "progress.json").stat().st_mtime_ns
    clock.seconds += 3.0
    file.tick()
    assert (tmp_path / "progress.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("waiting", [3, {"reason": 1, "left_s": 2.0}, {"reason": "x"}])
def test_impossible_wait_makes_the_file_none(clock: Clock, tmp_path: Path, waiting: object) -> None:
    path = written(clock, tmp_path, {"waiting": waiting})
    assert read_progress(path) is None


def test_file_from_before_there_were_waits_is_read(clock: Clock, tmp_path: Path) -> None:
    stored = read_progress(written(clock, tmp_path, {"waiting": None}, without="waiting"))
    assert stored is not None
    assert stored.progress.waiting is None


@pytest.mark.parametrize("name", ["eta_s", "elapsed_s", "vectors_per_s", "current", "state"])
def test_file_that_lacks_something_counts_as_none(clock: Clock, tmp_path: Path, name: str) -> None:
    assert read_progress(written(clock, tmp_path, {}, without=name)) is None


def written(clock: Clock, folder: Path, changes: dict[str, object], *, without: str = "") -> Path:
    progress_file(clock).hear(started(folder))
    path = folder / "progress.json"
    content = {**json.loads(path.read_bytes()), **changes}
    content.pop(without, None)
    path.write_text(json.dumps(content))
    return folder
