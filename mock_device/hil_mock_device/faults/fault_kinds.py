"""Faults by name: what each kind strikes, and the keys that its rules take."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum


class MockFault(StrEnum):
    """What can be made to go wrong."""

    LATENCY = "latency"
    """The message, or its answer, comes later."""
    BANDWIDTH = "bandwidth"
    """The link carries so many bytes a second."""
    BAUD = "baud"
    """The link has the pace of a serial line, ten bits for a byte."""
    DROP = "drop"
    """The message, or its answer, is lost."""
    DOUBLE = "double"
    """The message, or its answer, comes twice."""
    REORDER = "reorder"
    """The message, or its answer, comes after the next one."""
    TRUNCATE = "truncate"
    """The end of the message, or of its answer, is lost."""
    FLIP = "flip"
    """One bit of the message, or of its answer, is changed."""
    STALL = "stall"
    """The answer stops in its middle for a while."""
    STALE = "stale"
    """The answer is held back, and comes before the answer to the next message."""
    DISCONNECT = "disconnect"
    """The client is cut off."""
    REFUSE = "refuse"
    """The client is cut off, and for a while nobody gets in."""
    IDENTITY = "identity"
    """The device says that it is another one."""
    ERROR_QUEUE = "error_queue"
    """The error queue overflows."""
    REBOOT = "reboot"
    """The firmware starts again: settings, NMPU registers and lock are lost."""
    BROWN_OUT = "brown_out"
    """Power fails in the middle of programming: half of the rows are written."""
    FROZEN_COLUMN = "frozen_column"
    """The counters of a column stand still."""
    GAIN_JUMP = "gain_jump"
    """The counters of a column count faster or slower."""
    SATURATION = "saturation"
    """A share of the counters overflows."""
    TEMPERATURE = "temperature"
    """The chip gets warmer or colder."""


class Direction(StrEnum):
    """Which way the bytes go that meet the fault."""

    REQUEST = "request"
    """From the client to the device."""
    ANSWER = "answer"
    """From the device to the client."""


class Place(StrEnum):
    """Where in a message a random byte is chosen."""

    ANYWHERE = "anywhere"
    """Anywhere; a flipped bit of text without a checksum is found out by nobody."""
    BLOCK = "block"
    """In the content of its block; a message without one meets no fault."""


class Aftermath(StrEnum):
    """What follows a brown-out."""

    REBOOT = "reboot"
    """The firmware starts again, and the client is cut off."""
    ERROR = "error"
    """The command is refused with -240."""


class Event(Enum):
    """What a fault may strike."""

    MESSAGE = "message"
    """A message of a client, with its answer."""
    CONVERSION = "conversion"
    """One multiplication of the chip."""
    PROGRAMMING = "programming"
    """One programming of a core."""


@dataclass(frozen=True, slots=True)
class FaultKeys:
    """Which keys a kind takes, beside those that say when."""

    event: Event
    """What it strikes."""
    required: frozenset[str]
    """Those that it must have."""
    optional: frozenset[str]
    """Those that it may have."""


def _keys(event: Event, required: str = "", optional: str = "") -> FaultKeys:
    return FaultKeys(event, frozenset(required.split()), frozenset(optional.split()))


WHEN_KEYS = frozenset({"kind", "every", "chance", "at", "times", "between_s"})
"""The kind, and the keys that say when; every kind takes them."""
KEYS: Mapping[MockFault, FaultKeys] = {
    MockFault.LATENCY: _keys(Event.MESSAGE, "seconds", "direction jitter_s"),
    MockFault.BANDWIDTH: _keys(Event.MESSAGE, "bytes_per_s", "direction"),
    MockFault.BAUD: _keys(Event.MESSAGE, "baud", "direction"),
    MockFault.DROP: _keys(Event.MESSAGE, "", "direction"),
    MockFault.DOUBLE: _keys(Event.MESSAGE, "", "direction"),
    MockFault.REORDER: _keys(Event.MESSAGE, "", "direction"),
    MockFault.TRUNCATE: _keys(Event.MESSAGE, "", "direction byte place"),
    MockFault.FLIP: _keys(Event.MESSAGE, "", "direction byte bit place"),
    MockFault.STALL: _keys(Event.MESSAGE, "seconds", "byte place"),
    MockFault.STALE: _keys(Event.MESSAGE),
    MockFault.DISCONNECT: _keys(Event.MESSAGE, "", "direction byte place"),
    MockFault.REFUSE: _keys(Event.MESSAGE, "seconds"),
    MockFault.IDENTITY: _keys(Event.MESSAGE, "identity"),
    MockFault.ERROR_QUEUE: _keys(Event.MESSAGE),
    MockFault.REBOOT: _keys(Event.MESSAGE, "", "keeps_link"),
    MockFault.BROWN_OUT: _keys(Event.PROGRAMMING, "", "core then"),
    MockFault.FROZEN_COLUMN: _keys(Event.CONVERSION, "column", "core conversions"),
    MockFault.GAIN_JUMP: _keys(Event.CONVERSION, "column factor", "core conversions"),
    MockFault.SATURATION: _keys(Event.CONVERSION, "share", "core"),
    MockFault.TEMPERATURE: _keys(Event.CONVERSION, "kelvin", "core conversions"),
}
"""Keys of each kind."""
