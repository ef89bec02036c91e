"""The progress of a precision study: a bar where somebody watches."""

from pathlib import Path

from rich.progress import MofNCompleteColumn

from hil.cli.bars import ResumableBar
from hil.core.errors import WorkerLostError
from hil.explore.evaluate import FormatResult


class StudyBar(ResumableBar):
    """A `StudyObserver` that draws a bar with the time left; silent if stderr is no terminal.

    Parameters
    ----------
    out
        Folder of the study.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(
            out,
            MofNCompleteColumn(),
            begins_with="reading",
            parts="results",
            ends_early=(KeyboardInterrupt, WorkerLostError),
        )

    def on_start(self, *, missing: int, stored: int) -> None:
        """Take note of how much there is to do."""
        self._progress.update(self._task, total=missing + stored, completed=stored)

    def on_result(self, result: FormatResult) -> None:
        """Advance."""
        self._progress.update(self._task, description=result.step, advance=1)
