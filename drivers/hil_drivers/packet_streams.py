"""The two halves of one end of a packet line: what goes out, and what comes in.

Sequence numbers are counted without wrapping here; the line carries their low 16 bits.
"""

from collections import Counter, deque

from hil_drivers.packets import LONGEST_PAYLOAD, LineFault, unwrap

LARGEST_WINDOW = 255
"""A quarter of a mebibyte each way; small devices take less."""


class OutgoingStream:
    """Packets made of the bytes to send, kept until the other end has them.

    Parameters
    ----------
    limit
        First sequence number that may not be sent yet.
    faults
        Where faults are counted.
    """

    def __init__(self, limit: int, faults: Counter[LineFault]) -> None:
        self._limit = limit
        self._faults = faults
        self._packets: dict[int, bytes] = {}
        self._again: dict[int, None] = {}  # a set that keeps its order
        self._oldest = 0
        self._next = 0
        self._end = 0
        self._is_ended = False

    @property
    def sent_until(self) -> int:
        """Everything before this sequence number was sent at least once."""
        return self._next

    @property
    def oldest(self) -> int:
        """Everything before this sequence number has arrived."""
        return self._oldest

    @property
    def is_waiting(self) -> bool:
        """Whether bytes were not acknowledged, or not even sent."""
        return self._oldest != self._end

    @property
    def has_packet(self) -> bool:
        """Whether `next_packet` has one."""
        return bool(self._again) or self._next < min(self._end, self._limit)

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes sent whose arrival is not known, a whole packet where it may be one."""
        return (self._next - self._oldest) * LONGEST_PAYLOAD

    def offer(self, data: memoryview) -> int:
        """Cut as much of `data` into packets as there is room for; return how many bytes."""
        taken = 0
        while (
            not self._is_ended and taken < len(data) and self._end - self._oldest < LARGEST_WINDOW
        ):
            self._packets[self._end] = bytes(data[taken : taken + LONGEST_PAYLOAD])
            taken += len(self._packets[self._end])
            self._end += 1
        return taken

    def finish(self) -> None:
        """End the stream behind what was offered."""
        if not self._is_ended:
            self._packets[self._end] = b""
            self._end += 1
            self._is_ended = True

    def next_packet(self) -> tuple[int, bytes]:
        """Return sequence number and payload of the next packet to send."""
        if self._again:
            sequence = next(iter(self._again))
            del self._again[sequence]
            self._faults[LineFault.RESENT] += 1
        else:
            sequence = self._next
            self._next += 1
        return sequence, self._packets[sequence]

    def acknowledged(self, until: int, limit: int, missing: list[int]) -> bool:
        """Take an acknowledgement; return whether it says that more has arrived."""
        if not self._oldest <= until <= self._next:
            self._faults[LineFault.STALE_ACK] += 1
            return False
        has_more = until > self._oldest
        for sequence in range(self._oldest, until):
            del self._packets[sequence]
            self._again.pop(sequence, None)
        self._oldest = until
        self._limit = max(self._limit, min(limit, until + LARGEST_WINDOW))
        for sequence in missing:
            if until <= sequence < self._next:
                self._again[sequence] = None
        return has_more


class IncomingStream:
    """Packets that have arrived, put in order.

    Parameters
    ----------
    window
        How many packets may be here that nobody has taken.
    faults
        Where faults are counted.
    """

    def __init__(self, window: int, faults: Counter[LineFault]) -> None:
        self._window = window
        self._faults = faults
        self._ahead: dict[int, bytes] = {}
        self._ready: deque[bytes] = deque()
        self._seen = 0
        self._announced = window
        self._is_ended = False
        self.expected = 0
        """Everything before this sequence number has arrived."""
        self.missing: list[int] = []
        """What the other end has to be told is missing."""

    @property
    def limit(self) -> int:
        """First sequence number for which there is no room yet."""
        return self.expected - len(self._ready) + self._window

    @property
    def has_news(self) -> bool:
        """Whether much more may be sent than the other end knows of, or something is missing."""
        return bool(self.missing) or 2 * (self.limit - self._announced) >= self._window

    @property
    def has_bytes(self) -> bool:
        """Whether there is something to take."""
        return bool(self._ready)

    @property
    def has_ended(self) -> bool:
        """Whether the other end has ended the stream, and everything was taken."""
        return self._is_ended and not self._ready

    def arrived(self, wire_sequence: int, payload: bytes) -> None:
        """Take a data packet."""
        expected = self.expected
        sequence = expected + ((wire_sequence - expected + 0x8000) & 0xFFFF) - 0x8000  # unwrap
        in_order = sequence == self._seen == expected
        if in_order and payload and len(self._ready) < self._window and not self._is_ended:
            # What nearly always happens, in a third of the time.
            self._seen = self.expected = sequence + 1
            self._ready.append(payload)
            return
        if sequence < self.expected or sequence in self._ahead:
            self._faults[LineFault.REPEATED] += 1
            return
        if sequence >= self.limit or self._is_ended:
            self._faults[LineFault.BEYOND_WINDOW] += 1
            return
        if sequence >= self._seen:
            self._note_missing(sequence)
            self._seen = sequence + 1
        if sequence != self.expected:
            self._ahead[sequence] = payload
            return
        self._append(payload)
        while self._ahead and self.expected in self._ahead:
            self._append(self._ahead.pop(self.expected))

    def asked(self, wire_sequence: int) -> None:
        """List all that is missing before a sequence number, though it was listed before."""
        until = min(unwrap(wire_sequence, near=self.expected), self.limit)
        if until > self._seen:
            self._note_missing(until)
            self._seen = until
        self.missing = [
            sequence for sequence in range(self.expected, until) if sequence not in self._ahead
        ]

    def announce(self) -> tuple[int, int, list[int]]:
        """Return what an acknowledgement says: expected, limit, what is missing."""
        missing, self.missing = self.missing, []
        self._announced = self.limit
        return self.expected, self.limit, [number for number in missing if number >= self.expected]

    def take_into(self, buffer: memoryview) -> int:
        """Move bytes into the start of `buffer`; return how many."""
        ready, filled, room = self._ready, 0, len(buffer)
        while ready and filled < room:
            payload = ready.popleft()
            end = filled + len(payload)
            if end > room:
                ready.appendleft(payload[room - filled :])
                payload, end = payload[: room - filled], room
            buffer[filled:end] = payload
            filled = end
        return filled

    def _append(self, payload: bytes) -> None:
        self.expected += 1
        if payload:
            self._ready.append(payload)
        else:
            self._is_ended = True
            self._ahead.clear()

    def _note_missing(self, until: int) -> None:
        new = range(max(self._seen, self.expected), until)
        if new:
            self._faults[LineFault.MISSING] += len(new)
            self.missing += new
