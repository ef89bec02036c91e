"""What a run shows on stderr, on a terminal and elsewhere."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from hil.campaign.run_events import (
    FaultMet,
    LeftUnsafe,
    RunPaused,
    RunStarted,
    StepFinished,
    StepSize,
    StepStarted,
    VectorsRead,
)
from hil.cli.progress import ProgressBar

SIZES = tuple(
    StepSize(name=f"core0{core}_one_phase", read_mode="one_phase", vectors=400) for core in (0, 1)
)


class Clock:
    """Monotonic seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def run_half(bar: ProgressBar, clock: Clock) -> None:
    """Take the first of two steps, 4 s, and 5 s of the second."""
    bar.hear(RunStarted(run=Path("runs/x"), title="T", chip="C", steps=SIZES))
    for size, blocks in zip(SIZES, (4, 1), strict=True):
        bar.hear(StepStarted(step=size.name))
        for _ in range(blocks):
            clock.seconds += 1
            bar.hear(VectorsRead(step=size.name, vectors=100))
        if blocks == 4:
            bar.hear(FaultMet(kind="timeout", request="R", detail="d", recovered_s=1.0))
            bar.hear(StepFinished(step=size.name, errors={"nmpu": 0.03125}))
    clock.seconds = 10.0
    bar.tick()


@pytest.mark.parametrize("is_quiet", [False, True])
def test_pipe_gets_a_line_every_ten_seconds_unless_quiet(*, is_quiet: bool) -> None:
    text, clock = io.StringIO(), Clock()
    with ProgressBar(is_quiet=is_quiet, clock=clock, console=Console(file=text)) as bar:
        run_half(bar, clock)
        clock.seconds = 19.9
        bar.tick()
    # Three blocks are left, of 1 s each.
    line = (
        "1/2 steps, 62 %, core01_one_phase 100/400, 3 s left, error 3.12 %, "
        "1 link fault (timeout 1)\n"
    )
    assert text.getvalue() == ("" if is_quiet else line)


@pytest.mark.parametrize("is_quiet", [False, True])
def test_pause_is_said_at_once_unless_quiet(*, is_quiet: bool) -> None:
    text = io.StringIO()
    with ProgressBar(is_quiet=is_quiet, console=Console(file=text)) as bar:
        bar.hear(RunPaused(reason="85 degrees"))
    assert text.getvalue() == ("" if is_quiet else "paused: 85 degrees\n")


def test_unsafe_chip_is_said_even_when_quiet() -> None:
    text = io.StringIO()
    with ProgressBar(is_quiet=True, console=Console(file=text)) as bar:
        bar.hear(LeftUnsafe(reason="no\x1b[31m link"))
        assert bar.is_unsafe
    assert text.getvalue() == "warning: no?[31m link\n"


def test_terminal_gets_a_bar_with_step_time_error_and_faults() -> None:
    text, clock = io.StringIO(), Clock()
    console = Console(file=text, force_terminal=True, width=160)
    with ProgressBar(clock=clock, console=console) as bar:
        run_half(bar, clock)
    shown = text.getvalue()
    assert "2/2 core01_one_phase 100/400" in shown
    assert "left, error 3.12 %, 1 link fault (timeout 1)" in shown


def test_end_by_an_error_says_where_the_rest_is() -> None:
    text = io.StringIO()
    bar = ProgressBar(console=Console(file=text))
    bar.hear(RunStarted(run=Path("runs/x"), title="T", chip="C", steps=SIZES))
    with pytest.raises(ZeroDivisionError), bar:
        raise ZeroDivisionError
    assert text.getvalue() == "stopped early: hil resume runs/x goes on from there\n"
