"""Watchers of a run cannot stop it."""

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hil.campaign.observers import Observers, watch_run
from hil.campaign.progress_file import read_progress
from hil.campaign.run_events import (
    Noted,
    RunEnded,
    RunEvent,
    RunStarted,
    RunState,
    StepSize,
    StepStarted,
)

STARTED = RunStarted(run=Path("nowhere"), title="T", chip="C", steps=())


class Notebook:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []
        self.ticks = 0
        self.is_closed = False

    def hear(self, event: RunEvent) -> None:
        self.events.append(event)

    def tick(self) -> None:
        self.ticks += 1

    def close(self) -> None:
        self.is_closed = True


class Broken:
    """Raises whatever it is told."""

    def hear(self, event: RunEvent) -> None:
        raise OSError("disk full")

    def tick(self) -> None:
        raise ZeroDivisionError

    def close(self) -> None:
        raise MemoryError


def test_failing_watcher_is_logged_once_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notebook = Notebook()
    with (
        caplog.at_level(logging.WARNING),
        Observers([Broken(), notebook], every_s=0.01) as observers,
    ):
        for _ in range(3):
            observers.hear(Noted(words="x"))
        time.sleep(0.05)
    assert notebook.events == [Noted(words="x")] * 3
    assert notebook.is_closed
    assert caplog.messages == ["Broken does not work, the run goes on without: disk full"]


def test_time_passes_for_watchers_while_nothing_happens() -> None:
    notebook = Notebook()
    with Observers([notebook], every_s=0.01):
        deadline = time.monotonic() + 20
        while notebook.ticks < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    ticks = notebook.ticks
    time.sleep(0.05)
    assert notebook.ticks == ticks


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (KeyboardInterrupt(), RunState.INTERRUPTED, "Ctrl-C or a signal"),
        (ValueError("odd"), RunState.FAILED, "ValueError: odd"),
    ],
    ids=["interrupt", "error"],
)
def test_run_that_breaks_off_has_an_end(error: BaseException, state: RunState, reason: str) -> None:
    notebook = Notebook()
    observers = Observers([notebook])
    observers.hear(STARTED)
    with pytest.raises(type(error)), observers:
        raise error
    assert notebook.events == [STARTED, RunEnded(state=state, reason=reason)]


def test_end_that_was_told_is_not_told_again() -> None:
    notebook, ended = Notebook(), RunEnded(state=RunState.COMPLETE)
    with Observers([notebook]) as observers:
        observers.hear(STARTED)
        observers.hear(ended)
    assert notebook.events == [STARTED, ended]


def test_watched_run_has_its_log_and_its_progress(tmp_path: Path) -> None:
    size = StepSize(name="core00_one_phase", read_mode="one_phase", vectors=8)
    with watch_run(notify=None, now=lambda: datetime.now(UTC)) as observers:
        observers.hear(RunStarted(run=tmp_path, title="T", chip="C", steps=(size,)))
        observers.hear(StepStarted(step=size.name))
        observers.hear(RunEnded(state=RunState.FAILED, reason="no link"))
    stored = read_progress(tmp_path)
    assert stored is not None
    assert stored.progress.state is RunState.FAILED
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 3


def test_folder_that_vanishes_does_not_stop_the_run(tmp_path: Path) -> None:
    with watch_run(notify=None, now=lambda: datetime.now(UTC)) as observers:
        run = tmp_path / "gone"
        observers.hear(RunStarted(run=run, title="T", chip="C", steps=()))
        observers.hear(RunEnded(state=RunState.COMPLETE))
    assert not run.exists()
