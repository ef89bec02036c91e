"""The progress of several chips, on stderr: a bar for each, or now and then a line for each."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from hil.campaign.chips.chips_folder import ChipsFolder
from hil.campaign.chips.processes import ChipEnd
from hil.campaign.progress_file import read_progress
from hil.cli.progress_words import current_words, details_words, line_of
from hil.core.legible import printable

_BETWEEN_LINES_S = 10.0
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
        self._console = console or Console(stderr=True)
        self._is_quiet = is_quiet
        self._is_bar = self._console.is_terminal and not is_quiet
        self._clock = clock
        self._next_look_s = clock()
        self._next_lines_s = clock() + _BETWEEN_LINES_S
        self._progress = Progress(
            TextColumn("{task.fields[chip]}", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[details]}", markup=False),
            console=self._console,
            disable=not self._is_bar,
            transient=True,
            expand=True,
        )
        self._running: dict[str, TaskID] = {}

    def begin(self, chip: str) -> None:
        """Show a chip whose process is started."""
        self._running[chip] = self._progress.add_task(
            "connecting", total=None, chip=chip, details=""
        )

    def ended(self, end: ChipEnd) -> None:
        """Say how one has ended."""
        task = self._running.pop(end.chip)
        stored = read_progress(self._folder.path / end.chip)
        state = end.words or ("" if stored is None else stored.progress.state)
        if end.code or not self._is_quiet:
            self._say(f"{end.chip}: {state or f'ended with exit code {end.code}'}")
        self._progress.update(task, description="ended", details="")

    def asked(self, reason: str) -> None:
        """Say that all were told to stop."""
        if self._running and not self._is_quiet:
            self._say(f"{reason}: stopping {', '.join(self._running)} when their block is stored")

    def tick(self) -> None:
        """Bring the bars up to date, or write the next lines if it is time to."""
        if self._is_bar and self._clock() >= self._next_look_s:
            self._next_look_s = self._clock() + _BETWEEN_LOOKS_S
            for chip, task in self._running.items():
                self._draw(chip, task)
        elif not self._is_bar and not self._is_quiet and self._clock() >= self._next_lines_s:
            self._next_lines_s = self._clock() + _BETWEEN_LINES_S
            for chip in self._running:
                stored = read_progress(self._folder.path / chip)
                if stored is not None:
                    self._say(f"{chip}: {line_of(stored.progress)}")

    def _draw(self, chip: str, task: TaskID) -> None:
        stored = read_progress(self._folder.path / chip)
        if stored is None:
            return
        progress = stored.progress
        gone = progress.steps_done + progress.steps_skipped + len(progress.failed)
        number = min(gone + 1, progress.steps)
        self._progress.update(
            task,
            total=progress.vectors,
            completed=progress.vectors_done,
            description=f"{number}/{progress.steps} {current_words(progress)}",
            details=details_words(progress),
        )

    def _say(self, words: str) -> None:
        shown = "\n".join(printable(line) for line in words.splitlines())
        if self._is_bar:
            self._console.print(Text(shown), soft_wrap=True)
        else:
            click.echo(shown, file=self._console.file)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
