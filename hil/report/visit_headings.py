"""What is told of a visit beside its number: what quantities were set to, and the cores' age."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hil.core.legible import printable

if TYPE_CHECKING:
    from hil.report.visit_matrix import Visited

_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 0.0))
_Quantity = tuple[str, str, str]
"""Instrument, quantity, unit."""


def row_facts(
    rows: Mapping[tuple[int, str], Sequence["Visited"]],
) -> tuple[list[str], dict[int, list[str]]]:
    """Return headings, and below them the cells of each visit.

    Parameters
    ----------
    rows
        Steps by visit and kind.
    """
    of_visit: dict[int, list[Visited]] = {}
    for (visit, _), steps in rows.items():
        of_visit.setdefault(visit, []).extend(steps)
    quantities = {
        (each.instrument, each.quantity, each.unit): None
        for steps in of_visit.values()
        for step in steps
        for each in step.conditions
        if each.setpoint is not None
    }
    heads = _headings(list(quantities))
    facts = {
        visit: [_setpoints(steps, quantity) for quantity in quantities]
        for visit, steps in of_visit.items()
    }
    ages = {visit: shown_ages([step.age_s for step in steps]) for visit, steps in of_visit.items()}
    if any(ages.values()):
        heads.append("age")
        facts = {visit: [*cells, ages[visit]] for visit, cells in facts.items()}
    return heads, facts


def _headings(quantities: Sequence[_Quantity]) -> list[str]:
    named = Counter(quantity for _, quantity, _ in quantities)
    return [
        printable_lines(
            [instrument] * (named[quantity] > 1) + [quantity] + ([unit] if unit else [])
        )
        for instrument, quantity, unit in quantities
    ]


def printable_lines(lines: Sequence[str]) -> str:
    """Return lines below each other, with nothing in them that a terminal obeys."""
    return "\n".join(map(printable, lines))


def _setpoints(steps: Sequence["Visited"], quantity: _Quantity) -> str:
    values = {
        each.setpoint
        for step in steps
        for each in step.conditions
        if (each.instrument, each.quantity, each.unit) == quantity and each.setpoint is not None
    }
    return ", ".join(f"{value:g}" for value in sorted(values))


def shown_ages(ages_s: Sequence[float]) -> str:
    """Return from what age to what in the largest unit that the older one has; empty if unknown.

    Examples
    --------
    >>> shown_ages([5400.0]), shown_ages([377.0, 431.0]), shown_ages([259200.0, 259300.0])
    ('1.5 h', '6.28-7.18 min', '3 d')
    """
    known = [age for age in ages_s if not math.isnan(age)]
    if not known:
        return ""
    unit, size = next((unit, size) for unit, size in _UNITS if max(known) >= size)
    youngest, oldest = (f"{age / (size or 1.0):.3g}" for age in (min(known), max(known)))
    return f"{oldest} {unit}" if youngest == oldest else f"{youngest}-{oldest} {unit}"
