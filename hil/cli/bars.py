"""Bars on stderr that show how far a command is."""

from pathlib import Path
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


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


class ResumableBar:
    """A bar of what leaves its parts in a folder; an end before the last one says how to go on.

    Parameters
    ----------
    out
        The folder.
    how_far
        What stands behind the bar.
    begins_with
        What is done first.
    parts
        What is in the folder afterwards, as in ``results``.
    ends_early
        Errors by which it ends before the last part.
    """

    def __init__(
        self,
        out: Path,
        how_far: ProgressColumn,
        *,
        begins_with: str,
        parts: str,
        ends_early: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
    ) -> None:
        self._out = out
        self._parts = parts
        self._ends_early = ends_early
        self._progress = draw_bar(how_far)
        self._task = self._progress.add_task(begins_with, total=None)

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
        if isinstance(error, self._ends_early):
            click.echo(
                f"stopped early; finished {self._parts} are in {self._out}: "
                "the same command goes on",
                err=True,
            )
