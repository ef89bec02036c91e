"""Packets of a serial line: how bytes that may be lost or changed are cut, numbered and checked.

::

    00  COBS( type u8 | epoch u8 | sequence u16 | payload, 0 to 1024 bytes | CRC-32C u32 )  00

Numbers are little-endian; the CRC covers everything before it. COBS (consistent overhead byte
stuffing) leaves no zero inside, so that a reader finds the next packet whatever came before: S.
Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking
7(2), 1999. Type and epoch have their highest bit set, so no packet begins like a line of ASCII.

Sans-IO. What the packets mean is in `packet_end`; ``docs/reference/serial-packets.md`` is the same
for firmware engineers, with bytes made by hand.
"""

import struct
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import google_crc32c
from cobs import cobs

_decode, _crc32c = cobs.decode, google_crc32c.value

DELIMITER = b"\0"
LONGEST_PAYLOAD = 1024
"""Most bytes of the stream in one packet."""

HEADER = struct.Struct("<BBH")
CRC_BYTES = 4
SHORTEST_CONTENT = HEADER.size + CRC_BYTES
LONGEST_ENCODED = 1037
"""1,032 bytes of content, and one of COBS for each 254 begun."""

NO_EPOCH = 0x80
"""Epoch of a packet that belongs to no conversation yet."""
FIRST_EPOCH, LAST_EPOCH = 0x81, 0xFF

_RESIDUE = 0x48674BC7
"""CRC-32C of any bytes followed by their own CRC-32C, little-endian."""


class PacketType(IntEnum):
    """What a packet is for."""

    RESET = 0xA1
    """Begin a new conversation."""
    READY = 0xA2
    """The answer to it, with the new conversation's epoch."""
    DATA = 0xA3
    """Bytes of the stream; none at all at the stream's end."""
    ACK = 0xA4
    """What has arrived, what is missing, and how far the other end may send."""
    ASK = 0xA5
    """Please acknowledge: everything before this sequence number was sent."""
    UNKNOWN = 0xA6
    """Whoever sends this knows no conversation of this epoch."""


class LineFault(StrEnum):
    """What can be wrong with a line, as an end notices it."""

    OVERSIZE = "oversize"
    """More bytes between two delimiters than a packet has."""
    GARBLED = "garbled"
    """Bytes between two delimiters that are no COBS, or too few for a packet."""
    WRONG_CRC = "wrong CRC"
    """A packet whose bytes were changed."""
    UNKNOWN_TYPE = "unknown type"
    """An undamaged packet of a type, or a content, that this version does not know."""
    WRONG_VERSION = "wrong version"
    """A reset, or an answer to one, in another version."""
    OTHER_EPOCH = "other epoch"
    """A packet of another conversation: late, or of an end that restarted."""
    REPEATED = "repeated"
    """A data packet that had arrived before."""
    MISSING = "missing"
    """A data packet that was found missing when a later one came."""
    BEYOND_WINDOW = "beyond window"
    """A data packet that nobody had given leave to send yet."""
    STALE_ACK = "stale acknowledgement"
    """An acknowledgement older than one that came before."""
    RESENT = "resent"
    """A data packet that the other end asked for again."""
    ASKED = "asked"
    """No acknowledgement came in time, and one was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet."""

    type: PacketType
    """What it is for."""
    epoch: int
    """Number of the conversation, 128 to 255; 128 is none."""
    sequence: int
    """A data packet's number or, in other types, the number it speaks of; 0 to 65535."""
    payload: bytes
    """Up to 1,024 bytes."""


def encode_packet(packet: Packet) -> bytes:
    r"""Return the bytes on the line, delimiters included.

    Examples
    --------
    >>> encode_packet(Packet(type=PacketType.ASK, epoch=0x81, sequence=1, payload=b"")).hex(" ")
    '00 04 a5 81 01 05 72 70 41 56 00'
    """
    return encode_content(packet.type, packet.epoch, packet.sequence, packet.payload)


def encode_content(kind: int, epoch: int, sequence: int, payload: bytes) -> bytes:
    """Return what `encode_packet` does, without a `Packet`, which takes a third of its time."""
    body = HEADER.pack(kind, epoch, sequence) + payload
    crc: int = google_crc32c.value(body)
    encoded: bytes = cobs.encode(body + crc.to_bytes(CRC_BYTES, "little"))
    return DELIMITER + encoded + DELIMITER


class PacketReader:
    """Cuts a line into packets; keeps the undamaged ones and counts the others.

    However the bytes are split, packets and counts are the same.
    """

    def __init__(self) -> None:
        self._begun = b""
        self.faults: Counter[LineFault] = Counter()
        """How often each fault was seen."""

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes of the line; return the content of each undamaged packet, CRC included."""
        *whole, begun = data.split(DELIMITER)
        if whole:
            whole[0] = self._begun + whole[0]
            self._begun = b""
        # One byte too many is enough to know that it is too long.
        self._begun = (self._begun + begun)[: LONGEST_ENCODED + 1]
        contents = []
        for encoded in whole:
            if encoded:  # two delimiters side by side are the usual thing
                try:
                    content: bytes = _decode(encoded)
                except cobs.DecodeError:
                    content = b""
                if (
                    _crc32c(content) == _RESIDUE
                    and len(content) >= SHORTEST_CONTENT
                    and len(encoded) <= LONGEST_ENCODED
                ):
                    contents.append(content)
                else:
                    self.faults[_fault_of(encoded, content)] += 1
        return contents


def _fault_of(encoded: bytes, content: bytes) -> LineFault:
    if len(encoded) > LONGEST_ENCODED:
        return LineFault.OVERSIZE
    return LineFault.GARBLED if len(content) < SHORTEST_CONTENT else LineFault.WRONG_CRC


def unwrap(number: int, *, near: int) -> int:
    """Return the count nearest to `near` whose low 16 bits are `number`.

    Examples
    --------
    >>> unwrap(1, near=65535), unwrap(65535, near=65536)
    (65537, 65535)
    """
    return near + ((number - near + 0x8000) & 0xFFFF) - 0x8000
