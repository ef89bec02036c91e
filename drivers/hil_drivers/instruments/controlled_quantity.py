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
5. What rests is looked at again for a tenth of its time, as long as no reading has left the
   tolerance since; after one that has, for the whole.
6. `safe` ends early only where the link is dead. What the instrument complains of, and a setpoint
   that reads back wrong, is told when the safe value was sent: a bench that is left hot half-way
   is worse than any complaint.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from hil.core.errors import (
    HilError,
    InstrumentError,
    NotSettledError,
    SafetyLimitError,
    TransportError,
)
from hil_drivers.instruments.instrument import Limits, QuantitySpec, Ramp, Settle
from hil_drivers.instruments.ramp import ramp_values

_SAFE_ATTEMPTS = 2
"""How often each step on the way to the safe value is tried."""
_MOST_COMPLAINTS = 3
"""Complaints told of a way to the safe value; a ramp may have thousands of steps."""

ResultT = TypeVar("ResultT")


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
        self._rests_at: float | None = None
        """Where it rests; None from the first reading on that is not there."""

    def read(self) -> float:
        """Return a reading."""
        reading = self._setting.measure()
        self._notice(reading)
        if reading not in self.spec.readings:
            raise SafetyLimitError(
                f"{self.spec.name}: reads {self.spec.shown(reading)}: must be {self.spec.readings}"
            )
        return reading

    def _notice(self, reading: float) -> None:
        settle, rests_at = self.spec.settle, self._rests_at
        if settle is None or rests_at is None or abs(reading - rests_at) <= settle.tolerance:
            return
        self._rests_at = None

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
            self._move(start, value, self.spec.ramp)
        else:
            self._send(value)
        return self._rest(value)

    def hold(self, value: float) -> float:
        """Check that it is still set to a value and at rest, return the last reading."""
        self._settable()
        self._compare(value)
        return self._rest(value)

    def safe(self) -> None:
        """Move it to its safe value, if it has one; does not wait until it rests.

        Raises
        ------
        TransportError
            If the link is dead: the safe value did not reach it.
        HilError
            If the safe value was sent, and the instrument complained of it or on the way.
        """
        if self.spec.safe is None:
            return
        complaints: list[HilError] = []
        is_taken = self._move_to_safe(self.spec.safe, complaints)
        if not complaints:
            return
        if len(complaints) == 1 and not is_taken:
            raise complaints[0]
        texts = list(dict.fromkeys(map(str, complaints)))
        more = len(texts) - _MOST_COMPLAINTS
        told = "; ".join(texts[:_MOST_COMPLAINTS]) + (f"; and {more} more" if more > 0 else "")
        ending = "was sent and not confirmed" if not is_taken else "was reached all the same"
        raise InstrumentError(
            f"{told}; {self.spec.name}: the safe value {self.spec.shown(self.spec.safe)} {ending}"
        )

    def _move_to_safe(self, value: float, complaints: list[HilError]) -> bool:
        """Move it there whatever it complains of; tell whether it took the last value."""
        if self.spec.ramp is None or self.spec.safe_at_once:
            return self._insist(value, complaints)
        start = self._persist(self._start, complaints)
        # From beyond the limits the nearest limit is the best that can be sent.
        start = self._settable().clamped(start)
        is_taken = True
        for step in ramp_values(start, value, largest_step=self.spec.ramp.largest_step):
            if start != value:
                self._wait(self.spec.ramp.step_s)
            is_taken = self._insist(step, complaints)
        return is_taken

    def _insist(self, value: float, complaints: list[HilError]) -> bool:
        """Send a step to the safe value; tell whether it was taken without a complaint."""
        try:
            self._persist(lambda: self._send(value), complaints)
        except TransportError:
            raise
        except HilError as error:
            complaints.append(error)
            return False
        return True

    def _persist(self, action: Callable[[], ResultT], complaints: list[HilError]) -> ResultT:
        """Do what may fail once; a link that breaks once and works again is no complaint."""
        for _ in range(_SAFE_ATTEMPTS - 1):
            try:
                return action()
            except TransportError:
                pass
            except HilError as error:
                complaints.append(error)
        return action()

    def _move(self, start: float, target: float, ramp: Ramp) -> None:
        if start == target:
            self._send(target)
            return
        for value in ramp_values(start, target, largest_step=ramp.largest_step):
            self._wait(ramp.step_s)
            self._send(value)
            self.read()

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
        self._rests_at = None
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
            needed_s = settle.held_s if self._rests_at == value else settle.stable_s
            if stable_since is not None and now - stable_since >= needed_s:
                self._rests_at = value
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
