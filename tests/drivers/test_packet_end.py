"""A reliable stream over an unreliable line: any trouble that ends leaves exactly what was sent."""

import random
import struct
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_drivers.packet_end import PacketEnd
from hil_drivers.packets import LineFault, Packet, PacketReader, PacketType, encode_packet
from packet_line import PacketLine, Trouble

EVERY_BYTE = bytes(range(256)) * 20


def troubles(script: list[tuple[int, str, int]]) -> Trouble:
    """Return what does to each chunk of a number what the script says, once."""
    left = {number: (what, place) for number, what, place in script}

    def act(number: int, flight: list[bytes]) -> list[bytes]:
        if number not in left:
            return flight
        what, place = left.pop(number)
        return TROUBLES[what](flight[0], flight[1:], place)

    return act


def flip(first: bytes, place: int) -> bytes:
    changed = bytearray(first)
    changed[place % len(changed)] ^= 1 << place % 8
    return bytes(changed)


TROUBLES: dict[str, Callable[[bytes, list[bytes], int], list[bytes]]] = {
    "drop": lambda first, rest, place: rest,
    "double": lambda first, rest, place: [first, first, *rest],
    "swap": lambda first, rest, place: [*rest[:1], first, *rest[1:]],
    "delay": lambda first, rest, place: [*rest, first],
    "truncate": lambda first, rest, place: [first[: place % len(first)] or first[:1], *rest],
    "flip": lambda first, rest, place: [flip(first, place), *rest],
    "garbage": lambda first, rest, place: [bytes([place % 256]) * (place % 600 + 1), first, *rest],
}


def packets_of(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return type, epoch, sequence and payload of each packet."""
    return [
        (*struct.unpack("<BBH", content[:4]), content[4:-4])
        for content in PacketReader().receive(data)
    ]


def packet(kind: PacketType, epoch: int, sequence: int, payload: bytes = b"") -> bytes:
    return encode_packet(Packet(type=kind, epoch=epoch, sequence=sequence, payload=payload))


@settings(deadline=None, max_examples=150)
@given(
    to_device=st.binary(max_size=20_000),
    to_host=st.binary(max_size=20_000),
    chunk_bytes=st.sampled_from([7, 64, 300, 5000]),
    script=st.lists(
        st.tuples(
            st.integers(1, 120),
            st.sampled_from(sorted(TROUBLES)),
            st.integers(0, 10_000),
        ),
        max_size=60,
    ),
)
def test_whatever_befalls_the_line_both_ends_get_exactly_the_bytes_sent(
    to_device: bytes, to_host: bytes, chunk_bytes: int, script: list[tuple[int, str, int]]
) -> None:
    line = PacketLine(chunk_bytes=chunk_bytes, trouble=troubles(script))
    line.open()
    assert line.host.offer(to_device) == len(to_device)
    assert line.device.offer(to_host) == len(to_host)
    line.run_until(lambda: not line.host.is_waiting and not line.device.is_waiting)
    assert line.heard[line.device] == to_device
    assert line.heard[line.host] == to_host


@pytest.mark.parametrize("seed", range(4))
def test_line_that_spoils_a_tenth_of_its_chunks_for_ever_delivers_all(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - no secret

    def trouble(number: int, flight: list[bytes]) -> list[bytes]:
        if rng.random() < 0.1:
            return troubles([(number, rng.choice(sorted(TROUBLES)), rng.getrandbits(16))])(
                number, flight
            )
        return flight

    line = PacketLine(trouble=trouble)
    line.open()
    sent = rng.randbytes(150_000)
    assert line.host.offer(sent) == len(sent)
    line.run_until(lambda: not line.host.is_waiting)
    assert line.heard[line.device] == sent
    assert line.device.faults[LineFault.MISSING] > 0


@given(cuts=st.lists(st.integers(0, 3000), max_size=20))
def test_however_the_line_is_split_bytes_and_faults_are_the_same(cuts: list[int]) -> None:
    data = [packet(PacketType.DATA, 200, number, bytes([65 + number]) * 300) for number in range(8)]
    # Repeated, missing, out of order, of another epoch, beyond the window, changed, of no type.
    stranger = packet(PacketType.DATA, 199, 0, b"x")
    too_far = packet(PacketType.DATA, 200, 100, b"far")
    no_packets = [flip(data[6], 500), b"\0\x09\xaf\xc8ab1234\0"]
    pieces = [data[0], data[0], data[2], data[1], data[5], stranger, too_far, *no_packets]
    line = b"".join([*pieces, data[3], data[4]])
    whole = [(0, len(line))]
    bounds = [0, *sorted(min(cut, len(line)) for cut in cuts), len(line)]
    parts = list(pairwise(bounds))
    heard = []
    for split in (whole, parts):
        talk = PacketLine()
        talk.open()
        for start, end in split:
            talk.device.receive(line[start:end], 0.0)
        buffer = bytearray(9999)
        count = talk.device.take_into(memoryview(buffer))
        heard.append((bytes(buffer[:count]), dict(talk.device.faults)))
    assert heard[0] == heard[1]
    assert heard[0][0] == b"".join(bytes([65 + number]) * 300 for number in range(6))
    assert heard[0][1] == {
        LineFault.REPEATED: 1,
        LineFault.MISSING: 3,
        LineFault.OTHER_EPOCH: 1,
        LineFault.BEYOND_WINDOW: 1,
        LineFault.WRONG_CRC: 2,
    }


def test_only_the_lost_packet_is_sent_again() -> None:
    line = PacketLine(chunk_bytes=10_000)
    line.open()
    line.host.offer(EVERY_BYTE)  # five packets
    sent = line.host.to_send(line.now_s)
    pieces = sent.split(b"\0\0")
    assert len(pieces) == 5
    line.device.receive(b"\0\0".join(pieces[:2] + pieces[3:]), line.now_s)
    [(kind, _, sequence, payload)] = packets_of(line.device.to_send(line.now_s))
    assert (kind, sequence) == (PacketType.ACK, 2)
    assert struct.unpack("<2H", payload) == (64, 2)
    line.host.receive(packet(PacketType.ACK, 200, 2, payload), line.now_s)
    assert packets_of(line.host.to_send(line.now_s)) == [
        (PacketType.DATA, 200, 2, EVERY_BYTE[2048:3072])
    ]
    assert line.host.faults == {LineFault.RESENT: 1}


def test_lost_acknowledgement_is_asked_for_and_no_data_sent_twice() -> None:
    line = PacketLine()
    line.open()
    line.host.offer(b"hello")
    line.device.receive(line.host.to_send(line.now_s), line.now_s)
    line.device.to_send(line.now_s)  # lost
    assert line.host.due_s == pytest.approx(line.now_s + 0.1)
    assert line.host.to_send(line.now_s + 0.09) == b""
    asked = line.host.to_send(line.now_s + 0.11)
    assert packets_of(asked) == [(PacketType.ASK, 200, 1, b"")]
    line.device.receive(asked, line.now_s)
    line.run_until(lambda: not line.host.is_waiting)
    assert line.heard[line.device] == b"hello"
    assert line.device.faults == {}
    assert line.host.faults == {LineFault.ASKED: 1}


def test_patience_doubles_sixteenfold_and_counts_what_the_line_takes() -> None:
    host = PacketEnd(bytes_per_s=10_240)
    line = PacketLine(host)
    line.open()
    host.offer(b"x" * 1024)
    host.to_send(0.0)
    dues = []
    for _ in range(6):
        assert host.due_s is not None
        dues.append(host.due_s)
        host.to_send(host.due_s)
    gaps = [after - before for before, after in pairwise([0.0, *dues])]
    assert gaps == pytest.approx([0.2, 0.3, 0.5, 0.9, 1.7, 1.7])


def test_slow_consumer_stops_the_sender_and_loses_nothing() -> None:
    line = PacketLine(device=PacketEnd(first_epoch=200, window=4))
    line.open()
    line.is_taken = False
    sent = bytes(range(200)) * 100
    line.host.offer(sent)
    for _ in range(3000):
        line.step()
    buffer = bytearray(20_000)
    count = line.device.take_into(memoryview(buffer))
    assert count == 4 * 1024
    line.is_taken = True
    line.run_until(lambda: not line.host.is_waiting)
    assert bytes(buffer[:count]) + line.heard[line.device] == sent
    assert line.device.faults[LineFault.BEYOND_WINDOW] == 0


def test_sender_that_ignores_the_window_fills_no_memory() -> None:
    line = PacketLine()
    line.open()
    for number in range(2000):
        line.device.receive(packet(PacketType.DATA, 200, number, b"x" * 1024), line.now_s)
    assert line.device.faults[LineFault.BEYOND_WINDOW] == 2000 - 64
    buffer = bytearray(1 << 20)
    assert line.device.take_into(memoryview(buffer)) == 64 * 1024


def test_offer_takes_no_more_than_255_packets() -> None:
    line = PacketLine()
    line.open()
    assert line.host.offer(bytes(1 << 20)) == 255 * 1024


def test_reset_begins_anew_and_what_is_late_has_no_effect() -> None:
    line = PacketLine()
    line.open(1)
    line.host.offer(b"old")
    late = line.host.to_send(line.now_s)
    line.device.offer(b"old answer")
    late_answer = line.device.to_send(line.now_s)
    line.open(2)
    line.device.receive(late, line.now_s)
    line.host.receive(late_answer, line.now_s)
    line.host.offer(b"new")
    line.run_until(lambda: not line.host.is_waiting)
    assert line.heard[line.device] == b"new"
    assert line.heard[line.host] == b""
    # The late packet, and the host's word that it does not know the device's late one.
    assert line.device.faults == {LineFault.OTHER_EPOCH: 2}
    assert line.host.is_open


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_late_copy_of_an_old_reset_does_not_end_the_conversation(copies: int) -> None:
    line = PacketLine()
    line.host.reset(1, line.now_s)
    old_reset = line.host.to_send(line.now_s)
    line.device.receive(old_reset, line.now_s)
    line.open(2)
    line.device.receive(old_reset * copies, line.now_s)
    line.host.offer(b"still here")
    line.run_until(lambda: not line.host.is_waiting)
    assert line.heard[line.device] == b"still here"


def test_reset_is_repeated_until_it_is_answered() -> None:
    host = PacketEnd()
    host.reset(7, 0.0)
    reset = packet(PacketType.RESET, 128, 0, bytes.fromhex("01 40 07 00 00 00"))
    assert [host.to_send(at_s) for at_s in (0.0, 0.05, 0.11, 0.22)] == [reset, b"", reset, reset]


def test_answer_to_another_reset_is_ignored() -> None:
    host = PacketEnd()
    host.reset(7, 0.0)
    host.receive(packet(PacketType.READY, 150, 0, bytes.fromhex("01 40 08 00 00 00")), 0.0)
    assert not host.is_open
    host.receive(packet(PacketType.READY, 150, 0, bytes.fromhex("01 40 07 00 00 00")), 0.0)
    assert host.is_open


def test_end_that_restarted_says_that_it_knows_nothing() -> None:
    line = PacketLine()
    line.open()
    restarted = PacketEnd(first_epoch=131)
    line.host.offer(b"hello?")
    restarted.receive(line.host.to_send(line.now_s), line.now_s)
    answer = restarted.to_send(line.now_s)
    assert packets_of(answer) == [(PacketType.UNKNOWN, 200, 0, b"")]
    assert restarted.faults == {LineFault.OTHER_EPOCH: 1}
    line.host.receive(answer, line.now_s)
    assert line.host.is_forgotten
    assert not line.host.is_open


def test_other_version_is_told_to_whoever_asks() -> None:
    device = PacketEnd()
    device.receive(packet(PacketType.RESET, 128, 0, bytes.fromhex("02 40 07 00 00 00")), 0.0)
    [(kind, _, _, payload)] = packets_of(device.to_send(0.0))
    assert (kind, payload[0]) == (PacketType.READY, 1)
    assert device.faults == {LineFault.WRONG_VERSION: 1}
    host = PacketEnd()
    host.reset(7, 0.0)
    host.receive(packet(PacketType.READY, 150, 0, bytes.fromhex("02 40 07 00 00 00")), 0.0)
    assert (host.other_version, host.is_open) == (2, False)


def test_end_of_the_stream_comes_behind_the_last_byte() -> None:
    line = PacketLine()
    line.open()
    line.host.offer(b"goodbye")
    line.host.finish()
    line.is_taken = False
    line.run_until(lambda: not line.host.is_waiting)
    assert not line.device.has_ended
    buffer = bytearray(10)
    assert line.device.take_into(memoryview(buffer)) == 7
    assert line.device.has_ended
    assert line.host.offer(b"more") == 0


def test_epochs_go_round_and_skip_what_is_in_use() -> None:
    line = PacketLine(device=PacketEnd(first_epoch=254))
    epochs = []
    for number in range(4):
        line.open(number)
        epochs.append(line.device.epoch)
    assert epochs == [254, 255, 129, 130]


def test_sequence_numbers_go_round() -> None:
    line = PacketLine(chunk_bytes=1 << 20)
    line.open()
    for _ in range(66_000 // 200):
        line.host.offer(b"x" * 200 * 1024)
        line.run_until(lambda: not line.host.is_waiting)
        line.heard[line.device] = b""
    line.host.offer(b"on and on")
    line.run_until(lambda: not line.host.is_waiting)
    assert line.heard[line.device] == b"on and on"
    assert line.device.faults == {}


@pytest.mark.parametrize("epoch", [0, 128, 256])
def test_epoch_that_is_none_is_refused(epoch: int) -> None:
    with pytest.raises(ValueError, match="129 to 255"):
        PacketEnd(first_epoch=epoch)
