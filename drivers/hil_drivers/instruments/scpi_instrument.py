"""Any SCPI instrument, from a table of its commands."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hil_drivers.instruments.adapted import AdaptedInstrument, adapt
from hil_drivers.instruments.instrument import QuantitySpec
from hil_drivers.instruments.plain_scpi import PlainScpi
from hil_drivers.instruments.reading import parse_reading
from hil_drivers.instruments.scpi_header import PLACEHOLDER, sets_the_same
from hil_drivers.transport import Transport

ERROR_QUERY = "SYST:ERR?"
"""Asks for the oldest error (SCPI-99, volume 2, 21.8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScpiQuantity:
    """One quantity's commands."""

    spec: QuantitySpec
    """What may be done to it."""
    query: str
    """Asks for a reading."""
    set_command: str | None = None
    """Sets it, with ``{value}`` where the number goes; None for one that is only read."""
    read_back: str | None = None
    """Asks for the setpoint; `derived_read_back` where None, no read-back where empty."""
    field: int | None = None
    """Which number of the answer to `query`, from 1 on; None where there is just one."""

    def __post_init__(self) -> None:
        for text in (self.query, self.set_command, self.read_back):
            check_command(text or "*")
        for query in (self.query, self.read_back or ""):
            if ";" in query:
                raise ValueError(f"{self.spec.name}: {query!r} must be one query, without ;")
        if (self.set_command is None) != (self.spec.limits is None):
            raise ValueError(f"{self.spec.name}: needs both a set command and limits, or neither")
        if self.set_command is not None and self.set_command.count(PLACEHOLDER) != 1:
            raise ValueError(
                f"{self.spec.name}: set command {self.set_command!r} must hold {PLACEHOLDER} once"
            )
        if self.read_back is None and ";" in (self.set_command or ""):
            raise ValueError(f"{self.spec.name}: several commands at once: give read_back, too")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScpiInstrumentSpec:
    """An instrument, described."""

    quantities: Mapping[str, ScpiQuantity]
    """Its quantities by name."""
    identity: str = ""
    """Regular expression that the whole answer to ``*IDN?`` must match; any where empty."""
    timeout_s: float = 5.0
    """How long an answer may take."""
    error_query: str = ERROR_QUERY
    """Asks for the oldest error; empty where the instrument has no error queue."""
    start: Sequence[str] = ()
    """Commands sent when it is opened and identified."""
    stop: Sequence[str] = ()
    """Commands sent after its quantities were made safe."""

    def __post_init__(self) -> None:
        check_ways_around_limits(self.quantities, [*self.start, *self.stop])


def check_ways_around_limits(
    quantities: Mapping[str, ScpiQuantity], commands: Sequence[str]
) -> None:
    """Raise ValueError if a quantity with limits could be set without them.

    Parameters
    ----------
    quantities
        All of an instrument, by name.
    commands
        What is sent to it besides.
    """
    for name, limited in quantities.items():
        if limited.set_command is None:
            continue
        for command in commands:
            if sets_the_same(command, limited.set_command):
                raise ValueError(
                    f"{command!r} would set {name} past its limits: use its value or safe"
                )
        for other, quantity in quantities.items():
            for text in (quantity.query, quantity.read_back or ""):
                if sets_the_same(text, limited.set_command):
                    raise ValueError(
                        f"{other}: {text!r} would set {name} past its limits: it must only ask"
                    )
            set_command = quantity.set_command or ""
            if other == name:
                set_command = _beside_the_value(set_command)
            if sets_the_same(set_command, limited.set_command):
                raise ValueError(
                    f"{other}: {quantity.set_command!r} would set {name} past its limits: one "
                    "quantity only may set it"
                )


def _beside_the_value(set_command: str) -> str:
    return ";".join(part for part in set_command.split(";") if PLACEHOLDER not in part)


def derived_read_back(set_command: str) -> str:
    """Return the query that asks for what a command sets: its header with a question mark.

    Examples
    --------
    >>> derived_read_back("SOUR:VOLT {value},(@2)")
    'SOUR:VOLT? (@2)'
    """
    header, _, parameters = set_command.partition(" ")
    rest = parameters.replace(PLACEHOLDER, "").strip().strip(",").strip()
    return f"{header}? {rest}".strip()


def check_command(text: str) -> None:
    """Raise ValueError for what cannot be a command: empty, not ASCII, or of several lines."""
    if not re.fullmatch("[ -~]+", text):
        raise ValueError(f"{text!r}: a command must be one line of printable ASCII")


class _ScpiSetting:
    """How a quantity is set by SCPI."""

    def __init__(self, quantity: ScpiQuantity, link: PlainScpi) -> None:
        self._quantity = quantity
        self._link = link
        self._set_command = quantity.set_command or ""
        self._read_back = quantity.read_back
        if self._read_back is None:
            self._read_back = derived_read_back(self._set_command)

    def send(self, value: float) -> None:
        # repr is the shortest text that is exactly this value: rounding could leave the limits.
        self._link.tell(self._set_command.replace(PLACEHOLDER, repr(value)))

    def setpoint(self) -> float | None:
        if not self._read_back:
            return None
        answer = self._link.ask_fenced(self._read_back)
        return parse_reading(answer, field=None, query=self._read_back)

    def measure(self) -> float:
        query = self._quantity.query
        return parse_reading(self._link.ask_fenced(query), field=self._quantity.field, query=query)


def open_scpi_instrument(
    spec: ScpiInstrumentSpec,
    transport: Transport,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> AdaptedInstrument:
    """Open an instrument: identify it, empty its error queue, send its start commands.

    Parameters
    ----------
    spec
        What it is.
    transport
        The open link to it; closed with the instrument, and where this fails.
    clock, sleep
        Monotonic seconds, and how to wait for some.

    Raises
    ------
    InstrumentError
        If another instrument answers than is described.
    TransportError
        If it is absent or silent.
    DeviceError
        If it complains of a start command.
    """
    link = PlainScpi(transport, timeout_s=spec.timeout_s, error_query=spec.error_query, clock=clock)
    return adapt(
        link,
        {
            name: (quantity.spec, _ScpiSetting(quantity, link))
            for name, quantity in spec.quantities.items()
        },
        identity=spec.identity,
        start=spec.start,
        stop=spec.stop,
        clock=clock,
        sleep=sleep,
    )
