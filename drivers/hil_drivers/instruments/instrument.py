"""What an instrument is to a campaign: the seam that SCPI tables and pymeasure share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

_FINEST_SHARE = 1e-6
"""Share of the range to which a setpoint is read back, unless the description says otherwise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A closed range.

    Examples
    --------
    >>> 85.0 in Limits(-40.0, 85.0), 85.1 in Limits(-40.0, 85.0), float("nan") in Limits(0.0, 1.0)
    (True, False, False)
    """

    lower: float
    """Lowest value allowed."""
    upper: float
    """Highest value allowed, lower <= upper."""

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise ValueError(f"limits {self.lower:g} to {self.upper:g}: lower must be <= upper")

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper

    def clamped(self, value: float) -> float:
        """Return the nearest value inside."""
        return min(max(value, self.lower), self.upper)

    def __str__(self) -> str:
        return f"{self.lower:g} to {self.upper:g}"


ANY_NUMBER = Limits(-math.inf, math.inf)
"""Where nothing is known about what a reading may be."""


_HELD_SHARE = 0.1
"""Share of the time a quantity has to be stable for that one must be which is at rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """When a quantity has come to rest."""

    tolerance: float
    """How far a reading may be from the setpoint, 0 < tolerance."""
    stable_s: float
    """For how long without a break, 0 <= seconds."""
    timeout_s: float
    """How long it may take from the last command on, stable_s < seconds."""
    every_s: float = 1.0
    """Time between readings, 0 < seconds."""

    def __post_init__(self) -> None:
        if not (self.tolerance > 0 and self.every_s > 0 and 0 <= self.stable_s < self.timeout_s):
            raise ValueError(
                f"{self}: tolerance and every_s must be > 0, and 0 <= stable_s < timeout_s"
            )

    @property
    def held_s(self) -> float:
        """For how long without a break where it has been at rest ever since."""
        return min(self.stable_s, max(self.every_s, _HELD_SHARE * self.stable_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """How fast a setpoint may move."""

    per_s: float
    """Largest change in a second, 0 < change, in the quantity's unit."""
    step_s: float = 1.0
    """Time before each step, 0 < seconds."""

    def __post_init__(self) -> None:
        if not (self.per_s > 0 and self.step_s > 0):
            raise ValueError(f"{self}: per_s and step_s must be > 0")

    @property
    def largest_step(self) -> float:
        """Largest change at once."""
        return self.per_s * self.step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantitySpec:
    """What is known of one quantity, and what may be done to it."""

    name: str
    """Instrument and quantity, ``chamber.temperature``."""
    unit: str
    """Unit, for people and files."""
    limits: Limits | None = None
    """What it may ever be set to; None for a quantity that is only read."""
    readings: Limits = ANY_NUMBER
    """What a reading may ever be; beyond it the bench is in danger."""
    resolution: float | None = None
    """How far a setpoint read back may be from the one sent; 1e-6 of the limits' range if None."""
    settle: Settle | None = None
    """When it has come to rest; None if it is there at once."""
    ramp: Ramp | None = None
    """How fast it may move; None if at once."""
    safe: float | None = None
    """What it is set to at the end; None to leave it."""
    safe_at_once: bool = False
    """Whether the safe value is sent without a ramp."""

    def __post_init__(self) -> None:
        if self.limits is None:
            if (self.settle, self.ramp, self.safe) != (None, None, None):
                raise ValueError(f"{self.name}: is only read: takes no settle, ramp or safe value")
        elif not math.isfinite(self.limits.lower) or not math.isfinite(self.limits.upper):
            raise ValueError(f"{self.name}: limits must be finite, got {self.limits}")
        elif self.safe is not None and self.safe not in self.limits:
            raise ValueError(f"{self.name}: safe value {self.safe:g} must be {self.limits}")

    @property
    def finest(self) -> float:
        """How far a setpoint read back may be from the one sent."""
        if self.resolution is not None or self.limits is None:
            return self.resolution or 0.0
        return _FINEST_SHARE * (self.limits.upper - self.limits.lower)

    def shown(self, value: float) -> str:
        """Return a value with its unit, for a message."""
        return f"{value:g} {self.unit}".rstrip()


class Quantity(Protocol):
    """Something that can be read, and perhaps set.

    Every method raises `TransportError` where the link breaks, `DeviceError` for what the
    instrument itself complains of, and `ReadingError` for an answer that is no number.
    """

    @property
    def spec(self) -> QuantitySpec:
        """What is known of it."""
        ...

    def check(self, value: float) -> Limits:
        """Return the hard limits, if the value is within them; nothing is sent.

        Raises
        ------
        SafetyLimitError
            If it is not, or the quantity is only read.
        """
        ...

    def set(self, value: float) -> float:
        """Move it to a value no faster than allowed, wait until it rests, return the last reading.

        Raises
        ------
        SafetyLimitError
            If the value is beyond the limits (then nothing was sent), or a reading on the way is.
        InstrumentError
            If the instrument did not take the value.
        NotSettledError
            If it did not come to rest in time.
        """
        ...

    def hold(self, value: float) -> float:
        """Check that it is still set to a value and at rest, return the last reading.

        Where every reading since it came to rest was within the tolerance, a short look is enough;
        otherwise it has to come to rest again.

        Raises
        ------
        SafetyLimitError, NotSettledError
            As in `set`.
        InstrumentError
            If the setpoint is another one by now.
        """
        ...

    def read(self) -> float:
        """Return a reading.

        Raises
        ------
        SafetyLimitError
            If it is beyond what a reading may ever be.
        """
        ...

    def safe(self) -> None:
        """Move it to its safe value, if it has one; does not wait until it rests."""
        ...


class Instrument(Protocol):
    """An open instrument."""

    @property
    def identity(self) -> str:
        """What it says it is."""
        ...

    @property
    def quantities(self) -> Mapping[str, Quantity]:
        """Its quantities by name, in the order of its description."""
        ...

    def safe(self) -> None:
        """Make every quantity safe, the last one first; one that fails does not stop the others."""
        ...

    def close(self) -> None:
        """Close the link; closing twice is no error."""
        ...
