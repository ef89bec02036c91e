"""What becomes of bytes that meet a fault of the link: pure functions."""

from collections.abc import Iterator, Sequence

from hil_drivers.link import encode_answer
from hil_drivers.message_bytes import Checksum, checksum_of, split_tag
from hil_mock_device.conversation import Disconnect, Outgoing, Piece, Wait
from hil_mock_device.faults.fault_kinds import MockFault
from hil_mock_device.faults.injector import ArmedRule
from hil_mock_device.faults.message_splitter import block_span

_SLICE_S = 0.01
"""Bytes of a slow link come in groups of so much time."""
_BITS_PER_BYTE = 10


def spoilt_message(message: bytes, armed: ArmedRule, position: int) -> list[bytes | Disconnect]:
    """Return what arrives of a client's message, in order."""
    became: dict[MockFault, list[bytes | Disconnect]] = {
        MockFault.DROP: [],
        MockFault.DOUBLE: [message, message],
        MockFault.TRUNCATE: [message[:position]],
        MockFault.FLIP: [_flipped(message, armed, position)],
        MockFault.DISCONNECT: [Disconnect()],
    }
    return became[armed.rule.kind]


def spoilt_answer(answer: bytes, armed: ArmedRule, position: int) -> list[Outgoing]:
    """Return what becomes of an answer, in order."""
    start, rest = answer[:position], answer[position:]
    rule = armed.rule
    became: dict[MockFault, list[Outgoing]] = {
        MockFault.DROP: [],
        MockFault.DOUBLE: [answer, answer],
        MockFault.TRUNCATE: [start],
        MockFault.FLIP: [_flipped(answer, armed, position)],
        MockFault.STALL: [Piece(start), Wait(rule.seconds or 0.0), rest],
        MockFault.DISCONNECT: [Piece(start), Disconnect()],
        MockFault.IDENTITY: [_with_text(answer, rule.identity or "")],
    }
    return [item for item in became[rule.kind] if item != b""]


def choose_byte(message: bytes, armed: ArmedRule) -> int | None:
    """Return the byte that a fault is at, None if it is to be in a block and there is none."""
    rule = armed.rule
    if rule.byte is not None:
        return min(rule.byte, len(message) - 1)
    if not rule.is_in_block:
        return armed.draw_below(len(message))
    span = block_span(message)
    if span is None or span[0] == span[1]:
        return None
    return span[0] + armed.draw_below(span[1] - span[0])


def delay_s(armed: ArmedRule, count: int) -> float:
    """Return how much later so many bytes come through a fault that slows them down."""
    rule = armed.rule
    if rule.kind is MockFault.LATENCY:
        return (rule.seconds or 0.0) + rule.jitter_s * float(armed.rng.random())
    return count / _bytes_per_s(armed)


def slowed(items: Sequence[Outgoing], slow: Sequence[ArmedRule]) -> Iterator[Outgoing]:
    """Yield items with the pauses that faults put before and between their bytes."""
    rates = [_bytes_per_s(armed) for armed in slow if armed.rule.kind is not MockFault.LATENCY]
    for armed in slow:
        if armed.rule.kind is MockFault.LATENCY:
            yield Wait(delay_s(armed, 0))
    if not rates:
        yield from items
        return
    step = max(1, int(min(rates) * _SLICE_S))
    for item in items:
        if not isinstance(item, bytes):
            yield item
            continue
        for first in range(0, len(item), step):
            part = item[first : first + step]
            is_last = first + step >= len(item) and not isinstance(item, Piece)
            yield Wait(len(part) / min(rates))
            yield part if is_last else Piece(part)


def _flipped(message: bytes, armed: ArmedRule, position: int) -> bytes:
    bit = armed.rule.bit if armed.rule.bit is not None else armed.draw_below(8)
    flipped = _with_bit(message, position, bit)
    if armed.rule.bit is None and flipped.strip() == message.strip():
        # Other white space at the end means the same where the carrier marks ends: no fault.
        flipped = _with_bit(message, position, (bit + 1) % 8)
    return flipped


def _with_bit(message: bytes, position: int, bit: int) -> bytes:
    return message[:position] + bytes([message[position] ^ 1 << bit]) + message[position + 1 :]


def _with_text(answer: bytes, text: str) -> bytes:
    # Said by a device that means it: with a checksum that is right.
    has_checksum = checksum_of(answer.splitlines()[0]) is not Checksum.NONE
    return encode_answer(split_tag(answer)[0], text, has_checksum=has_checksum)


def _bytes_per_s(armed: ArmedRule) -> float:
    rule = armed.rule
    return (rule.baud or 1) / _BITS_PER_BYTE if rule.bytes_per_s is None else rule.bytes_per_s
