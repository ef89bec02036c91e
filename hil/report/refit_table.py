"""What another fit of the same readouts has changed, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

_SHOWN = {"nmpu": "NMPU", "float": "float"}
_ID_DIGITS = 12
"""Digits of an id that are shown: one of 2.8e14; all of them are in ``--json``."""


def refit_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table.

    Parameters
    ----------
    steps
        Of each step ``core``, ``read_mode``, ``visit``, ``kind``, ``errors_before``, ``errors``,
        ``ids_before`` and ``ids``.
    """
    table = Table(
        title="Relative L2 error in %, on the held-out vectors: before, after",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    is_visited = any(step["visit"] or step["kind"] != "calibrate" for step in steps)
    table.add_column("core", justify="right")
    table.add_column("read mode")
    if is_visited:
        table.add_column("visit", justify="right")
        table.add_column("step")
    for name in _SHOWN.values():
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("correction", "coefficients"):
        table.add_column(name, no_wrap=True)
    for step in steps:
        visit = [str(step["visit"]), step["kind"]] if is_visited else []
        table.add_row(
            str(step["core"]),
            step["read_mode"],
            *visit,
            *(_change(step, name) for name in _SHOWN),
            *(_id(step, name) for name in ("correction", "coefficients")),
        )
    return table


def _change(step: Mapping[str, Any], name: str) -> str:
    return f"{_percent(step['errors_before'].get(name))} -> {_percent(step['errors'].get(name))}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.2f}"


def _id(step: Mapping[str, Any], name: str) -> str:
    found = step["ids"][name]
    return "as before" if found == step["ids_before"][name] else found[:_ID_DIGITS]
