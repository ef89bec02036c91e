"""A power supply with a load: current limit, output switch, overcurrent trip."""

from collections.abc import Callable
from dataclasses import dataclass

from hil_drivers.scpi import ScpiError
from hil_mock_device.bench_instruments.scatter import scatter
from hil_mock_device.firmware.call import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyKind:
    """What kind of supply, and what hangs on it: assumed magnitudes."""

    highest_v: float = 5.0
    """Highest voltage it can be set to, volt."""
    highest_a: float = 1.0
    """Highest current limit it can be set to, ampere."""
    load_ohm: float = 100.0
    """What it feeds, 0 < ohm."""
    noise_v: float = 1e-4
    """Standard deviation of a voltage reading, volt."""
    noise_a: float = 1e-6
    """Standard deviation of a current reading, ampere."""

    def __post_init__(self) -> None:
        if not (self.load_ohm > 0 and self.highest_v > 0 and self.highest_a > 0):
            raise ValueError(f"{self}: load and ranges must be > 0")


class PowerSupply:
    """One supply.

    Parameters
    ----------
    kind
        What kind.
    start_v
        Voltage at the start, with the output on: the chip is fed before anybody asks.
    seed
        Seed of the noise of its readings.
    clock
        Seconds on the bench.
    """

    def __init__(
        self, kind: SupplyKind, *, start_v: float, seed: int, clock: Callable[[], float]
    ) -> None:
        self._kind = kind
        self._seed = seed
        self._clock = clock
        self.load_ohm = kind.load_ohm
        """What it feeds now."""
        self.voltage_v = start_v
        """What it is set to."""
        self.limit_a = kind.highest_a
        """Current limit."""
        self.is_on = True
        """Whether the output is on."""
        self.trips = False
        """Whether an overcurrent switches the output off; otherwise the voltage gives way."""
        self.has_tripped = False
        """Whether it did, and nobody has cleared it."""

    def reset(self) -> None:
        """Return to 0 V, output off, the highest current limit, no trip."""
        self.voltage_v, self.limit_a = 0.0, self._kind.highest_a
        self.is_on = self.trips = self.has_tripped = False

    def set_voltage(self, volts: float) -> None:
        """Change the voltage; refuse what it cannot give."""
        self.voltage_v = _within(volts, self._kind.highest_v)
        self._protect()

    def set_limit(self, amperes: float) -> None:
        """Change the current limit; refuse what it cannot give."""
        self.limit_a = _within(amperes, self._kind.highest_a)
        self._protect()

    def switch(self, *, on: bool) -> None:
        """Switch the output.

        Raises
        ------
        DeviceError
            If it is to be switched on after a trip that nobody has cleared.
        """
        if on and self.has_tripped:
            raise refusal(ScpiError.SETTINGS_CONFLICT, "overcurrent: clear the protection first")
        self.is_on = on
        self._protect()

    def protect(self, *, on: bool) -> None:
        """Switch the overcurrent trip."""
        self.trips = on
        self._protect()

    def clear_trip(self) -> None:
        """Forget a trip; the output stays off."""
        self.has_tripped = False

    def change_load(self, ohm: float) -> None:
        """Hang another load on it."""
        self.load_ohm = ohm
        self._protect()

    def output_v(self) -> float:
        """Return the voltage at its terminals."""
        if not self.is_on:
            return 0.0
        return min(self.voltage_v, self.limit_a * self.load_ohm)

    def output_a(self) -> float:
        """Return the current that flows."""
        return self.output_v() / self.load_ohm

    def reading_v(self) -> float:
        """Return what its voltmeter shows."""
        return self.output_v() + self._scatter("voltage", self._kind.noise_v)

    def reading_a(self) -> float:
        """Return what its ammeter shows."""
        return self.output_a() + self._scatter("current", self._kind.noise_a)

    def _scatter(self, quantity: str, deviation: float) -> float:
        return scatter(self._seed, quantity, self._clock(), deviation=deviation)

    def _protect(self) -> None:
        if self.is_on and self.trips and self.voltage_v > self.limit_a * self.load_ohm:
            self.is_on, self.has_tripped = False, True


def _within(value: float, highest: float) -> float:
    if not 0 <= value <= highest:
        raise refusal(ScpiError.DATA_OUT_OF_RANGE, f"{value:g}: must be 0 to {highest:g}")
    return value
