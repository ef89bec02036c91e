"""What commands print on stdout: a run as tables, or as JSON."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from hil.core.legible import printable
from hil.report.summary import RunSummary, summarize_run
from hil.report.table import print_summary
from hil_datasets.run_source import RunSource

_NARROWEST = 75
"""Characters that the table needs."""
_PIPE_WIDTH = 100_000
"""Characters of a line in a file or a pipe, which have no width of their own: none is wrapped."""


class LegibleConsole(Console):
    """A console that sends the terminal no control character of what it is given to print."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is printed, with a ``?`` for what a terminal would obey."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.replace("\n", " ").isprintable():
                yield segment
            else:
                text = "\n".join(map(printable, segment.text.split("\n")))
                yield Segment(text, segment.style)


class _TableConsole(LegibleConsole):
    def on_broken_pipe(self) -> None:
        """Leave it to `reports_errors`: rich would end with the code for failed steps."""
        raise BrokenPipeError


def without_nan(value: Any) -> Any:
    """Return a document in which what could not be computed is null, as JSON knows no NaN."""
    if isinstance(value, dict):
        return {name: without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_console() -> Console:
    """Return a console for tables on stdout, wide enough for them."""
    console = _TableConsole()
    # A narrow terminal wraps lines, which is ugly; it must not shorten numbers.
    narrowest = _NARROWEST if console.is_terminal else _PIPE_WIDTH
    return _TableConsole(width=max(console.width, narrowest))


def echo_run(run: RunSource, *, as_json: bool, has_details: bool = False) -> RunSummary:
    """Print a run.

    Parameters
    ----------
    run
        The run.
    as_json
        Whether as JSON, which has everything.
    has_details
        Whether every core, reason and flagged column is printed, however many there are.
    """
    summary = summarize_run(run)
    if as_json:
        click.echo(json.dumps(without_nan(asdict(summary)), indent=1, allow_nan=False))
        return summary
    console = table_console()
    print_summary(summary, console, has_details=has_details)
    for what, path in (
        ("coefficients and index", run.path / "campaign.h5"),
        ("readouts per step", run.path / "steps"),
        ("journal", run.path / "journal.jsonl"),
    ):
        if path.exists():
            console.print(f"{what}: {path}", highlight=False, markup=False, soft_wrap=True)
    return summary
