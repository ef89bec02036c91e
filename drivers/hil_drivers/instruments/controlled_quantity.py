"""A quantity under control: limits before anything is sent, ramps, read-back, settling.

Rules
-----
1. Nothing beyond the limits is ever sent, and no ramp starts from beyond them: where the setpoint
   stands outside, a person has to look. `safe` alone goes on, from the nearest limit.
2. A ramp starts from the setpoint read back, or from a reading where there is no read-back. Before
   each step its full time passes, so that two ramps in a row are no faster than one.
3. Each value sent is read back. Each step of a ramp takes a reading, so that a bench in danger is
   noticed on the way.
4. A value that was sent is sent again only by `safe`: a second time changes nothing there.
"""

from collections.abc import Callable
from typing import Protocol

from hil.core.errors import (
    InstrumentError,
    NotSettledError,
    ReadingError,
    SafetyLimitError,
    TransportError,
)
from hil_drivers.instruments.instrument import Limits, QuantitySpec, Settle
from hil_drivers.instruments.ramp import ramp_values

_SAFE_ATTEMPTS = 2


class Setting(Protocol):
    """How an instrument is made to do it: the seam below limits and ramps."""

    def send(self, value: float) -> None:
        """Send a setpoint; raise `DeviceError` if the instrument complains."""
        ...

    def setpoint(self) -> float | None:
        """Ask for the setpoint; None where the instrument has no such query."""
        ...

    def measure(self) -> float:
        """Ask for a reading."""
        ...


class ControlledQuantity:
    """A quantity as campaigns use it.

    Parameters
    ----------
    spec
        What may be done to it.
    setting
        How it is done.
    clock
        Monotonic seconds.
    sleep
        Waits for so many seconds.
    """

    def __init__(
        self,
        spec: QuantitySpec,
        setting: Setting,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.spec = spec
        self._setting = setting
        self._clock = clock
        self._sleep = sleep

    def read(self) -> float:
        """Return a reading."""
        reading = self._setting.measure()
        if reading not in self.spec.readings:
            raise SafetyLimitError(
                f"{self.spec.name}: reads {self.spec.shown(reading)}: must be {self.spec.readings}"
            )
        return reading

    def check(self, value: float) -> Limits:
        """Return the hard limits, if the value is within them."""
        limits = self._settable()
        if value not in limits:
            raise SafetyLimitError(
                f"{self.spec.name}: {self.spec.shown(value)} is beyond its hard limits: must be "
                f"{limits}; it was not sent"
            )
        return limits

    def set(self, value: float) -> float:
        """Move it to a value, wait until it rests, return the last reading."""
        limits = self.check(value)
        value = float(value)
        if self.spec.ramp is not None:
            start = self._start()
            if start not in limits:
                raise SafetyLimitError(
                    f"{self.spec.name}: stands at {self.spec.shown(start)}, must be {limits} "
                    "before a ramp; nothing was sent: bring it there by hand"
                )
            self._move(start, value, each_step=self.read)
        else:
            self._send(value)
        return self._rest(value)

    def hold(self, value: float) -> float:
        """Check that it is still set to a value, wait until it rests, return the last reading."""
        self._settable()
        self._compare(value)
        return self._rest(value)

    def safe(self) -> None:
        """Move it to its safe value, if it has one; does not wait until it rests."""
        if self.spec.safe is None:
            return
        for attempt in range(1, _SAFE_ATTEMPTS + 1):
            try:
                self._move_to_safe(self.spec.safe)
            except (TransportError, ReadingError):
                if attempt == _SAFE_ATTEMPTS:
                    raise
            else:
                return

    def _move_to_safe(self, value: float) -> None:
        if self.spec.ramp is None or self.spec.safe_at_once:
            self._send(value)
            return
        # From beyond the limits the nearest limit is the best that can be sent.
        self._move(self._settable().clamped(self._start()), value, each_step=None)

    def _move(self, start: float, target: float, *, each_step: Callable[[], float] | None) -> None:
        ramp = self.spec.ramp
        if ramp is None or start == target:
            self._send(target)
            return
        for value in ramp_values(start, target, largest_step=ramp.largest_step):
            self._wait(ramp.step_s)
            self._send(value)
            if each_step is not None:
                each_step()

    def _wait(self, seconds: float) -> None:
        # A sleep may end early; the next step must not.
        until = self._clock() + seconds
        while (left_s := until - self._clock()) > 0:
            self._sleep(left_s)

    def _start(self) -> float:
        setpoint = self._setting.setpoint()
        return self._setting.measure() if setpoint is None else setpoint

    def _send(self, value: float) -> None:
        self.check(value)
        self._setting.send(value)
        self._compare(value)

    def _compare(self, value: float) -> None:
        setpoint = self._setting.setpoint()
        if setpoint is not None and abs(setpoint - value) > self.spec.finest:
            raise InstrumentError(
                f"{self.spec.name}: set to {self.spec.shown(value)}, reads back "
                f"{self.spec.shown(setpoint)}: must be within {self.spec.finest:g}"
            )

    def _rest(self, value: float) -> float:
        settle = self.spec.settle
        if settle is None:
            return self.read()
        began = self._clock()
        stable_since: float | None = None
        while True:
            reading = self.read()
            now = self._clock()
            if abs(reading - value) > settle.tolerance:
                stable_since = None
            elif stable_since is None:
                stable_since = now
            if stable_since is not None and now - stable_since >= settle.stable_s:
                return reading
            if now - began >= settle.timeout_s:
                raise self._not_settled(value, reading, settle)
            self._wait(settle.every_s)

    def _not_settled(self, value: float, reading: float, settle: Settle) -> NotSettledError:
        return NotSettledError(
            f"{self.spec.name}: not within {settle.tolerance:g} of {self.spec.shown(value)} for "
            f"{settle.stable_s:g} s after {settle.timeout_s:g} s: reads {self.spec.shown(reading)}"
        )

    def _settable(self) -> Limits:
        if self.spec.limits is None:
            raise SafetyLimitError(f"{self.spec.name}: is only read, and cannot be set")
        return self.spec.limits
