"""Limits, ramps, read-back, settling and safety, on an instrument that the test plays."""

import itertools
import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.core.errors import (
    DeviceError,
    HilError,
    InstrumentError,
    LinkLostError,
    NotSettledError,
    ReadingError,
    SafetyLimitError,
    TransportTimeoutError,
)
from hil_drivers.instruments.adapted import AdaptedInstrument
from hil_drivers.instruments.controlled_quantity import ControlledQuantity
from hil_drivers.instruments.instrument import ANY_NUMBER, Limits, QuantitySpec, Ramp, Settle
from mock_bench import OwnTime

LIMITS = Limits(-40.0, 85.0)


class Played:
    """An instrument that is at once where it is set, unless told otherwise."""

    def __init__(self, time: OwnTime, *, start: float = 20.0, has_read_back: bool = True) -> None:
        self._time = time
        self._has_read_back = has_read_back
        self.stands_at = start
        self.sent: list[tuple[float, float]] = []
        """Time and value of each setpoint sent."""
        self.readings: Iterator[float] | None = None
        self.keeps: float | None = None
        """What it stays at, whatever it is sent."""
        self.failures: list[BaseException] = []
        """Raised by the next sends."""

    def send(self, value: float) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((self._time(), value))
        self.stands_at = value if self.keeps is None else self.keeps

    def setpoint(self) -> float | None:
        return self.stands_at if self._has_read_back else None

    def measure(self) -> float:
        return self.stands_at if self.readings is None else next(self.readings)

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.sent]


def controlled(
    *,
    ramp: Ramp | None = None,
    settle: Settle | None = None,
    safe: float | None = None,
    safe_at_once: bool = False,
    readings: Limits = ANY_NUMBER,
    start: float = 20.0,
    has_read_back: bool = True,
) -> tuple[ControlledQuantity, Played, OwnTime]:
    time = OwnTime()
    played = Played(time, start=start, has_read_back=has_read_back)
    spec = QuantitySpec(
        name="chamber.temperature",
        unit="degC",
        limits=LIMITS,
        readings=readings,
        ramp=ramp,
        settle=settle,
        safe=safe,
        safe_at_once=safe_at_once,
    )
    return ControlledQuantity(spec, played, clock=time, sleep=time.sleep), played, time


@pytest.mark.parametrize("value", [85.000001, -40.1, math.inf, -math.inf, math.nan])
def test_nothing_beyond_the_limits_is_sent(value: float) -> None:
    quantity, played, _ = controlled()
    with pytest.raises(SafetyLimitError, match=r"hard limits: must be -40 to 85; it was not sent"):
        quantity.set(value)
    assert played.sent == []


@pytest.mark.parametrize("value", [-40.0, 85.0])
def test_the_limits_themselves_may_be_set(value: float) -> None:
    quantity, played, _ = controlled()
    assert quantity.set(value) == value
    assert played.values == [value]


@given(
    start=st.floats(LIMITS.lower, LIMITS.upper),
    targets=st.lists(st.floats(LIMITS.lower, LIMITS.upper), min_size=1, max_size=3),
    per_s=st.floats(0.5, 20),
    step_s=st.floats(0.1, 10),
    has_read_back=st.booleans(),
)
def test_ramps_in_a_row_are_never_faster_than_the_rate_and_never_outside_the_limits(
    start: float, targets: list[float], per_s: float, step_s: float, has_read_back: bool
) -> None:
    quantity, played, time = controlled(
        ramp=Ramp(per_s=per_s, step_s=step_s), start=start, has_read_back=has_read_back
    )
    began = time()
    for target in targets:
        quantity.set(target)
        assert played.values[-1] == target
    for (before_s, before), (after_s, after) in itertools.pairwise([(began, start), *played.sent]):
        assert abs(after - before) <= per_s * (after_s - before_s) * (1 + 1e-9) + 1e-12
        assert after in LIMITS


def test_ramp_takes_its_time() -> None:
    quantity, played, _ = controlled(ramp=Ramp(per_s=0.5, step_s=2.0))
    quantity.set(23.0)
    assert played.sent == [(2.0, 21.0), (4.0, 22.0), (6.0, 23.0)]


def test_sleep_that_ends_early_makes_no_step_early() -> None:
    time = OwnTime()
    played = Played(time)
    spec = QuantitySpec(
        name="chamber.temperature", unit="", limits=LIMITS, ramp=Ramp(per_s=1.0, step_s=1.0)
    )
    quantity = ControlledQuantity(
        spec, played, clock=time, sleep=lambda seconds: time.sleep(max(seconds / 2, 1e-3))
    )
    quantity.set(22.0)
    (first_s, first), (second_s, second) = played.sent
    assert (first, second) == (21.0, 22.0)
    assert first_s >= 1.0
    assert second_s - first_s >= 1.0


def test_ramp_does_not_start_from_beyond_the_limits() -> None:
    quantity, played, _ = controlled(ramp=Ramp(per_s=1.0), start=120.0)
    with pytest.raises(SafetyLimitError, match="stands at 120 degC, must be -40 to 85"):
        quantity.set(80.0)
    assert played.sent == []


def test_setpoint_that_was_not_taken_is_an_error() -> None:
    quantity, played, _ = controlled()
    played.keeps = 84.0  # a driver that clips by itself, and says nothing
    with pytest.raises(InstrumentError, match="set to 85 degC, reads back 84 degC"):
        quantity.set(85.0)


def test_reading_on_the_way_that_means_danger_ends_the_ramp() -> None:
    quantity, played, _ = controlled(ramp=Ramp(per_s=1.0), readings=Limits(-50, 90))
    played.readings = iter([21.0, 91.0])
    with pytest.raises(SafetyLimitError, match="reads 91 degC: must be -50 to 90"):
        quantity.set(80.0)
    assert played.values == [21.0, 22.0]


def test_quantity_rests_only_after_an_unbroken_stretch_within_tolerance() -> None:
    quantity, played, time = controlled(
        settle=Settle(tolerance=0.5, stable_s=2.0, timeout_s=60.0, every_s=1.0)
    )
    played.readings = iter([29.0, 29.8, 30.2, 30.9, 30.5, 30.1, 29.9, 30.0])
    assert quantity.set(30.0) == 29.9
    assert time() == 6.0


def test_quantity_that_does_not_come_to_rest_is_given_up() -> None:
    quantity, played, time = controlled(
        settle=Settle(tolerance=0.5, stable_s=2.0, timeout_s=10.0, every_s=1.0)
    )
    played.readings = itertools.cycle([30.0, 31.0])
    with pytest.raises(NotSettledError, match=r"not within 0\.5 of 30 degC for 2 s after 10 s"):
        quantity.set(30.0)
    assert time() == 10.0


def test_holding_sends_nothing_and_finds_a_setpoint_that_somebody_changed() -> None:
    quantity, played, _ = controlled()
    quantity.set(30.0)
    assert quantity.hold(30.0) == 30.0
    assert played.values == [30.0]
    played.stands_at = 31.0
    with pytest.raises(InstrumentError, match="set to 30 degC, reads back 31 degC"):
        quantity.hold(30.0)


SLOW = Settle(tolerance=0.5, timeout_s=1000.0, stable_s=60.0)


def test_what_rests_is_looked_at_for_a_tenth_of_its_time_before_the_next_step() -> None:
    quantity, _, time = controlled(settle=SLOW)
    quantity.set(30.0)
    assert time() == 60.0
    quantity.hold(30.0)
    assert time() == 66.0


def test_what_left_its_tolerance_meanwhile_has_to_come_to_rest_again() -> None:
    quantity, played, time = controlled(settle=SLOW)
    quantity.set(30.0)
    played.readings = itertools.chain([30.6], itertools.repeat(30.0))
    assert quantity.read() == 30.6  # between two steps, as a guard does
    quantity.hold(30.0)
    assert time() == 120.0


def test_what_leaves_its_tolerance_while_it_is_looked_at_has_to_come_to_rest_again() -> None:
    quantity, played, time = controlled(settle=SLOW)
    quantity.set(30.0)
    played.readings = itertools.chain([30.0, 29.4], itertools.repeat(30.0))
    quantity.hold(30.0)
    assert time() == 60.0 + 2.0 + 60.0


def test_safe_value_is_reached_by_a_ramp_without_waiting_for_rest() -> None:
    quantity, played, time = controlled(
        ramp=Ramp(per_s=1.0),
        settle=Settle(tolerance=0.1, timeout_s=1000.0, stable_s=500.0),
        safe=25.0,
    )
    quantity.safe()
    assert played.values == [21.0, 22.0, 23.0, 24.0, 25.0]
    assert time() == 5.0


def test_safe_value_is_sent_at_once_where_that_is_safer() -> None:
    quantity, played, _ = controlled(ramp=Ramp(per_s=1.0), safe=0.0, safe_at_once=True)
    quantity.safe()
    assert played.sent == [(0.0, 0.0)]


def test_safe_goes_on_from_beyond_the_limits() -> None:
    quantity, played, _ = controlled(ramp=Ramp(per_s=30.0), safe=25.0, start=120.0)
    quantity.safe()
    assert played.values == [55.0, 25.0]


def test_safe_is_tried_again_after_a_timeout_and_once_only() -> None:
    quantity, played, _ = controlled(safe=25.0)
    played.failures = [TransportTimeoutError("late")]
    quantity.safe()
    assert played.values == [25.0]
    played.failures = [TransportTimeoutError("late"), LinkLostError("gone"), LinkLostError("more")]
    with pytest.raises(LinkLostError, match="gone"):
        quantity.safe()
    assert len(played.failures) == 1


@pytest.mark.parametrize(
    "failure",
    [
        DeviceError(-350, "Queue overflow"),
        ReadingError("SYST:ERR?: answered '20.0' where an error number is due"),
        InstrumentError("reads back another value"),
    ],
)
def test_complaint_on_the_way_to_the_safe_value_is_told_and_the_way_is_ended(
    failure: HilError,
) -> None:
    quantity, played, _ = controlled(ramp=Ramp(per_s=1.0), safe=25.0, start=30.0)
    played.failures = [failure]
    with pytest.raises(InstrumentError, match=r"25 degC was reached all the same") as caught:
        quantity.safe()
    assert str(failure) in str(caught.value)
    assert played.values == [29.0, 28.0, 27.0, 26.0, 25.0]


def test_step_to_the_safe_value_that_reads_back_wrong_twice_does_not_end_the_way() -> None:
    quantity, played, _ = controlled(ramp=Ramp(per_s=1.0), safe=25.0, start=28.0)
    read_back = iter([28.0, 40.0, 40.0, 26.0, 25.0])
    played.setpoint = lambda: next(read_back)  # type: ignore[method-assign]
    with pytest.raises(InstrumentError, match=r"set to 27 degC, reads back 40 degC.*was reached"):
        quantity.safe()
    assert played.values == [27.0, 27.0, 26.0, 25.0]


def test_safe_value_that_is_not_taken_is_told_as_not_confirmed() -> None:
    quantity, played, _ = controlled(ramp=Ramp(per_s=1.0), safe=25.0, start=28.0)
    played.keeps = 28.0
    with pytest.raises(InstrumentError, match="25 degC was sent and not confirmed"):
        quantity.safe()
    assert played.values[-1] == 25.0


def test_errors_that_stood_in_the_queue_are_dropped_before_making_safe() -> None:
    link = NoLink()
    AdaptedInstrument(link, {}, stop=["OFF"]).safe()
    assert link.told == ["(queue emptied)", "OFF"]


def test_set_is_not_repeated_after_a_timeout() -> None:
    quantity, played, _ = controlled()
    played.failures = [TransportTimeoutError("late")]
    with pytest.raises(TransportTimeoutError):
        quantity.set(30.0)
    assert played.values == []


def test_quantity_without_limits_cannot_be_set() -> None:
    time = OwnTime()
    played = Played(time)
    spec = QuantitySpec(name="supply.current", unit="A")
    quantity = ControlledQuantity(spec, played, clock=time, sleep=time.sleep)
    with pytest.raises(SafetyLimitError, match=r"supply\.current: is only read"):
        quantity.set(1.0)
    quantity.safe()
    assert played.sent == []
    assert quantity.read() == 20.0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Limits(1.0, 0.0),
        lambda: Limits(math.nan, 0.0),
        lambda: QuantitySpec(name="q", unit="", limits=Limits(-math.inf, 1.0)),
        lambda: QuantitySpec(name="q", unit="", limits=Limits(0.0, 1.0), safe=2.0),
        lambda: QuantitySpec(name="q", unit="", safe=2.0),
        lambda: Ramp(per_s=0.0),
        lambda: Settle(tolerance=0.0, stable_s=0.0, timeout_s=1.0),
        lambda: Settle(tolerance=1.0, stable_s=2.0, timeout_s=1.0),
    ],
)
def test_senseless_descriptions_are_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match=r"must|takes no"):
        wrong()


class NoLink:
    """A link without an instrument that takes commands."""

    resource, identity = "none", "nobody"

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, text: str) -> None:
        self.told.append(text)

    def take_errors(self) -> None:
        self.told.append("(queue emptied)")

    def close(self) -> None:
        pass


def test_second_ctrl_c_does_not_keep_the_others_from_being_made_safe() -> None:
    first, played, _ = controlled(safe=25.0)
    second, interrupted, _ = controlled(safe=25.0)
    played.stands_at = interrupted.stands_at = 60.0
    interrupted.failures = [KeyboardInterrupt()]
    link = NoLink()
    instrument = AdaptedInstrument(link, {"first": first, "second": second}, stop=["OFF"])
    with pytest.raises(KeyboardInterrupt):
        instrument.safe()
    assert played.values == [25.0]
    assert link.told[-1] == "OFF"
