"""Tables and documents that the comparing commands print."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from hil.cli.output import LegibleConsole
from hil.core.legible import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NARROWEST_PIPE = 180
"""Characters that a table gets where there is no terminal with a width of its own."""


def empty_table(*headings: str, title: str = "") -> Table:
    """Return a table; a heading that begins with > stands to the right."""
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        title=title or None,
        title_justify="left",
    )
    for heading in headings:
        is_right = heading.startswith(">")
        table.add_column(
            heading.removeprefix(">"), justify="right" if is_right else "left", overflow="fold"
        )
    return table


def print_parts(parts: Iterable[Table | str]) -> None:
    """Print tables and lines, not shortened where there is no terminal."""
    console = LegibleConsole()
    if not console.is_terminal:
        console = LegibleConsole(width=max(console.width, _NARROWEST_PIPE))
    for part in parts:
        if isinstance(part, str):
            click.echo(printable(part))
            continue
        with console.capture() as captured:
            console.print(part)
        click.echo(captured.get(), nl=False)  # not by rich, which ends with 1 on a broken pipe


def csv_bytes(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return a CSV file; what is not known is empty, numbers have all their digits."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return int(value) if isinstance(value, bool) else value


def without_nan(value: Any) -> Any:
    """Return a document in which what is not known, or infinite, is null: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def percent(share: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """Return a share as a percentage, or ``n/a``."""
    if share is None or not math.isfinite(share):
        return "n/a"
    return f"{100 * share:{'+' if sign else ''}.{digits}f} %"


_AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def age(seconds: float) -> str:
    """Return an age in the largest unit that it has one of, or ``n/a``."""
    if math.isnan(seconds):
        return "n/a"
    unit_s, unit = next((one for one in _AGES if seconds >= one[0]), _AGES[-1])
    return f"{seconds / unit_s:.3g} {unit}"


def real(value: float | None, form: str = ".4g") -> str:
    """Return a number, or ``n/a``."""
    return "n/a" if value is None or math.isnan(value) else format(value, form)
