"""The progress of an evaluation: a bar where somebody watches, now and then a line elsewhere."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

import click
from rich.progress import TaskProgressColumn

from hil.cli.progress import draw_bar
from hil.core.legible import printable

_BETWEEN_LINES_S = 10.0


class EvaluationBar:
    """An `EvaluationObserver` that draws a bar with the time left on stderr.

    Parameters
    ----------
    out
        Folder of the evaluation.
    is_quiet
        Whether words go to stderr, since stdout is for something else.
    """

    def __init__(self, out: Path, *, is_quiet: bool) -> None:
        self._out = out
        self._is_quiet = is_quiet
        self._progress = draw_bar(TaskProgressColumn())
        self._task = self._progress.add_task("loading", total=None)
        self._stage = "loading"
        self._begun_s = self._said_s = time.monotonic()
        self._images = self._done = 0

    def on_words(self, words: str) -> None:
        """Print words above the bar."""
        self._progress.stop()
        click.echo("\n".join(map(printable, words.splitlines())), err=self._is_quiet)
        if not self._progress.disable:
            self._progress.start()

    def on_plan(self, *, images: int) -> None:
        """Take note of how much there is to do."""
        self._images = images
        self._begun_s = time.monotonic()
        self._progress.update(self._task, total=images)

    def on_stage(self, words: str) -> None:
        """Show what begins."""
        self._stage = words
        self._progress.update(self._task, description=words)

    def on_images(self, images: int) -> None:
        """Advance."""
        self._done += images
        self._progress.update(self._task, advance=images)
        now_s = time.monotonic()
        if self._progress.disable and now_s - self._said_s >= _BETWEEN_LINES_S:
            self._said_s = now_s
            left_s = (now_s - self._begun_s) * (self._images / self._done - 1)
            share = self._done / self._images
            click.echo(f"{self._stage}: {share:.0%}, {left_s:.0f} s left", err=True)

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
        if isinstance(error, KeyboardInterrupt):
            click.echo(
                f"stopped early; finished conditions are in {self._out}: the same command goes on",
                err=True,
            )
