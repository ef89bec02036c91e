"""Hard limits of a bench file: whoever includes it may make them narrower, and never wider."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import ValidationError

from hil.campaign.config.instruments import QuantitySection
from hil.core.errors import Problem
from hil.core.legible import quoted
from hil.core.toml_file import Place, key_path
from hil.core.toml_lines import KeyPath


class Bound(Enum):
    """Which way a limit is narrower."""

    LOWEST = "lowest"
    """What must not be fallen below: more is narrower."""
    HIGHEST = "highest"
    """What must not be passed: less is narrower."""


_QUANTITY_BOUNDS = {
    "lower": Bound.LOWEST,
    "reading_lower": Bound.LOWEST,
    "upper": Bound.HIGHEST,
    "reading_upper": Bound.HIGHEST,
    "ramp_per_s": Bound.HIGHEST,
}
_LIMITS_BOUNDS = {"programmings_per_core": Bound.HIGHEST}
"""Keys of ``[limits]``, of which a bench file may set a hard one."""


_COMMANDS = ("set", "query", "read_back", "field")
"""Keys of a quantity with hard limits that its bench file alone may set."""


_MUST_STAY = ("resource", "driver", "pymeasure", "options", "start", "stop")
"""Keys of an instrument with hard limits that its bench file alone may set."""


def fixed_keys(bench: dict[str, Any]) -> dict[KeyPath, Any]:
    """Return what a bench file says of instruments that it limits; None where it says nothing."""
    fixed: dict[KeyPath, Any] = {}
    instruments = bench.get("instruments")
    for name, instrument in instruments.items() if isinstance(instruments, dict) else ():
        quantities = instrument.get("quantities") if isinstance(instrument, dict) else None
        if isinstance(quantities, dict) and any(
            isinstance(quantity, dict) and {"lower", "upper"} & set(quantity)
            for quantity in quantities.values()
        ):
            for key in _MUST_STAY:
                fixed["instruments", name, key] = instrument.get(key)
    return fixed


def is_moved(path: KeyPath, said: Any, value: Any) -> bool:
    """Tell whether a key of a limited instrument has another value than its bench file says."""
    if said is None:  # somebody has to say where it is; all else is the default
        return path[-1] != "resource" and bool(value)
    return bool(said != value)


def bound_at(path: KeyPath) -> Bound | None:
    """Return which way the limit at a key is narrower; None where the key is no limit.

    Examples
    --------
    >>> bound_at(("instruments", "chamber", "quantities", "temperature", "upper"))
    <Bound.HIGHEST: 'highest'>
    >>> bound_at(("device", "timeout_s")) is None
    True
    """
    match path:
        case ("instruments", _, "quantities", _, str(key)):
            return _QUANTITY_BOUNDS.get(key)
        case ("limits", str(key)):
            return _LIMITS_BOUNDS.get(key)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HardLimit:
    """A limit that a bench file sets."""

    path: KeyPath
    """Its key."""
    bound: Bound
    """Which way it is narrower."""
    value: float
    """What the bench file says."""
    place: Place
    """Where."""

    def holds(self, value: Any) -> bool:
        """Tell whether a value is as narrow, or none that can be compared."""
        if not is_number(value):
            return True  # its type is another problem, which is told
        return bool(value >= self.value if self.bound is Bound.LOWEST else value <= self.value)

    def problem(self, value: Any, place: Place) -> Problem:
        """Return the problem of a wider value at a place."""
        side = "at least" if self.bound is Bound.LOWEST else "at most"
        return Problem(
            key_path(self.path),
            f"is {value}: must be {side} the hard limit {self.value}, set in {named(self.place)}; "
            "a limit can only be made narrower",
            place.line,
            place.source,
        )


def is_number(value: Any) -> bool:
    """Tell whether a TOML value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def named(place: Place) -> str:
    """Return a place for a message."""
    return place.source if place.line is None else f"{place.source}:{place.line}"


def widened(bench: Any, quantity: QuantitySection, place: Place) -> str | None:
    """Return how a quantity has more freedom than its bench file gives it, or None.

    What no key says is looked at too: a reading's limits follow from those of the setpoint and the
    tolerance, and what a bench only reads must not become something to set.

    Parameters
    ----------
    bench
        The quantity's table in the bench file.
    quantity
        The quantity as the whole campaign has it.
    place
        Where the bench file has it.
    """
    try:
        alone = QuantitySection.model_validate(bench, strict=True)
    except ValidationError:  # the bench leaves keys to the campaign: nothing follows from it alone
        return None
    if alone.set is None and quantity.set is not None:
        return f"can be set: {named(place)} lets it be read only"
    if alone.set is not None:
        for key in _COMMANDS:
            here, there = getattr(quantity, key), getattr(alone, key)
            if here != there:
                return (
                    f"{key} is {quoted(here)}: {named(place)} has {quoted(there)} under hard "
                    "limits; only the bench file may change it"
                )
    before, after = alone.readings(), quantity.readings()
    if after.lower < before.lower or after.upper > before.upper:
        return (
            f"may read {after}: {named(place)} allows {before}; a limit can only be made narrower"
        )
    return None
