"""What `hil calibrate diff` says of its two sides: which run, which visit, when, how old."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hil.cli.calibrate.tables import age
from hil_datasets.calibration_choice import setpoints_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.recorded.compare_runs import RunComparison
    from hil_datasets.run_source import StepFacts


def side_lines(compared: RunComparison) -> list[str]:
    """Return a line for A and one for B."""
    return [
        f"{name}: {_words(side)}" for name, side in zip("AB", side_documents(compared), strict=True)
    ]


def side_documents(compared: RunComparison) -> list[dict[str, Any]]:
    """Return what A is, and what B is, over all cores that are compared."""
    sides = (
        [tile.before for tile in compared.tiles],
        [tile.after for tile in compared.tiles],
    )
    return [
        {"run": str(run), "chip": str(chip), **_circumstances(steps)}
        for run, chip, steps in zip(compared.runs, compared.chips, sides, strict=True)
    ]


def step_words(step: StepFacts) -> str:
    """Return chip temperature and age of a calibration, as a cell of a table holds them."""
    return f"{step.origin.temperature_c:.1f} C, {age(step.origin.circumstance.age_s)}"


def _circumstances(steps: Sequence[StepFacts]) -> dict[str, Any]:
    setpoints: dict[str, set[float]] = {}
    for step in steps:
        for name, value in setpoints_of(step).items():
            setpoints.setdefault(name, set()).add(value)
    ages = [step.origin.circumstance.age_s for step in steps]
    known = [value for value in ages if not math.isnan(value)] or [math.nan]
    dates = [step.origin.measured_utc for step in steps]
    return {
        "visits": sorted({step.key.visit for step in steps}),
        "setpoints": {name: sorted(values) for name, values in setpoints.items()},
        "youngest_s": min(known),
        "oldest_s": max(known),
        "first_utc": min(dates),
        "last_utc": max(dates),
    }


def _words(side: dict[str, Any]) -> str:
    visits = side["visits"]
    parts = [f"visit{'s' * (len(visits) > 1)} {' and '.join(map(str, visits))}"]
    parts += [
        f"{name}={' and '.join(f'{value:g}' for value in values)}"
        for name, values in side["setpoints"].items()
    ]
    youngest, oldest = age(side["youngest_s"]), age(side["oldest_s"])
    if youngest != "n/a":
        old = youngest if youngest == oldest else f"{youngest} to {oldest}"
        parts.append(f"{old} after programming")
    parts.append(_date(side["first_utc"]))
    return f"{side['run']}: {', '.join(parts)}; {side['chip']}"


def _date(utc: str) -> str:
    return utc[:19].replace("T", " ")
