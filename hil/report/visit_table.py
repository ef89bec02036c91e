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
"""Steps shown that were skipped, or were needed; all of them are in ``--json``."""
_ERRORS = ("uncorrected", "float", "nmpu")
"""Corrections whose median errors are shown."""
_HEADINGS = ("uncorrected", "float", "NMPU")


def visit_parts(visits: Sequence[VisitSummary]) -> Iterator[RenderableType]:
    """Yield a table of the visits, and why steps were skipped or taken by a drift watch."""
    if not visits:
        return
    table = Table(
        title="Visits: median of the steps' relative L2 errors in %",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    is_shown = {"set to": any(map(_settings, visits)), "age": any(map(_age, visits))}
    for heading in ("visit", "set to", "age", "kind", "read mode", "steps", *_HEADINGS):
        if is_shown.get(heading, True):
            is_word = heading in {"set to", "kind", "read mode"}
            table.add_column(heading, justify="left" if is_word else "right")
    table.add_column("worst\nNMPU", justify="right")
    for visit in visits:
        facts = [str(visit.visit)]
        facts += [_settings(visit)] if is_shown["set to"] else []
        facts += [_age(visit)] if is_shown["age"] else []
        _add_visit(table, visit, facts)
    yield table
    skipped = [each for visit in visits for each in visit.skipped]
    yield from _reasons("skipped", [(each.step, each.reason) for each in skipped])
    recalibrated = [each for visit in visits for each in visit.recalibrated]
    reasons = [(each.step, each.reason) for each in recalibrated]
    yield from _reasons("calibrated again", reasons)
    # The last one of a core in a read mode tells how things stand.
    remarks = dict.fromkeys(each.remark for each in recalibrated if each.remark)
    for remark in [*remarks][-_MOST_SKIPPED:]:
        yield Text(printable(remark), style="yellow")


def _reasons(what: str, reasons: Sequence[tuple[str, str]]) -> Iterator[Text]:
    if reasons:
        yield Text(f"{len(reasons)} {what}:")
    for step, reason in reasons[:_MOST_SKIPPED]:
        yield Text(f"  {step}: {printable(reason)}")
    if len(reasons) > _MOST_SKIPPED:
        yield Text(f"  and {len(reasons) - _MOST_SKIPPED} more: hil info --json")


def _add_visit(table: Table, visit: VisitSummary, facts: Sequence[str]) -> None:
    rows = [[kind.kind, kind.read_mode, str(kind.steps), *_errors(kind)] for kind in visit.kinds]
    if visit.skipped:
        rows.append(["skipped", "", str(len(visit.skipped)), *[""] * (len(_ERRORS) + 1)])
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
