"""Attributes of a pymeasure instrument as quantities (extra ``instruments``)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hil.core.errors import ReadingError
from hil.core.legible import quoted
from hil_drivers.instruments.adapted import AdaptedInstrument, adapt
from hil_drivers.instruments.instrument import QuantitySpec
from hil_drivers.instruments.pymeasure_link import PymeasureAddress, PymeasureLink
from hil_drivers.instruments.reading import checked_reading, parse_reading

_ATTRIBUTE = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PymeasureQuantity:
    """One quantity's attributes; a dot leads to a channel: ``ch_1.voltage``."""

    spec: QuantitySpec
    """What may be done to it."""
    query: str
    """Attribute that gives a reading."""
    set_attribute: str | None = None
    """Attribute that sets it; None for a quantity that is only read."""
    read_back: str | None = None
    """Attribute that gives the setpoint; `set_attribute` where None, no read-back where empty."""
    field: int | None = None
    """Which number of a reading that has several, from 1 on; None where there is just one."""

    def __post_init__(self) -> None:
        for name in (self.query, self.set_attribute, self.read_back):
            check_attribute(name or "none")
        if (self.set_attribute is None) != (self.spec.limits is None):
            raise ValueError(f"{self.spec.name}: needs both an attribute to set and limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class PymeasureInstrumentSpec:
    """An instrument, described."""

    address: PymeasureAddress
    """Which instrument, and how to open it."""
    quantities: Mapping[str, PymeasureQuantity]
    """Its quantities by name."""
    identity: str = ""
    """Regular expression that the whole identity must match; any where empty."""
    start: Sequence[str] = ()
    """Methods called, without arguments, when it is opened and identified."""
    stop: Sequence[str] = ()
    """Methods called after its quantities were made safe: ``shutdown``."""


def check_attribute(name: str) -> None:
    """Raise ValueError for what cannot be an attribute or method of an instrument."""
    if not _ATTRIBUTE.fullmatch(name):
        raise ValueError(f"{name!r}: must be an attribute, as in voltage or ch_1.voltage")


def _number(value: Any, *, which: int | None, query: str) -> float:
    if isinstance(value, str):
        return parse_reading(value, field=which, query=query)
    if which is not None:
        try:
            value = value[which - 1]
        except (TypeError, LookupError) as error:
            raise ReadingError(f"{query}: gave {quoted(value)}: no field {which}") from error
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ReadingError(f"{query}: gave {quoted(value)} where a number is due") from error
    return checked_reading(number, query=query)


class _PymeasureSetting:
    """How a quantity is set through an attribute."""

    def __init__(self, quantity: PymeasureQuantity, link: PymeasureLink) -> None:
        self._quantity = quantity
        self._link = link
        self._set = quantity.set_attribute or ""
        self._read_back = self._set if quantity.read_back is None else quantity.read_back

    def send(self, value: float) -> None:
        self._link.put(self._set, value)

    def setpoint(self) -> float | None:
        if not self._read_back:
            return None
        return _number(self._link.get(self._read_back), which=None, query=self._read_back)

    def measure(self) -> float:
        query = self._quantity.query
        return _number(self._link.get(query), which=self._quantity.field, query=query)


def open_pymeasure_instrument(
    spec: PymeasureInstrumentSpec,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> AdaptedInstrument:
    """Open an instrument: identify it, empty its error queue, call its start methods.

    Parameters
    ----------
    spec
        What it is.
    clock, sleep
        Monotonic seconds, and how to wait for some.

    Raises
    ------
    TransportError
        If pymeasure or the class is missing, or the instrument is absent or silent.
    InstrumentError
        If another instrument answers than is described, or lacks an attribute.
    DeviceError
        If it complains of a start method.
    """
    link = PymeasureLink(spec.address)
    return adapt(
        link,
        {
            name: (quantity.spec, _PymeasureSetting(quantity, link))
            for name, quantity in spec.quantities.items()
        },
        identity=spec.identity,
        start=spec.start,
        stop=spec.stop,
        clock=clock,
        sleep=sleep,
    )
