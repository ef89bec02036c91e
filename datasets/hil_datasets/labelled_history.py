"""What became of a run's corrections, visit by visit, as an xarray dataset. xarray is an extra."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.core.extras import load_extra
from hil.core.readout import ReadMode
from hil_datasets.run_source import StepFacts
from hil_datasets.step_files.schema import CORRECTION_AXIS, CORRECTION_NAMES
from hil_datasets.step_kind import StepKind

if TYPE_CHECKING:
    import xarray

_AXES = ("core", "read_mode", "visit", "kind")
_TOLD: dict[str, dict[str, str]] = {
    "error": {"units": "1", "long_name": "relative L2 error on the vectors held out"},
    "age_s": {"units": "s", "long_name": "time since the core was programmed, at the step's begin"},
    "temperature_c": {"units": "degC", "long_name": "chip temperature"},
    "setpoint": {"long_name": "what a quantity of the bench was set to, in its unit"},
    "measured_utc": {"long_name": "when the step was measured, UTC"},
    "step": {"long_name": "name of the step"},
    "correction_of": {"long_name": "calibration whose correction was judged; empty if its own"},
}


def history_dataset(facts: Iterable[StepFacts]) -> "xarray.Dataset":
    """Return errors and what they were measured under, over core, read mode, visit and kind.

    Parameters
    ----------
    facts
        Steps of one run, at least one.

    Returns
    -------
    NaN, not-a-time or an empty text where there is no such step.
    """
    library = load_extra("xarray", purpose="history", library="xarray", extra="xarray")
    steps = list(map(_told, facts))
    coordinates = _coordinates(steps)
    sizes = tuple(len(coordinates[axis]) for axis in _AXES)
    places = {axis: {value: place for place, value in enumerate(coordinates[axis])}
              for axis in _AXES}  # fmt: skip
    tables: dict[str, Any] = {
        "error": np.full((*sizes, len(CORRECTION_NAMES)), np.nan),
        "age_s": np.full(sizes, np.nan),
        "temperature_c": np.full(sizes, np.nan),
        "setpoint": np.full((*sizes, len(coordinates["quantity"])), np.nan),
        "measured_utc": np.full(sizes, np.datetime64("NaT", "ns")),
        "step": np.full(sizes, "", dtype=object),
        "correction_of": np.full(sizes, "", dtype=object),
    }
    for step in steps:
        place = tuple(places[axis][step[axis]] for axis in _AXES)
        for name in tables.keys() - {"setpoint"}:
            tables[name][place] = step[name]
        for number, quantity in enumerate(coordinates["quantity"]):
            tables["setpoint"][place][number] = step["setpoint"].get(quantity, math.nan)
    last = {"error": (CORRECTION_AXIS,), "setpoint": ("quantity",)}
    units = {name: unit for step in steps for name, unit in step["units"].items()}
    dataset: xarray.Dataset = library.Dataset(
        {
            name: ((*_AXES, *last.get(name, ())), table, _TOLD[name])
            for name, table in tables.items()
        },
        coords={
            **coordinates,
            CORRECTION_AXIS: list(CORRECTION_NAMES),
            "unit": ("quantity", [units[name] for name in coordinates["quantity"]]),
        },
    )
    return dataset


def _told(facts: StepFacts) -> dict[str, Any]:
    key, origin, circumstance = facts.key, facts.origin, facts.origin.circumstance
    measured = datetime.fromisoformat(origin.measured_utc).astimezone(UTC).replace(tzinfo=None)
    source = circumstance.correction_of
    set_to = [each for each in facts.conditions if each.setpoint is not None]
    return {
        "core": key.core,
        "read_mode": str(key.read_mode),
        "visit": key.visit,
        "kind": str(key.kind),
        "error": [facts.conclusion.errors[name] for name in CORRECTION_NAMES],
        "age_s": circumstance.age_s,
        "temperature_c": origin.temperature_c,
        "setpoint": {each.name: each.setpoint for each in set_to},
        "units": {each.name: each.unit for each in set_to},
        "measured_utc": np.datetime64(measured, "ns"),
        "step": key.name,
        "correction_of": "" if source is None else source.step,
    }


def _coordinates(steps: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return what lies along each axis: only what there is, in its usual order."""
    there = {axis: {step[axis] for step in steps} for axis in _AXES}
    return {
        "core": sorted(there["core"]),
        "read_mode": [str(mode) for mode in ReadMode if str(mode) in there["read_mode"]],
        "visit": sorted(there["visit"]),
        "kind": [str(kind) for kind in StepKind if str(kind) in there["kind"]],
        "quantity": sorted({name for step in steps for name in step["setpoint"]}),
    }
