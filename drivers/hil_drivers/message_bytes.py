"""What a message of the protocol begins with: its tag, its checksum, the length of its block."""

import re
from enum import Enum

import google_crc32c

from hil_drivers.link_fault import FaultKind, FrameFault

HIGHEST_TAG = 0xFFFFFFFF
"""Tags have 32 bits, like the sequence number of a frame."""

BLOCK_START = re.compile(rb"#([1-9])")
"""Begins a block; the digit is the number of digits of its length."""

_TAG = re.compile(rb"(@(\d{1,10}))(?:\*([0-9A-F]{8}))?(?= |\r?\n|$) ?")


class Checksum(Enum):
    """What became of a message's checksum."""

    NONE = "none"
    """It has none."""
    RIGHT = "right"
    """Tag and text are those that were sent."""
    WRONG = "wrong"
    """They were changed."""


def split_tag(line: bytes | bytearray) -> tuple[int | None, int]:
    """Return a message's tag and where its text starts; what is no tag is text."""
    tag = _TAG.match(line)
    if tag is None or int(tag[2]) > HIGHEST_TAG:
        return None, 0
    return int(tag[2]), tag.end()


def checksum_of(line: bytes | bytearray) -> Checksum:
    r"""Tell whether a tagged line, without its block, is the one that was sent.

    Examples
    --------
    >>> checksum_of(b"@6*A9FF2A35 OK\r\n"), checksum_of(b"@6*A9FF2A35 KO"), checksum_of(b"@6 OK")
    (<Checksum.RIGHT: 'right'>, <Checksum.WRONG: 'wrong'>, <Checksum.NONE: 'none'>)
    """
    tag = _TAG.match(line)
    if tag is None or tag[3] is None:
        return Checksum.NONE
    covered = (tag[1] + bytes(line[tag.end(3) :])).rstrip()
    return Checksum.RIGHT if int(tag[3], 16) == google_crc32c.value(covered) else Checksum.WRONG


def with_tag(tag: int, text: bytes, *, has_checksum: bool) -> bytes:
    """Return a line with its tag before it, and between them the checksum of both.

    Examples
    --------
    >>> with_tag(6, b"OK", has_checksum=True)
    b'@6*A9FF2A35 OK'
    """
    start, rest = b"@%d" % tag, b" " + text
    if not has_checksum:
        return start + rest
    return b"%b*%08X%b" % (start, google_crc32c.value((start + rest).rstrip()), rest)


def block_length(buffer: bytearray, sign: int, largest: int) -> tuple[int, int] | None:
    """Return where a block's content starts and its size, or None while that is not known."""
    start = BLOCK_START.match(buffer, sign)
    if not start:
        return None
    content = start.end() + int(start[1])
    digits = bytes(buffer[start.end() : content])
    for digit in digits:
        if digit not in b"0123456789":
            raise FrameFault(
                FaultKind.GARBAGE,
                f"byte {bytes([digit])!r} in a block's length: must be {int(start[1])} digits",
            )
    if len(buffer) < content:
        return None
    size = int(digits)
    if size > largest:
        raise FrameFault(FaultKind.OVERSIZE, f"block of {size} bytes: at most {largest} are taken")
    return content, size


def unquoted_hash(buffer: bytearray, end: int) -> int | None:
    """Return where the first number sign outside quotes stands before `end`, None without one."""
    quote = 0
    for position in range(end):
        byte = buffer[position]
        if quote:
            quote = 0 if byte == quote else quote
        elif byte in b"\"'":
            quote = byte
        elif byte == ord("#"):
            return position
    return None
