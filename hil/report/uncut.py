"""Tables at the width that they need: a narrow terminal wraps lines, it must not lose words."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

_WIDEST = 100_000
"""Characters that no table needs."""


@dataclass(frozen=True, slots=True)
class Uncut:
    """A table of which no cell and no heading is wrapped or cut."""

    table: Table
    """The table."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table's lines, without spaces at their ends."""
        widest = options.update(width=_WIDEST)
        width = Measurement.get(console, widest, self.table).maximum
        for line in console.render_lines(self.table, options.update(width=width), pad=False):
            yield from _without_trailing_spaces(line)
            yield Segment.line()


def _without_trailing_spaces(line: list[Segment]) -> Iterable[Segment]:
    text = "".join(segment.text for segment in line)
    left = len(text.rstrip())
    for segment in line:
        yield Segment(segment.text[:left], segment.style, segment.control)
        left = max(left - len(segment.text), 0)
