"""The progress of a run, on stderr: a bar where somebody watches, now and then a line elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import click
from rich.console import Console

from hil.campaign.run_events import (
    LeftUnsafe,
    RunContinued,
    RunEvent,
    RunPaused,
    StepFailed,
    StopAsked,
    Warned,
)
from hil.campaign.run_tally import RunTally
from hil.cli.progress_words import line_of
from hil.cli.run_bar import BETWEEN_LINES_S, RunBars
from hil.core.legible import printable

_BETWEEN_DRAWINGS_S = 0.1


class ProgressBar:
    """A `RunWatcher` that shows on stderr how far a run is.

    On a terminal it draws a bar with the current step, the time left, the last error and the faults
    of the link; elsewhere it writes a line every ten seconds.

    Parameters
    ----------
    is_quiet
        Whether only warnings are shown.
    clock
        Monotonic seconds.
    console
        Where to; stderr where left out.
    """

    def __init__(
        self,
        *,
        is_quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._bars = RunBars(self._console, is_drawn=not is_quiet)
        self._is_quiet = is_quiet
        self._clock = clock
        self._next_line_s = clock() + BETWEEN_LINES_S
        self._next_drawing_s = clock()
        self._tally = RunTally(clock=clock)
        self._task = self._bars.add()
        self.is_unsafe = False
        """Whether the chip could not be left safe."""

    def hear(self, event: RunEvent) -> None:
        """Show what has happened."""
        self._tally.hear(event)
        match event:
            case LeftUnsafe(reason=reason):
                self.is_unsafe = True
                self._say(f"warning: {reason}")
            case Warned(words=words):
                self._say(f"warning: {words}")
            case StepFailed(step=step, reason=reason):
                self._say_unless_quiet(f"{step} failed: {reason}")
            case RunPaused(reason=reason):
                self._say_unless_quiet(f"paused: {reason}")
            case RunContinued():
                self._say_unless_quiet("goes on")
            case StopAsked(reason=reason):
                self._say_unless_quiet(f"stopping when this block is stored: {reason}")
        self.tick()

    def tick(self) -> None:
        """Bring the bar up to date, or write the next line if it is time to."""
        if self._bars.is_drawn:
            if self._clock() >= self._next_drawing_s:
                self._next_drawing_s = self._clock() + _BETWEEN_DRAWINGS_S
                self._draw()
        elif not self._is_quiet and self._clock() >= self._next_line_s:
            self._next_line_s = self._clock() + BETWEEN_LINES_S
            if self._tally.run is not None:
                self._say(line_of(self._tally.progress()))

    def close(self) -> None:
        """Take the bar away."""
        self._bars.progress.stop()

    def _draw(self) -> None:
        progress = self._tally.progress()
        if self._tally.run is not None:
            self._bars.show(self._task, progress)

    def _say_unless_quiet(self, words: str) -> None:
        if not self._is_quiet:
            self._say(words)

    def _say(self, words: str) -> None:
        self._bars.say(printable(words))

    def __enter__(self) -> Self:
        self._bars.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if error is not None and self._tally.run is not None:
            click.echo(
                f"stopped early: hil resume {self._tally.run} goes on from there",
                file=self._console.file,
            )
