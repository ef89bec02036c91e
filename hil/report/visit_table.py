"""The visits of a run as a table."""

import math
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hil.core.legible import printable
from hil.report.visits import KindSummary, VisitSummary

_MOST_SKIPPED = 12
"""Skipped steps shown; all of them are in ``--json``."""
_ERRORS = ("uncorrected", "float", "nmpu")
"""Corrections whose median errors are shown."""


def visit_parts(visits: Sequence[VisitSummary]) -> Iterator[RenderableType]:
    """Yield a table of the visits and a line for each step that was skipped."""
    if not visits:
        return
    table = Table(
        title="Visits: median of the steps' relative L2 errors in %",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    for heading in ("visit", "set to", "age", "kind", "steps", "uncorrected", "float", "NMPU"):
        table.add_column(heading, justify="left" if heading in {"set to", "kind"} else "right")
    table.add_column("worst\nNMPU", justify="right")
    for visit in visits:
        _add_visit(table, visit)
    yield table
    skipped = [each for visit in visits for each in visit.skipped]
    if skipped:
        yield Text(f"{len(skipped)} skipped:")
    for each in skipped[:_MOST_SKIPPED]:
        yield Text(f"  {each.step}: {printable(each.reason)}")
    if len(skipped) > _MOST_SKIPPED:
        yield Text(f"  and {len(skipped) - _MOST_SKIPPED} more: hil info --json")


def _add_visit(table: Table, visit: VisitSummary) -> None:
    facts = [str(visit.visit), _settings(visit), _age(visit)]
    rows = [[kind.kind, str(kind.steps), *_errors(kind)] for kind in visit.kinds]
    if visit.skipped:
        rows.append(["skipped", str(len(visit.skipped)), *[""] * (len(_ERRORS) + 1)])
    for number, row in enumerate(rows):
        table.add_row(*(facts if number == 0 else [""] * len(facts)), *row)


def _settings(visit: VisitSummary) -> str:
    return "\n".join(
        f"{each.instrument}.{each.quantity} "
        f"{' and '.join(f'{value:g}' for value in each.setpoints)} {each.unit}".rstrip()
        for each in visit.conditions
        if each.setpoints
    )


def _age(visit: VisitSummary) -> str:
    if math.isnan(visit.oldest_s):
        return ""
    youngest, oldest = _shown_age(visit.youngest_s), _shown_age(visit.oldest_s)
    return oldest if youngest == oldest else f"{youngest} to {oldest}"


def _shown_age(seconds: float) -> str:
    """Return an age in the largest unit that it is one of.

    Examples
    --------
    >>> _shown_age(42.4), _shown_age(5400), _shown_age(259200)
    ('42.4 s', '1.5 h', '3 d')
    """
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _errors(kind: KindSummary) -> list[str]:
    values = [*(kind.errors[name] for name in _ERRORS), kind.worst_error]
    return [f"{100 * value:.2f}" if math.isfinite(value) else "n/a" for value in values]
