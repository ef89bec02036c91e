"""The link, sans-IO, both roles: bytes in, events out; no socket, no clock.

Rules
-----
1. However the byte stream is split, the events are the same.
2. Buffers are bounded: a line by `scpi.LONGEST_LINE`, a block by the limit given. What is larger
   is a `FrameError`, raised before anything is allocated for it.
3. Bytes that are none of the protocol's end the conversation: the events before them are still
   returned, `failure` holds the `FrameFault`, and every later call raises it. It is raised at
   once where there is no event to return.
4. An answer says what is wrong with its number, measured at the request that waits: an earlier
   one's, this one's again, one that was not made yet, none; or that it was changed on its way: a
   request with a checksum has an answer with one.
5. A device carries out a message that comes twice in a row only once.
6. Blocks with the tag that the host listens to are pushed: none of them answers a request.

The host side lends its buffer to be received into (``writable`` and ``received``), so that a block
goes from the socket to the array without a copy in between.
"""

from hil_drivers.link_fault import FaultKind, FrameFault
from hil_drivers.message_bytes import (
    BLOCK_START,
    HIGHEST_TAG,
    Checksum,
    block_length,
    checksum_of,
    split_tag,
    unquoted_hash,
)
from hil_drivers.messages import Answer, Request, encode_answer, encode_request, next_tag
from hil_drivers.ring import Lender
from hil_drivers.scpi import LONGEST_LINE

__all__ = [
    "DEFAULT_LARGEST_BLOCK",
    "Answer",
    "DeviceLink",
    "HostLink",
    "Request",
    "encode_answer",
    "encode_request",
    "next_tag",
]

DEFAULT_LARGEST_BLOCK = 64 << 20
"""Largest block taken, 64 MiB: 65,536 vectors of 256 columns, P and N."""

LAST_WORDS_TAG = 0
"""Tag of what a device says before it closes a link whose bytes it cannot read."""

_READ_AHEAD = 1 << 16
_SHORT_READ_AHEAD = 64
"""Where large blocks follow each other: their heads fit, and little of them has to be copied."""


class HostLink:
    """The host's end: collects the device's answers."""

    def __init__(self, largest_block: int = DEFAULT_LARGEST_BLOCK) -> None:
        self._largest_block = largest_block
        self._line = bytearray()
        self._ahead = bytearray(_READ_AHEAD)
        self._tag: int | None = None
        self._block: bytearray | memoryview | None = None
        self._filled = 0
        self._checksum = Checksum.NONE
        self._expected: int | None = None
        self._expects_checksum = False
        self._is_answered = False
        self._lender: Lender | None = None
        self._pushed_tag: int | None = None
        self._pushed_lender: Lender | None = None
        self.failure: FrameFault | None = None
        """Why nothing that arrives can be understood any more."""

    def expect(self, tag: int, lender: Lender | None = None, *, has_checksum: bool = False) -> None:
        """Take note that request `tag` is made; from here on answers are measured at it.

        Parameters
        ----------
        tag
            Its number.
        lender
            Lends the memory for its answer's block; without one, memory of its own is made.
        has_checksum
            Whether it has a checksum.
        """
        self._expected, self._is_answered, self._lender = tag, False, lender
        self._expects_checksum = has_checksum

    def listen(self, tag: int, lender: Lender) -> None:
        """Take blocks with the tag of an earlier request for pushed ones, into memory lent."""
        self._pushed_tag, self._pushed_lender = tag, lender

    def abandon(self) -> None:
        """Give back what was lent for a block that will not come to its end."""
        if isinstance(self._block, memoryview):
            for lender in filter(None, (self._lender, self._pushed_lender)):
                lender.take_back(self._block)
        self._block = None

    @property
    def is_inside_answer(self) -> bool:
        """Whether an answer has begun and not ended."""
        return bool(self._line) or self._block is not None

    @property
    def is_inside_block(self) -> bool:
        """Whether every byte of `writable` is known to be on its way."""
        return self._block is not None and self._filled < len(self._block)

    def writable(self) -> memoryview:
        """Return where the next bytes shall be received; fill any part of it from its start."""
        if self._block is not None and self._filled < len(self._block):
            return memoryview(self._block)[self._filled :]
        are_large = self._pushed_lender and self._pushed_lender.slot_bytes > _READ_AHEAD
        return memoryview(self._ahead)[: _SHORT_READ_AHEAD if are_large else _READ_AHEAD]

    def received(self, count: int) -> list[Answer]:
        """Take note of `count` bytes put into `writable`; return the answers now complete.

        Raises
        ------
        FrameFault
            If the bytes are no answer: a line or block that is too long (OVERSIZE), or a block that
            does not end in a newline (GARBAGE).
        """
        if self.failure is not None:
            raise self.failure
        if self.is_inside_block:
            self._filled += count
            return []
        answers: list[Answer] = []
        try:
            self._take(bytes(memoryview(self._ahead)[:count]), answers)
        except FrameFault as error:
            self.failure = error
            if not answers:
                raise
        return answers

    def _take(self, data: bytes, answers: list[Answer]) -> None:
        rest = memoryview(data)
        while rest:
            if self._block is None:
                rest = self._take_line(rest, answers)
            elif self._filled < len(self._block):
                part = rest[: len(self._block) - self._filled]
                self._block[self._filled : self._filled + len(part)] = part
                self._filled += len(part)
                rest = rest[len(part) :]
            else:
                rest = self._take_block_end(rest, answers)

    def _take_line(self, rest: memoryview, answers: list[Answer]) -> memoryview:
        known = len(self._line)
        self._line += rest[: LONGEST_LINE - known]
        tag, body = split_tag(self._line)
        length = block_length(self._line, body, self._largest_block)
        if length is not None:
            self._tag, self._checksum = tag, checksum_of(self._line[:body])
            start, size = length
            self._line.clear()
            self._block, self._filled = self._room_for(tag, size), 0
            return rest[start - known :]
        newline = self._line.find(b"\n")
        if newline < 0:
            if len(self._line) == LONGEST_LINE:
                raise FrameFault(
                    FaultKind.OVERSIZE,
                    f"{LONGEST_LINE} bytes without a newline: an answer has at most {LONGEST_LINE} "
                    "before its block, newline included",
                )
            return rest[len(self._line) - known :]
        text = bytes(self._line[body:newline]).decode("ascii", "replace").strip()
        self._checksum = checksum_of(self._line[:newline])
        answers.append(self._answer(tag, text, None))
        self._line.clear()
        return rest[newline + 1 - known :]

    def _take_block_end(self, rest: memoryview, answers: list[Answer]) -> memoryview:
        end = bytes(rest[:1])
        if end == b"\r":
            return rest[1:]
        if end != b"\n":
            raise FrameFault(
                FaultKind.GARBAGE,
                f"byte {end!r} after a block of {self._filled} bytes: must be a newline",
            )
        answers.append(self._answer(self._tag, "", self._block))
        self._block = None
        return rest[1:]

    def _room_for(self, tag: int | None, size: int) -> bytearray | memoryview:
        lender = None
        if tag is not None and tag == self._pushed_tag:
            lender = self._pushed_lender
        elif self._fault_of(tag) is None:
            lender = self._lender
        if lender is None:
            return bytearray(size)
        lent = lender.lend(size)
        if lent is None:
            raise FrameFault(
                FaultKind.OVERSIZE,
                f"block of {size} bytes: there is no room for it; the device pushes larger frames "
                "than asked for, or more than it has leave to",
            )
        return lent

    def _answer(self, tag: int | None, text: str, block: bytearray | memoryview | None) -> Answer:
        if block is not None and tag is not None and tag == self._pushed_tag:
            return Answer(tag=tag, text=text, block=block, is_pushed=True)
        fault = self._fault_of(tag)
        self._is_answered |= fault is None
        return Answer(tag=tag, text=text, block=block, fault=fault)

    def _fault_of(self, tag: int | None) -> FaultKind | None:
        if self._expected is None:
            return None
        if tag is None:
            return FaultKind.NO_TAG
        if self._checksum is Checksum.WRONG:
            return FaultKind.GARBLED_ANSWER
        if tag == LAST_WORDS_TAG:
            return FaultKind.GARBLED_REQUEST
        if tag == self._expected:
            return self._fault_of_mine()
        # Tags wrap: half of all are older than any one, and half newer (RFC 1982, 3.2).
        is_older = (self._expected - tag) % (HIGHEST_TAG + 1) <= HIGHEST_TAG // 2
        return FaultKind.STALE_TAG if is_older else FaultKind.SKIPPED_TAG

    def _fault_of_mine(self) -> FaultKind | None:
        if self._is_answered:
            return FaultKind.REPEATED_TAG
        is_missing = self._expects_checksum and self._checksum is Checksum.NONE
        return FaultKind.GARBLED_ANSWER if is_missing else None


class DeviceLink:
    """The device's end: collects the host's requests."""

    def __init__(self, largest_block: int = DEFAULT_LARGEST_BLOCK) -> None:
        self._largest_block = largest_block
        self._buffer = bytearray()
        self._last_tagged: Request | None = None
        self.failure: FrameFault | None = None
        """Why nothing that arrives can be understood any more."""
        self.repeated_requests = 0
        """Messages that came twice in a row and were dropped the second time."""

    def receive(self, data: bytes) -> list[Request]:
        """Take bytes; return the requests now complete.

        Raises
        ------
        FrameFault
            If a line or a block is too long (OVERSIZE), or a block does not end its message
            (GARBAGE).
        """
        if self.failure is not None:
            raise self.failure
        self._buffer += data
        requests: list[Request] = []
        try:
            while (request := self._next_request()) is not None:
                if self._is_repeated(request):
                    self.repeated_requests += 1
                else:
                    requests.append(request)
        except FrameFault as error:
            self.failure = error
            if not requests:
                raise
        return requests

    def _is_repeated(self, request: Request) -> bool:
        if request.tag is None:
            return False
        is_repeated = request == self._last_tagged
        self._last_tagged = request
        return is_repeated

    def _next_request(self) -> Request | None:
        newline = self._buffer.find(b"\n", 0, LONGEST_LINE)
        end = newline if newline >= 0 else len(self._buffer)
        sign = unquoted_hash(self._buffer, min(end, LONGEST_LINE))
        if sign is None:
            if newline >= 0:
                return self._finish(newline, newline + 1, None)
            if len(self._buffer) >= LONGEST_LINE:
                raise FrameFault(
                    FaultKind.OVERSIZE,
                    f"{LONGEST_LINE} bytes without a newline: a message has at most {LONGEST_LINE} "
                    "before its block, newline included",
                )
            return None
        length = block_length(self._buffer, sign, self._largest_block)
        if length is None:
            if len(self._buffer) > sign + 1 and not BLOCK_START.match(self._buffer, sign):
                raise FrameFault(
                    FaultKind.GARBAGE, "malformed block: '#' must be followed by a digit 1 to 9"
                )
            return None
        start, size = length
        tail = self._buffer[start + size : start + size + 2]
        if tail.startswith(b"\n"):
            return self._finish(sign, start + size + 1, bytes(self._buffer[start : start + size]))
        if tail == b"\r\n":
            return self._finish(sign, start + size + 2, bytes(self._buffer[start : start + size]))
        if tail and tail != b"\r":
            raise FrameFault(
                FaultKind.GARBAGE, f"byte {bytes(tail[:1])!r} after a block: must be a newline"
            )
        return None

    def _finish(self, text_end: int, message_end: int, block: bytes | None) -> Request:
        line = bytes(self._buffer[:text_end])
        del self._buffer[:message_end]
        tag, start = split_tag(line)
        return Request(
            tag=tag,
            text=line[start:].decode("ascii", "replace").strip(),
            block=block,
            checksum=Checksum.NONE if tag is None else checksum_of(line),
        )
