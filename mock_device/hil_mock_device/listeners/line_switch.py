"""Plain text or packets: who is at the other end of a serial line, told from the bytes.

Rules
-----
1. A line begins as plain text. An undamaged packet makes it a line of packets, wherever it comes:
   text and the arrays in it hold one by chance once in 2**32 tries. What may become a packet is
   held back until it is one, cannot be one, or nothing more comes for a while.
2. A line of packets becomes plain text when whole lines of printable ASCII come right after a
   delimiter or a pause, then nothing for a while, and no packet came for some time before. What is
   left of a damaged packet may look like text; so damages at its beginning and at its end, and a
   long silence before, are needed to mistake one.

Sans-IO: the time is an argument, in monotonic seconds.
"""

import re
from dataclasses import dataclass

from hil_drivers.packets import DELIMITER, LONGEST_ENCODED, PacketReader, PacketType
from hil_drivers.scpi import LONGEST_LINE

PAUSE_S = 0.1
"""A pause that ends a piece of text, or of what might have been a packet."""
QUIET_S = 1.0
"""So long no packet must have come before text is believed."""

_BEGINNING = re.compile(
    rb"\0(?:[^\x00-\x02\r\n](?:[%c-%c][\x80-\xff]?)?)?" % (min(PacketType), max(PacketType))
)
"""A delimiter, a code of COBS, a type, an epoch: as much of it as is there.

A zero at the end of an array and the newline behind it must not wait. The codes 10 and 13 do not
occur in RESET, and whoever sends other packets of them sends others after them.
"""
_TEXT = re.compile(rb"[\t\r\n\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Heard:
    """Bytes that belong together."""

    data: bytes
    """The bytes."""
    is_packets: bool
    """Whether they are of packets; plain text otherwise."""


class LineSwitch:
    """Sorts the bytes of one line into plain text and packets."""

    def __init__(self) -> None:
        self._is_packets = False
        self._held = b""
        self._heard_s = float("-inf")
        self._packet_s = float("-inf")
        self._text_began_s = float("-inf")
        self._is_text = False

    @property
    def due_s(self) -> float | None:
        """When `receive` has to be called, if only with no bytes; None for when some come."""
        return self._heard_s + PAUSE_S if self._held else None

    def packet_came(self, now_s: float) -> None:
        """Take note that an undamaged packet has come."""
        self._packet_s = now_s

    def packets_over(self) -> None:
        """Take note that whoever spoke in packets has said that it is done."""
        self._is_packets = False
        self._packet_s = float("-inf")

    def receive(self, data: bytes, now_s: float) -> list[Heard]:
        """Take bytes, or none where time has passed; return what is known of them now."""
        is_pause = now_s >= self._heard_s + PAUSE_S
        if data:
            self._heard_s = now_s
        if self._is_packets:
            return self._hear_packets(data, now_s, is_pause=is_pause)
        return self._hear_text(data, now_s, is_pause=is_pause and not data)

    def _hear_text(self, data: bytes, now_s: float, *, is_pause: bool) -> list[Heard]:
        data, self._held = self._held + data, b""
        start = data.find(DELIMITER)
        while start >= 0:
            end = data.find(DELIMITER, start + 1)
            size = (len(data) if end < 0 else end) - start
            if _BEGINNING.fullmatch(data, start, start + min(4, size)):
                if end >= 0 and PacketReader().receive(data[start : end + 1]):
                    self._is_packets = True
                    packets = self._hear_packets(data[start:], now_s, is_pause=False)
                    return _text(data[:start]) + packets
                if end < 0 and size <= LONGEST_ENCODED + 1 and not is_pause:
                    self._held = data[start:]
                    return _text(data[:start])
            start = end
        return _text(data)

    def _hear_packets(self, data: bytes, now_s: float, *, is_pause: bool) -> list[Heard]:
        """Pass bytes on, and hold a copy of those that may be text."""
        if is_pause:
            text, self._held, self._is_text = self._held, b"", True
            if text.endswith(b"\n") and self._text_began_s >= self._packet_s + QUIET_S:
                self._is_packets = False
                return _text(text) + self._hear_text(data, now_s, is_pause=False)
        _, delimiter, behind = data.rpartition(DELIMITER)
        if delimiter:
            self._held, self._is_text = b"", True
        if not self._held:
            self._text_began_s = now_s
        if self._is_text:
            self._held += behind
            self._is_text = bool(len(self._held) <= LONGEST_LINE and _TEXT.fullmatch(self._held))
        if not self._is_text:
            self._held = b""
        return [Heard(data, is_packets=True)] if data else []


def _text(data: bytes) -> list[Heard]:
    return [Heard(data, is_packets=False)] if data else []
