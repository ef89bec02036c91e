"""The visits of a run as tables."""

import math
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hil.core.legible import printable
from hil.report.summary import RunSummary, StepSummary
from hil.report.uncut import Uncut
from hil.report.visit_headings import shown_ages
from hil.report.visit_matrix import matrix_parts
from hil.report.visit_reasons import reason_lines
from hil.report.visits import KindSummary, VisitSummary

_ERRORS = ("uncorrected", "float", "nmpu")
"""Corrections whose median errors are shown."""
_HEADINGS = ("uncorrected", "float", "NMPU")


def visit_parts(summary: RunSummary, *, has_details: bool) -> Iterator[RenderableType]:
    """Yield what the visits found, core by core, and what of them was skipped or calibrated again.

    Parameters
    ----------
    summary
        The run.
    has_details
        Whether medians of other corrections are shown, and the reason of every step.
    """
    if not summary.visits:
        return
    correction = "nmpu" if all(step.has_nmpu for step in summary.steps) else "float"
    yield from matrix_parts(_as_taken(summary), correction=correction, has_details=has_details)
    if has_details:
        yield Text("Visits: median of the relative L2 errors in %, over the steps of a kind")
        yield Uncut(_median_table(summary.visits))
    yield from reason_lines(summary.visits, has_details=has_details)


def _as_taken(summary: RunSummary) -> list[StepSummary]:
    """Return the steps by read mode, and those of a visit in the order of their kinds there."""
    place = {
        (visit.visit, kind.kind, kind.read_mode): place
        for visit in summary.visits
        for place, kind in enumerate(visit.kinds)
    }
    return sorted(
        summary.steps,
        key=lambda step: (step.read_mode, place[step.visit, step.kind, step.read_mode]),
    )


def _median_table(visits: Sequence[VisitSummary]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
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
    return table


def _add_visit(table: Table, visit: VisitSummary, facts: Sequence[str]) -> None:
    rows = [[kind.kind, kind.read_mode, str(kind.steps), *_errors(kind)] for kind in visit.kinds]
    if visit.skipped:
        rows.append(["skipped", "", str(len(visit.skipped)), *[""] * (len(_ERRORS) + 1)])
    for number, row in enumerate(rows):
        table.add_row(*(facts if number == 0 else [""] * len(facts)), *row)


def _settings(visit: VisitSummary) -> str:
    return "\n".join(
        f"{printable(each.instrument)}.{printable(each.quantity)} "
        f"{' and '.join(f'{value:g}' for value in each.setpoints)} {printable(each.unit)}".rstrip()
        for each in visit.conditions
        if each.setpoints
    )


def _age(visit: VisitSummary) -> str:
    return shown_ages([visit.youngest_s, visit.oldest_s])


def _errors(kind: KindSummary) -> list[str]:
    values = [*(kind.errors[name] for name in _ERRORS), kind.worst_error]
    return [f"{100 * value:.2f}" if math.isfinite(value) else "n/a" for value in values]
