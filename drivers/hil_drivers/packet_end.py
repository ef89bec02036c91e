"""One end of a packet line: a reliable stream of bytes each way over a line that loses them.

Rules
-----
1. A conversation begins with a reset. Whoever wants one (the host) sends RESET with a random number
   until the other end answers READY with the same number and with an epoch of its own choice. Every
   later packet carries that epoch, the first an ASK that is repeated until it is acknowledged; the
   other end changes over when it hears one. So nothing from before, and no reset that comes late
   or twice, has any effect.
2. Data packets are numbered from 0, and kept until they are acknowledged. An ACK says which number
   is expected next, which is the first that may not be sent yet, and which are newly missing:
   just those are sent again.
3. When no acknowledgement comes in time, ASK says how far was sent, and the ACK to it lists all
   that is missing. Nothing but an ACK makes anybody send data twice.
4. An end that gets data of an epoch it does not know says so with UNKNOWN: it has restarted, and
   the conversation is over.
5. Whatever arrives, an end holds at most its window of packets in each direction.

Sans-IO: bytes in, bytes out; the time is an argument, in monotonic seconds.
"""

import math
import struct
from collections import Counter

from hil_drivers.packet_streams import LARGEST_WINDOW, IncomingStream, OutgoingStream
from hil_drivers.packets import (
    CRC_BYTES,
    FIRST_EPOCH,
    HEADER,
    LAST_EPOCH,
    NO_EPOCH,
    LineFault,
    PacketReader,
    PacketType,
    encode_content,
    unwrap,
)

VERSION = 1

_GREETING = struct.Struct("<BBI")
"""Version, window, the host's random number."""
_unpack = HEADER.unpack_from
_HEADER_BYTES = HEADER.size
_DATA, _ACK = int(PacketType.DATA), int(PacketType.ACK)
_PACKETS_AT_ONCE = 8
"""So many leave before the next look at what has come in."""
_LONGEST_BACKOFF = 16
_RESETS_REMEMBERED = 4


class PacketEnd:
    """One end of a line.

    Parameters
    ----------
    first_epoch
        The epoch to give to the next conversation, 129 to 255; different after each restart.
    window
        How many packets may wait here for being taken, 1 to 255.
    resend_s
        How long to wait for an acknowledgement, in seconds, on top of the time that the line
        takes; doubled each time that none comes, up to 16 times as long.
    bytes_per_s
        What the line carries.
    """

    def __init__(
        self,
        *,
        first_epoch: int = FIRST_EPOCH,
        window: int = 64,
        resend_s: float = 0.1,
        bytes_per_s: float = math.inf,
    ) -> None:
        if not FIRST_EPOCH <= first_epoch <= LAST_EPOCH or not 1 <= window <= LARGEST_WINDOW:
            raise ValueError(f"epoch {first_epoch}: 129 to 255; window {window}: 1 to 255")
        self._next_epoch = first_epoch
        self._window = window
        self._resend_s = resend_s
        self._bytes_per_s = bytes_per_s
        self._reader = PacketReader()
        self._replies: dict[bytes, None] = {}
        self._resets: dict[int, tuple[int, int]] = {}  # random number: epoch, window
        self._asking: int | None = None
        self._tries = 0
        self._due_s: float | None = None
        self._is_ack_owed = False
        self.other_version: int | None = None
        """Version of the other end, where it is another."""
        self._set_epoch(None, 0)

    @property
    def faults(self) -> Counter[LineFault]:
        """How often each fault was seen, since the beginning."""
        return self._reader.faults

    @property
    def is_open(self) -> bool:
        """Whether there is a conversation."""
        return self.epoch is not None and not self.is_forgotten

    @property
    def has_bytes(self) -> bool:
        """Whether `take_into` has something."""
        return self._incoming.has_bytes

    @property
    def has_ended(self) -> bool:
        """Whether the other end has ended the stream, and everything was taken."""
        return self._incoming.has_ended

    @property
    def is_waiting(self) -> bool:
        """Whether something offered is not known to have arrived."""
        return self._outgoing.is_waiting

    @property
    def _is_expecting(self) -> bool:
        return self._outgoing.is_waiting or not self._is_confirmed

    @property
    def is_ack_urgent(self) -> bool:
        """Whether the other end must hear at once what has arrived, or what is missing."""
        return self._is_ack_owed and self._incoming.has_news

    @property
    def due_s(self) -> float | None:
        """When `to_send` has to be called at the latest; None for when something has come."""
        return self._due_s

    def reset(self, number: int, now_s: float) -> None:
        """Begin a new conversation; `number` is a random one of 32 bits."""
        self._set_epoch(None, 0)
        self._replies.clear()
        self._asking = number
        self.other_version = None
        self._due_s = now_s

    def offer(self, data: bytes | memoryview) -> int:
        """Take as many bytes to send as there is room for; return how many."""
        return self._outgoing.offer(memoryview(data)) if self.is_open else 0

    def finish(self) -> None:
        """End the stream behind what was offered."""
        if self.is_open:
            self._outgoing.finish()

    def take_into(self, buffer: memoryview) -> int:
        """Move bytes that have arrived into the start of `buffer`; return how many."""
        count = self._incoming.take_into(buffer)
        self._is_ack_owed = self._is_ack_owed or self._incoming.has_news
        return count

    def receive(self, data: bytes, now_s: float) -> bool:
        """Take bytes of the line; return whether an undamaged packet was among them."""
        contents = self._reader.receive(data)
        for content in contents:
            kind, epoch, sequence = _unpack(content)
            if kind == _DATA and epoch == self.epoch:
                self._incoming.arrived(sequence, content[_HEADER_BYTES:-CRC_BYTES])
                self._is_ack_owed = True
            else:
                self._take(kind, epoch, sequence, content[_HEADER_BYTES:-CRC_BYTES], now_s)
        return bool(contents)

    def _take(self, kind: int, epoch: int, sequence: int, payload: bytes, now_s: float) -> None:
        if kind in (PacketType.RESET, PacketType.READY):
            self._take_greeting(kind, epoch, payload)
        elif epoch != self.epoch and not self._changes_over(kind, epoch):
            self._take_stranger(kind, epoch)
        elif kind == _DATA:
            self._incoming.arrived(sequence, payload)
            self._is_ack_owed = True
        elif kind == _ACK:
            self._take_ack(sequence, payload, now_s)
        elif kind == PacketType.ASK:
            self._incoming.asked(sequence)
            self._is_ack_owed = True
        elif kind == PacketType.UNKNOWN:
            self.is_forgotten = True
            self._due_s = None
        else:
            self.faults[LineFault.UNKNOWN_TYPE] += 1

    def to_send(self, now_s: float) -> bytes:
        """Return the next bytes for the line; none when there is nothing to say now."""
        packets = list(self._replies)
        self._replies.clear()
        if self._asking is not None:
            packets += self._repeat_reset(self._asking, now_s)
        if self.epoch is not None and not self.is_forgotten:
            if self._is_ack_owed:
                packets.append(self._make_ack(self.epoch))
            data = self._make_data(self.epoch)
            packets += data or self._ask_if_due(self.epoch, now_s)
            if self._due_s is None and self._is_expecting:
                self._due_s = now_s + self._patience_s()
        return b"".join(packets)

    def _set_epoch(self, epoch: int | None, other_window: int) -> None:
        self.epoch = epoch
        """Number of the conversation, None where there is none."""
        self.is_forgotten = False
        """Whether the other end says that it knows no such conversation."""
        self._incoming: IncomingStream = IncomingStream(self._window, self.faults)
        self._outgoing: OutgoingStream = OutgoingStream(other_window, self.faults)
        self._is_ack_owed = False
        self._is_confirmed = True
        self._tries = 0
        self._due_s = None

    def _take_greeting(self, kind: int, epoch: int, payload: bytes) -> None:
        if len(payload) != _GREETING.size:
            self.faults[LineFault.UNKNOWN_TYPE] += 1
            return
        version, window, number = _GREETING.unpack(payload)
        if kind == PacketType.RESET and self._asking is None:
            self._answer_reset(number, window)
        if version != VERSION:
            self.faults[LineFault.WRONG_VERSION] += 1
            self._resets.pop(number, None)
            self.other_version = version
        elif kind == PacketType.READY and number == self._asking:
            self._asking = None
            self._set_epoch(epoch, window)
            # The other end changes over when it hears that, and says so.
            self._is_confirmed = False
            self._replies[encode_content(PacketType.ASK, epoch, 0, b"")] = None

    def _answer_reset(self, number: int, window: int) -> None:
        if number not in self._resets:
            while len(self._resets) >= _RESETS_REMEMBERED:
                del self._resets[next(iter(self._resets))]
            self._resets[number] = (self._next_epoch, window)
            used: set[int | None] = {self.epoch, *(epoch for epoch, _ in self._resets.values())}
            while self._next_epoch in used:
                self._next_epoch = max(FIRST_EPOCH, (self._next_epoch + 1) & LAST_EPOCH)
        epoch, _ = self._resets[number]
        greeting = _GREETING.pack(VERSION, self._window, number)
        self._replies[encode_content(PacketType.READY, epoch, 0, greeting)] = None

    def _changes_over(self, kind: int, epoch: int) -> bool:
        if kind == PacketType.UNKNOWN:
            return False
        for position, (offered, window) in enumerate(self._resets.values()):
            if offered == epoch:
                self._set_epoch(epoch, window)
                # An offer made before this one is void: its packets would be late ones.
                self._resets = dict(list(self._resets.items())[position:])
                return True
        return False

    def _take_stranger(self, kind: int, epoch: int) -> None:
        self.faults[LineFault.OTHER_EPOCH] += 1
        if kind in (PacketType.DATA, PacketType.ASK) and self._asking is None:
            self._replies[encode_content(PacketType.UNKNOWN, epoch, 0, b"")] = None

    def _take_ack(self, sequence: int, payload: bytes, now_s: float) -> None:
        if len(payload) < 2 or len(payload) % 2:
            self.faults[LineFault.UNKNOWN_TYPE] += 1
            return
        until = unwrap(sequence, near=self._outgoing.oldest)
        limit, *missing = (
            unwrap(number, near=until)
            for number in struct.unpack(f"<{len(payload) // 2}H", payload)
        )
        has_more = self._outgoing.acknowledged(until, limit, missing)
        if has_more or not self._is_confirmed:
            self._is_confirmed = True
            self._tries = 0
            self._due_s = now_s + self._patience_s() if self._is_expecting else None

    def _make_data(self, epoch: int) -> list[bytes]:
        packets: list[bytes] = []
        while self._outgoing.has_packet and len(packets) < _PACKETS_AT_ONCE:
            sequence, payload = self._outgoing.next_packet()
            packets.append(encode_content(_DATA, epoch, sequence & 0xFFFF, payload))
        if packets:
            self._tries = 0
            self._due_s = None
        return packets

    def _ask_if_due(self, epoch: int, now_s: float) -> list[bytes]:
        if self._due_s is None or now_s < self._due_s:
            return []
        self.faults[LineFault.ASKED] += 1
        self._tries += 1
        self._due_s = None
        return [encode_content(PacketType.ASK, epoch, self._outgoing.sent_until & 0xFFFF, b"")]

    def _make_ack(self, epoch: int) -> bytes:
        expected, limit, missing = self._incoming.announce()
        self._is_ack_owed = False
        numbers = [number & 0xFFFF for number in (limit, *missing)]
        payload = struct.pack(f"<{len(numbers)}H", *numbers)
        return encode_content(_ACK, epoch, expected & 0xFFFF, payload)

    def _repeat_reset(self, number: int, now_s: float) -> list[bytes]:
        if self._due_s is not None and now_s < self._due_s:
            return []
        self._due_s = now_s + self._resend_s
        greeting = _GREETING.pack(VERSION, self._window, number)
        return [encode_content(PacketType.RESET, NO_EPOCH, 0, greeting)]

    def _patience_s(self) -> float:
        line_s = self._outgoing.unacknowledged_bytes / self._bytes_per_s
        return line_s + self._resend_s * min(1 << self._tries, _LONGEST_BACKOFF)
