"""What the bench instruments showed before and after a step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One quantity of one instrument during a step.

    Raises
    ------
    ValueError
        If it has no name, or a number that is none.
    """

    instrument: str
    """Name of the instrument in the campaign file."""
    quantity: str
    """Name of the quantity there."""
    unit: str
    """Its unit; empty if it has none."""
    setpoint: float | None
    """What the campaign had set it to; None if it only read it."""
    at_start: float
    """Reading before the step."""
    at_end: float
    """Reading after its last readout."""

    def __post_init__(self) -> None:
        if not self.instrument or not self.quantity:
            raise ValueError("instrument and quantity must have a name")
        for what, value in (("at_start", self.at_start), ("at_end", self.at_end)):
            if not math.isfinite(value):
                raise ValueError(f"{what} of {self.name} is {value}: must be finite")
        if self.setpoint is not None and not math.isfinite(self.setpoint):
            raise ValueError(f"setpoint of {self.name} is {self.setpoint}: must be finite, or NaN")

    @property
    def name(self) -> str:
        """Instrument and quantity, ``chamber.temperature``."""
        return f"{self.instrument}.{self.quantity}"


def conditions_to_arrays(conditions: Sequence[Condition]) -> dict[str, npt.NDArray[Any]]:
    """Return the datasets of a step file, by their paths; none if there are no conditions."""
    if not conditions:
        return {}
    setpoints = [math.nan if each.setpoint is None else each.setpoint for each in conditions]
    return {
        "conditions/setpoint": np.array(setpoints, np.float64),
        "conditions/at_start": np.array([each.at_start for each in conditions], np.float64),
        "conditions/at_end": np.array([each.at_end for each in conditions], np.float64),
    }


def conditions_to_attributes(conditions: Sequence[Condition]) -> dict[str, Any]:
    """Return the attributes of a step file, by their paths; none if there are no conditions."""
    if not conditions:
        return {}
    return {
        "conditions/instruments": [each.instrument for each in conditions],
        "conditions/quantities": [each.quantity for each in conditions],
        "conditions/units": [each.unit for each in conditions],
    }


def conditions_from_stored(
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    instruments: Sequence[str],
    quantities: Sequence[str],
    units: Sequence[str],
) -> tuple[Condition, ...]:
    """Return what `conditions_to_arrays` and `conditions_to_attributes` have stored.

    Raises
    ------
    ValueError
        If it cannot be meant.
    """
    numbers = [arrays[f"conditions/{name}"].tolist() for name in ("setpoint", "at_start", "at_end")]
    if {len(names) for names in (instruments, quantities, units)} != {len(numbers[0])}:
        raise ValueError("instruments, quantities and units must name every quantity")
    if not instruments:
        raise ValueError("must have at least one quantity")
    conditions = tuple(
        Condition(
            instrument=instrument,
            quantity=quantity,
            unit=unit,
            setpoint=None if math.isnan(setpoint) else setpoint,
            at_start=at_start,
            at_end=at_end,
        )
        for instrument, quantity, unit, setpoint, at_start, at_end in zip(
            instruments, quantities, units, *numbers, strict=True
        )
    )
    names = [each.name for each in conditions]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is there twice")
    return conditions
