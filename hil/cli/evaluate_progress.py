"""The progress of an evaluation: a bar where somebody watches, now and then a line elsewhere."""

import time
from pathlib import Path

import click
from rich.progress import TaskProgressColumn

from hil.cli.bars import ResumableBar
from hil.core.legible import printable

_BETWEEN_LINES_S = 10.0


class EvaluationBar(ResumableBar):
    """An `EvaluationObserver` that draws a bar with the time left on stderr.

    Parameters
    ----------
    out
        Folder of the evaluation.
    is_quiet
        Whether words go to stderr, since stdout is for something else.
    """

    def __init__(self, out: Path, *, is_quiet: bool) -> None:
        super().__init__(out, TaskProgressColumn(), begins_with="loading", parts="conditions")
        self._is_quiet = is_quiet
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
