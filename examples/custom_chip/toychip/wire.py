"""The protocol of toychip: how requests and answers look as bytes.

Host and chip send messages of one form: a header of 12 bytes, then a payload. An answer has the
number of its request, so that a late one is known for what it is. Everything is big-endian.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"TC"
HEADER = struct.Struct(">2sBBII")
"""Magic, operation, status, number of the request, length of the payload."""
WHERE = struct.Struct(">iBI")
"""Core, read mode (0 one phase, 1 four phases), number of vectors; begins most payloads."""
GEOMETRY = struct.Struct(">5I")
"""Cores, rows, columns, counter bits, most vectors."""
HELD = struct.Struct(">II")
"""How often the core was programmed in its life, CRC-32 of the weights it holds (0 for none)."""
TEMPERATURE = struct.Struct(">d")
"""Degrees Celsius."""
LONGEST = 1 << 24
"""No payload is longer: a length beyond is rubbish, and is not waited for."""


class Operation(IntEnum):
    """What the chip is asked to do."""

    IDENTIFY = 1
    MEASURE_SIZE = 2
    RESET = 3
    PROGRAM = 4
    READ = 5
    READ_CORRECTED = 6
    LATCHED = 7
    WRITE_NMPU = 8
    READ_NMPU = 9
    TEMPERATURE = 10
    SAFE = 11
    HELD = 12


class Status(IntEnum):
    """What became of it; other than OK, the payload says so in words."""

    OK = 0
    NO_SUCH_CORE = 1
    BAD_PAYLOAD = 2
    BAD_VALUE = 3
    NOT_PROGRAMMED = 4
    NOT_CORRECTED = 5
    NOTHING_LATCHED = 6
    UNKNOWN_OPERATION = 7


@dataclass(frozen=True)
class Message:
    """A request or an answer."""

    operation: int
    status: int
    number: int
    payload: bytes

    def encode(self) -> bytes:
        """Return it as bytes."""
        header = HEADER.pack(MAGIC, self.operation, self.status, self.number, len(self.payload))
        return header + self.payload


def decode_header(header: bytes) -> tuple[int, int, int, int]:
    """Return operation, status, number and length.

    Raises
    ------
    ValueError
        If it is no header.
    """
    magic, operation, status, number, length = HEADER.unpack(header)
    if magic != MAGIC or length > LONGEST:
        raise ValueError(f"{header.hex(' ')} is no header of toychip")
    return operation, status, number, length
