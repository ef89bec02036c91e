"""Messages of the protocol, as the two ends see them, and their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from hil_drivers.link_fault import FaultKind
from hil_drivers.message_bytes import HIGHEST_TAG, Checksum, with_tag
from hil_drivers.scpi import block_head, encode_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One program message, as the device sees it."""

    tag: int | None
    """The host's number for it; None for plain SCPI."""
    text: str
    """Header and parameters, without the block."""
    block: bytes | None
    """Content of the block parameter."""
    checksum: Checksum = Checksum.NONE
    """Whether tag and text are those that were sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response message, as the host sees it."""

    tag: int | None
    """Number of the request it answers; None if the device sent none."""
    text: str
    """The text, or empty where there is a block."""
    block: bytearray | memoryview | None
    """Content of the block; a view of the memory lent for it, where some was."""
    fault: FaultKind | None = None
    """What is wrong with it: its tag (NO_TAG, STALE_TAG, REPEATED_TAG, SKIPPED_TAG), its checksum
    (GARBLED_ANSWER), or that it is a device's last words (GARBLED_REQUEST); None if it is the
    answer to the request that waits, or pushed."""
    is_pushed: bool = False
    """Whether it is a block that the device pushed, and answers no request."""


def next_tag(tag: int) -> int:
    """Return the tag after `tag`; after the highest one comes 1, because 0 is none's.

    Examples
    --------
    >>> next_tag(4294967295)
    1
    """
    return tag % HIGHEST_TAG + 1


def encode_request(
    tag: int | None, text: str, block: bytes | None = None, *, has_checksum: bool = False
) -> bytes:
    r"""Return the bytes of a program message.

    Examples
    --------
    >>> encode_request(7, "INP:DATA", b"ab")
    b'@7 INP:DATA #12ab\n'
    """
    start = text.encode("ascii")
    if tag is not None:
        start = with_tag(tag, start, has_checksum=has_checksum)
    return start + (b"" if block is None else b" " + encode_block(block)) + b"\n"


def encode_answer(
    tag: int | None,
    content: str | bytes | Sequence[bytes | memoryview],
    *,
    has_checksum: bool = False,
) -> bytes:
    r"""Return the bytes of a response: text as it is, bytes, in one part or more, as a block.

    Examples
    --------
    >>> encode_answer(7, "25.0")
    b'@7 25.0\n'
    >>> encode_answer(7, [b"ab", b"c"])
    b'@7 #13abc\n'
    """
    text = content.encode("ascii", "replace") if isinstance(content, str) else b""
    start = text if tag is None else with_tag(tag, text, has_checksum=has_checksum)
    if isinstance(content, str):
        return start + b"\n"
    parts = (content,) if isinstance(content, bytes) else content
    head = block_head(sum(map(len, parts)))
    return b"".join((start, head, *parts, b"\n"))
