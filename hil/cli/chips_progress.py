"""The progress of several chips, on stderr: a bar for each, or now and then a line for each."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import TaskID

from hil.campaign.chips.chips_folder import ChipsFolder
from hil.campaign.chips.processes import ChipEnd
from hil.campaign.progress_file import read_progress
from hil.cli.progress_words import line_of
from hil.cli.run_bar import BETWEEN_LINES_S, RunBars
from hil.core.legible import printable

_BETWEEN_LOOKS_S = 0.5
"""The runs write how far they are twice in a second."""


class ChipsProgress:
    """A `ChipsWatcher` that shows how far each chip is, from what its run writes.

    Parameters
    ----------
    folder
        Where the runs are.
    is_quiet
        Whether only chips that end otherwise than well are shown.
    clock
        Monotonic seconds.
    console
        Where to; stderr where left out.
    """

    def __init__(
        self,
        folder: ChipsFolder,
        *,
        is_quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self._folder = folder
        self._is_quiet = is_quiet
        console = console or Console(stderr=True)
        self._bars = RunBars(console, is_drawn=not is_quiet, names_chips=True)
        self._clock = clock
        self._next_look_s = clock()
        self._next_lines_s = clock() + BETWEEN_LINES_S
        self._running: dict[str, TaskID] = {}

    def begin(self, chip: str) -> None:
        """Show a chip whose process is started."""
        self._running[chip] = self._bars.add(chip)

    def ended(self, end: ChipEnd) -> None:
        """Say how one has ended."""
        task = self._running.pop(end.chip)
        stored = read_progress(self._folder.path / end.chip)
        state = end.words or ("" if stored is None else stored.progress.state)
        if end.code or not self._is_quiet:
            self._say(f"{end.chip}: {state or f'ended with exit code {end.code}'}")
        self._bars.progress.update(task, description="ended", details="")

    def asked(self, reason: str) -> None:
        """Say that all were told to stop."""
        if self._running and not self._is_quiet:
            self._say(f"{reason}: stopping {', '.join(self._running)} when their block is stored")

    def tick(self) -> None:
        """Bring the bars up to date, or write the next lines if it is time to."""
        if self._bars.is_drawn and self._clock() >= self._next_look_s:
            self._next_look_s = self._clock() + _BETWEEN_LOOKS_S
            for chip, task in self._running.items():
                self._draw(chip, task)
        elif not self._bars.is_drawn and not self._is_quiet and self._clock() >= self._next_lines_s:
            self._next_lines_s = self._clock() + BETWEEN_LINES_S
            for chip in self._running:
                stored = read_progress(self._folder.path / chip)
                if stored is not None:
                    self._say(f"{chip}: {line_of(stored.progress)}")

    def _draw(self, chip: str, task: TaskID) -> None:
        stored = read_progress(self._folder.path / chip)
        if stored is not None:
            self._bars.show(task, stored.progress)

    def _say(self, words: str) -> None:
        self._bars.say("\n".join(printable(line) for line in words.splitlines()))

    def __enter__(self) -> Self:
        self._bars.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.progress.stop()
