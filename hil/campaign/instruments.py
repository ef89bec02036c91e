"""A campaign's bench instruments: opened, set before a step, read with it, left safe."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import cast

from hil.campaign.bench_time import bench_clock
from hil.campaign.config.instruments import MOCK, InstrumentSection
from hil.campaign.instrument_driver import InstrumentDriver
from hil.core.ending_signals import ending_signals_heard
from hil.core.errors import ConfigError, HilError, Problem
from hil_datasets.step_conditions import Condition
from hil_drivers.instruments.instrument import Instrument, Quantity
from hil_drivers.plugins import PluginGroup, load_plugin

_SIGNALS_TO_FORCE = 3
"""How many signals it takes to break off making an instrument safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentReading:
    """What one quantity showed."""

    instrument: str
    """Name of the instrument in the campaign file."""
    quantity: str
    """Name of the quantity there."""
    unit: str
    """Its unit."""
    setpoint: float | None
    """What the campaign had set it to; None if it only reads it."""
    value: float
    """The reading."""


class BenchInstruments:
    """The open instruments of a campaign.

    Parameters
    ----------
    instruments
        Open instruments by name, in the order of the campaign file.
    conditions
        What the campaign file sets quantities to: instrument and quantity to value.
    told
        Tells what its body waits for, if it does.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        conditions: Mapping[tuple[str, str], float],
        told: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.instruments = instruments
        """Open instruments by name."""
        self._told = told
        self._conditions = dict(conditions)
        self._setpoints: dict[tuple[str, str], float] = {}

    @property
    def identities(self) -> dict[str, str]:
        """What each instrument says it is, by name."""
        return {name: instrument.identity for name, instrument in self.instruments.items()}

    def prepare_step(self, conditions: Mapping[tuple[str, str], float] | None = None) -> None:
        """Bring every quantity to what a step wants, one after the other, and wait for each.

        A quantity that was set to the same value before is not sent it again: its setpoint is read
        back, and it has to be at rest.

        Parameters
        ----------
        conditions
            Instrument and quantity to value, on top of the campaign file's.

        Raises
        ------
        ConfigError
            If there is no such instrument or quantity.
        SafetyLimitError
            If one of the values is beyond its limits (then nothing is sent), or a reading is.
        InstrumentError, TransportError, DeviceError
            If an instrument does not take it, does not come to rest, is lost, or complains.
        """
        wanted = {**self._conditions, **(conditions or {})}
        quantities = {key: self._find(*key) for key in wanted}
        for key, value in wanted.items():
            quantities[key].check(value)  # all of them, before an hour is spent on the first
        for key, value in wanted.items():
            spec = quantities[key].spec
            with self._told(f"for {spec.name} to settle at {spec.shown(value)}"):
                self._bring(key, quantities[key], value)

    def read(self) -> tuple[InstrumentReading, ...]:
        """Read every quantity, in the order of the campaign file.

        Raises
        ------
        SafetyLimitError
            If a reading is beyond what it may ever be.
        InstrumentError, TransportError
            If an instrument answers no number, or is lost.
        """
        return tuple(
            InstrumentReading(
                instrument=name,
                quantity=key,
                unit=quantity.spec.unit,
                setpoint=self._setpoints.get((name, key)),
                value=quantity.read(),
            )
            for name, instrument in self.instruments.items()
            for key, quantity in instrument.quantities.items()
        )

    def _bring(self, key: tuple[str, str], quantity: Quantity, value: float) -> None:
        if self._setpoints.get(key) == value:
            quantity.hold(value)
        else:
            # What fails half-way stands nobody knows where.
            self._setpoints.pop(key, None)
            quantity.set(value)
            self._setpoints[key] = value

    def _find(self, name: str, key: str) -> Quantity:
        instrument = self.instruments.get(name)
        quantity = None if instrument is None else instrument.quantities.get(key)
        if quantity is None:
            known = [
                f"{name}.{key}" for name, of in self.instruments.items() for key in of.quantities
            ]
            raise ConfigError(
                "conditions",
                [Problem(f"{name}.{key}", f"no such quantity: there are {', '.join(known)}")],
            )
        return quantity


def conditions_between(
    before: Sequence[InstrumentReading], after: Sequence[InstrumentReading]
) -> tuple[Condition, ...]:
    """Return the conditions of a step from what `BenchInstruments.read` gave before and after."""
    return tuple(
        Condition(
            instrument=start.instrument,
            quantity=start.quantity,
            unit=start.unit,
            setpoint=start.setpoint,
            at_start=start.value,
            at_end=end.value,
        )
        for start, end in zip(before, after, strict=True)
    )


def named_mock_instruments(sections: Mapping[str, InstrumentSection]) -> frozenset[str]:
    """Return the names of the mock instruments that a campaign names."""
    return frozenset(
        section.resource.removeprefix(MOCK)
        for section in sections.values()
        if section.resource.startswith(MOCK)
    )


@contextmanager
def open_instruments(
    sections: Mapping[str, InstrumentSection],
    *,
    mock_addresses: Mapping[str, str],
    on_unsafe: Callable[[str], None],
    clock: Callable[[], float] = bench_clock,
    sleep: Callable[[float], None] = time.sleep,
    told: Callable[[str], AbstractContextManager[object]] = nullcontext,
    on_ending: Callable[[], None] = lambda: None,
    is_left_safe: bool = True,
) -> Iterator[BenchInstruments]:
    """Open a campaign's instruments for the length of a ``with`` block, and leave them safe.

    They are made safe on every way out, the last opened first: the end, an error, Ctrl-C, and an
    instrument that cannot be opened after others were. One that fails does not stop the others.
    A signal that comes meanwhile is answered, and does not end it: only the third for the same
    instrument does.

    Parameters
    ----------
    sections
        The campaign file's ``[instruments]``.
    mock_addresses
        Resource strings of the instruments of the campaign's own mock device, by name.
    on_unsafe
        Called with the reason for each instrument that could not be made safe, and, from a thread
        of its own, for each signal that would have kept it from being made safe.
    clock, sleep
        Seconds on the bench, and how to wait for some.
    told
        Tells what its body waits for, if it does.
    on_ending
        Called before one is made safe: what may end waits must not do so from then on.
    is_left_safe
        Whether safe values and stop commands are sent at the end; False for a mere look.

    Raises
    ------
    ConfigError
        If a ``mock://`` instrument is named and the device is no mock, or has none.
    TransportError, InstrumentError, DeviceError
        If an instrument is absent, silent, another one, or complains.
    """
    conditions = {
        (name, key): quantity.value
        for name, section in sections.items()
        for key, quantity in section.quantities.items()
        if quantity.value is not None
    }
    addresses = {
        name: _address(name, section, mock_addresses) for name, section in sections.items()
    }
    instruments: dict[str, Instrument] = {}
    with ExitStack() as stack:
        for name, section in sections.items():
            instrument = _open(name, section, addresses[name], clock=clock, sleep=sleep)
            stack.callback(_close, name, instrument, on_unsafe)
            if is_left_safe:
                stack.callback(_make_safe, name, instrument, on_unsafe)
                stack.callback(on_ending)
            instruments[name] = instrument
        yield BenchInstruments(instruments, conditions, told)


def _address(name: str, section: InstrumentSection, mock_addresses: Mapping[str, str]) -> str:
    if not section.resource.startswith(MOCK):
        return section.resource
    address = mock_addresses.get(section.resource.removeprefix(MOCK))
    if address is None:
        message = f"is {section.resource}: only a mock:// device has mock instruments"
        raise ConfigError("campaign", [Problem(f"instruments.{name}.resource", message)])
    return address


def _open(
    name: str,
    section: InstrumentSection,
    address: str,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Instrument:
    plugin = load_plugin(PluginGroup.INSTRUMENTS, section.driver_name)
    driver = cast("InstrumentDriver", plugin)
    return driver.open_instrument(name, section, address, clock=clock, sleep=sleep)


def _make_safe(name: str, instrument: Instrument, on_unsafe: Callable[[str], None]) -> None:
    try:
        with _signals_answered(name, on_unsafe):
            instrument.safe()
    except HilError as error:
        on_unsafe(f"instrument {name}: {error}")
    except BaseException as error:
        quantities = ", ".join(instrument.quantities)
        on_unsafe(
            f"instrument {name}: was LEFT UNSAFE, making it safe was broken off by "
            f"{type(error).__name__}; look after {quantities} by hand"
        )
        raise


@contextmanager
def _signals_answered(name: str, on_unsafe: Callable[[str], None]) -> Iterator[None]:
    """Let signals break off the body only when there were many; each one before gets a line."""
    count = 0

    def hear(number: int, _: FrameType | None) -> None:
        nonlocal count
        count += 1
        left = _SIGNALS_TO_FORCE - count
        if left <= 0:
            raise KeyboardInterrupt
        line = (
            f"instrument {name}: is being made safe, which goes on in spite of "
            f"{signal.Signals(number).name}; {left} more would leave it unsafe"
        )
        # Whoever is told takes locks that the interrupted code may hold.
        threading.Thread(target=on_unsafe, args=(line,), daemon=True).start()

    with ending_signals_heard(hear):
        yield


def _close(name: str, instrument: Instrument, on_unsafe: Callable[[str], None]) -> None:
    try:
        instrument.close()
    except HilError as error:
        on_unsafe(f"instrument {name}: {error}")
