"""A thermal chamber: air under control that overshoots, and a chip that lags behind it.

The air is a second-order system, the closed loop of a heater with integral control; the chip
follows the air by a first-order lag. Both are solved exactly, so nothing depends on how often
somebody looks. With the air's distance e from the setpoint and complex λ = -a + iω,

    e(t) = Re(Z exp(λt)),    chip(t) = S + Re(Z' exp(λt)) + c exp(-t/τ),    Z' = Z / (1 + λτ).

Source: the step response of a damped oscillator (any control textbook); its first overshoot is
exp(-πa/ω) of the step.
"""

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass

from hil_drivers.scpi import ScpiError
from hil_mock_device.bench_instruments.scatter import scatter
from hil_mock_device.firmware.call import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class ChamberKind:
    """What kind of chamber: assumed magnitudes of a small bench-top one."""

    lowest_c: float = -40.0
    """Lowest setpoint taken, degrees Celsius."""
    highest_c: float = 150.0
    """Highest setpoint taken, degrees Celsius."""
    ambient_c: float = 25.0
    """Temperature that it comes to while it is off, degrees Celsius."""
    air_s: float = 60.0
    """Time constant 1/a of the air, 0 < seconds."""
    overshoot: float = 0.05
    """First overshoot of the air, as a share of a step, 0 < share < 1."""
    chip_s: float = 20.0
    """Time constant τ of the chip behind the air, 0 < seconds."""
    noise_c: float = 0.01
    """Standard deviation of a reading, kelvin."""

    def __post_init__(self) -> None:
        if not (0 < self.overshoot < 1 and self.air_s > 0 and self.chip_s > 0):
            raise ValueError(f"{self}: must have 0 < overshoot < 1 and time constants > 0")

    @property
    def eigenvalue(self) -> complex:
        """λ of the air, per second."""
        decay = 1 / self.air_s
        return complex(-decay, -math.pi * decay / math.log(self.overshoot))


class ThermalChamber:
    """One chamber with the chip in it.

    Parameters
    ----------
    kind
        What kind.
    start_c
        Temperature of air and chip at the start, and the setpoint, degrees Celsius.
    seed
        Seed of the noise of its readings.
    clock
        Seconds on the bench.
    """

    def __init__(
        self, kind: ChamberKind, *, start_c: float, seed: int, clock: Callable[[], float]
    ) -> None:
        self._kind = kind
        self._clock = clock
        self._seed = seed
        self.setpoint_c = start_c
        """What it is set to, degrees Celsius."""
        self.is_on = True
        """Whether it heats and cools."""
        self._began = clock()
        self._air = 0j
        self._chip_c = 0.0

    def set(self, celsius: float) -> None:
        """Change the setpoint.

        Raises
        ------
        DeviceError
            If the chamber cannot reach it.
        """
        if not self._kind.lowest_c <= celsius <= self._kind.highest_c:
            raise refusal(
                ScpiError.DATA_OUT_OF_RANGE,
                f"{celsius:g}: must be {self._kind.lowest_c:g} to {self._kind.highest_c:g}",
            )
        self._aim(celsius, is_on=self.is_on)

    def switch(self, *, on: bool) -> None:
        """Switch heating and cooling on or off."""
        self._aim(self.setpoint_c, is_on=on)

    def air_c(self) -> float:
        """Return the temperature of the air, degrees Celsius."""
        return self._aim_c() + self._now()[0].real

    def chip_c(self) -> float:
        """Return the temperature of the chip, degrees Celsius."""
        kind = self._kind
        air, chip = self._now()
        return self._aim_c() + (air / (1 + kind.eigenvalue * kind.chip_s)).real + chip

    def reading_c(self) -> float:
        """Return what its sensor in the air shows, degrees Celsius."""
        now_s, deviation = self._clock(), self._kind.noise_c
        return self.air_c() + scatter(self._seed, "air", now_s, deviation=deviation)

    def _now(self) -> tuple[complex, float]:
        elapsed = self._clock() - self._began
        air = self._air * cmath.exp(self._kind.eigenvalue * elapsed)
        return air, self._chip_c * math.exp(-elapsed / self._kind.chip_s)

    def _aim_c(self) -> float:
        return self.setpoint_c if self.is_on else self._kind.ambient_c

    def _aim(self, setpoint_c: float, *, is_on: bool) -> None:
        """Go on from where air and chip are, and as fast as the air moves, to another aim."""
        eigenvalue = self._kind.eigenvalue
        air_c, chip_c = self.air_c(), self.chip_c()
        slope = (self._now()[0] * eigenvalue).real
        self._began = self._clock()
        self.setpoint_c, self.is_on = setpoint_c, is_on
        distance = air_c - self._aim_c()
        # Re(Z) is the distance, Re(λZ) the slope.
        imaginary = (eigenvalue.real * distance - slope) / eigenvalue.imag
        self._air = complex(distance, imaginary)
        forced = (self._air / (1 + eigenvalue * self._kind.chip_s)).real
        self._chip_c = chip_c - self._aim_c() - forced
