"""A bar for a run, and the lines above it: of one run, or of each of several chips."""

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from hil.campaign.run_progress import RunProgress
from hil.cli.progress_words import current_words, details_words

BETWEEN_LINES_S = 10.0
"""How often a line is written where nobody watches."""


class RunBars:
    """A bar for each of the runs, on a terminal; elsewhere only the lines.

    Parameters
    ----------
    console
        Where to.
    is_drawn
        Whether bars are wanted on a terminal.
    names_chips
        Whether each bar begins with the name of its chip.
    """

    def __init__(self, console: Console, *, is_drawn: bool, names_chips: bool = False) -> None:
        self._console = console
        self.is_drawn = console.is_terminal and is_drawn
        """Whether there are bars."""
        chip = [TextColumn("{task.fields[chip]}", markup=False)] if names_chips else []
        self.progress = Progress(
            *chip,
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[details]}", markup=False),
            console=console,
            disable=not self.is_drawn,
            transient=True,
            expand=True,
        )
        """The bars."""

    def add(self, chip: str = "") -> TaskID:
        """Begin a bar."""
        return self.progress.add_task("connecting", total=None, chip=chip, details="")

    def show(self, task: TaskID, progress: RunProgress) -> None:
        """Bring a bar up to date."""
        gone = progress.steps_done + progress.steps_skipped + len(progress.failed)
        number = min(gone + 1, progress.steps)
        self.progress.update(
            task,
            total=progress.vectors,
            completed=progress.vectors_done,
            description=f"{number}/{progress.steps} {current_words(progress)}",
            details=details_words(progress),
        )

    def say(self, words: str) -> None:
        """Write printable words above the bars."""
        if self.is_drawn:
            self._console.print(Text(words), soft_wrap=True)
        else:
            click.echo(words, file=self._console.file)
