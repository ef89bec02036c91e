"""The progress bar of a run, on stderr, and only where somebody watches."""

from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey


def draw_bar(how_far: ProgressColumn) -> Progress:
    """Return a bar on stderr with `how_far` and the time left; silent if it is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        how_far,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
        expand=True,
    )


class ProgressBar:
    """A `RunObserver` that draws a bar with the time left; silent if stderr is no terminal."""

    def __init__(self) -> None:
        self._progress = draw_bar(TaskProgressColumn())
        self._task = self._progress.add_task("connecting", total=None)
        self.is_unsafe = False
        """Whether the chip could not be left safe."""
        self._run: RunDirectory | None = None
        self._steps = 0
        self._step = 0

    def on_start(self, *, steps: int, vectors: int, run: RunDirectory) -> None:
        """Take note of how much there is to do."""
        self._run, self._steps = run, steps
        self._progress.update(self._task, total=vectors)

    def on_step(self, key: StepKey) -> None:
        """Name the step."""
        self._step += 1
        words = f"{self._step}/{self._steps} core {key.core} {key.read_mode}"
        self._progress.update(self._task, description=words)

    def on_vectors(self, vectors: int) -> None:
        """Advance."""
        self._progress.advance(self._task, vectors)

    def on_unsafe(self, reason: str) -> None:
        """Warn, and remember it."""
        self.is_unsafe = True
        click.echo(f"warning: the chip may not be safe, SAFE did not reach it: {reason}", err=True)

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
        if error is not None and self._run is not None:
            click.echo(f"stopped early; what was finished is in {self._run.path}", err=True)
