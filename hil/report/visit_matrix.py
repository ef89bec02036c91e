"""The visits of a run as a matrix: a row for each visit and kind of step, a column a core."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hil.core.legible import printable
from hil.report.uncut import Uncut
from hil.report.visit_headings import row_facts
from hil_datasets.step_conditions import Condition

CORES_BESIDE = 8
"""Cores that have a column each: more make no table that fits a terminal."""


class Visited(Protocol):
    """What the matrix needs of a step."""

    @property
    def core(self) -> int:
        """Core number."""
        ...

    @property
    def read_mode(self) -> str:
        """Read mode."""
        ...

    @property
    def visit(self) -> int:
        """Number of the visit."""
        ...

    @property
    def kind(self) -> str:
        """What the step does."""
        ...

    @property
    def age_s(self) -> float:
        """Seconds since the core was programmed; NaN if that is not known."""
        ...

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the bench instruments showed."""
        ...

    @property
    def errors(self) -> Mapping[str, float]:
        """Relative L2 error per correction."""
        ...


def matrix_parts(
    steps: Sequence[Visited], *, correction: str, has_details: bool
) -> Iterator[RenderableType]:
    """Yield a matrix for each read mode.

    Parameters
    ----------
    steps
        The finished steps of a run, in the order they were taken.
    correction
        Which correction's error is shown.
    has_details
        Whether every core is shown, however many there are.
    """
    name = "NMPU" if correction == "nmpu" else correction
    for read_mode in dict.fromkeys(step.read_mode for step in steps):
        mine = [step for step in steps if step.read_mode == read_mode]
        cores = sorted({step.core for step in mine})
        yield Text(f"Visits, {read_mode}: relative L2 error ({name}) of each core in %")
        if len(cores) > CORES_BESIDE and not has_details:
            yield Uncut(_table(mine, _over_cores(cores), correction))
            yield Text(f"{len(cores)} cores: hil info --details has a column for each")
            continue
        for first in range(0, len(cores), CORES_BESIDE):
            shown = cores[first : first + CORES_BESIDE]
            yield Uncut(_table(mine, {f"core\n{core}": [core] for core in shown}, correction))


def _over_cores(cores: Sequence[int]) -> dict[str, Sequence[int]]:
    return {"cores": cores, "median": cores, "worst": cores, "worst\ncore": cores}


def _table(
    steps: Sequence[Visited], columns: Mapping[str, Sequence[int]], correction: str
) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    rows: dict[tuple[int, str], list[Visited]] = defaultdict(list)
    for step in steps:
        rows[step.visit, step.kind].append(step)
    ordered = sorted(rows, key=lambda row: row[0])  # in a visit, in the order they were taken
    heads, facts = row_facts({row: rows[row] for row in ordered})
    for head in ("visit", *heads):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("step", no_wrap=True)
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    last_visit = -1
    for visit, kind in ordered:
        errors = {step.core: step.errors[correction] for step in rows[visit, kind]}
        first = [str(visit), *facts[visit]] if visit != last_visit else [""] * (1 + len(heads))
        cells = [_cell(head, cores, errors) for head, cores in columns.items()]
        table.add_row(*first, printable(kind), *cells)
        last_visit = visit
    return table


def _cell(head: str, cores: Sequence[int], errors: Mapping[int, float]) -> str:
    there = {core: errors[core] for core in cores if core in errors}
    if head == "cores":
        return str(len(there))
    judged = {core: error for core, error in there.items() if math.isfinite(error)}
    if not judged:
        return "n/a" if there else "-"
    worst = max(judged, key=lambda core: judged[core])
    if head == "worst\ncore":
        return str(worst)
    value = median(judged.values()) if head == "median" else judged[worst]
    return f"{100 * value:.2f}"
