"""Packets on a serial line, byte by byte: what is taken, and what each fault is called."""

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from golden_frames import with_crc
from hil_drivers.packets import (
    LineFault,
    Packet,
    PacketReader,
    PacketType,
    encode_packet,
    unwrap,
)

ASK_1 = bytes.fromhex("00 04 a5 81 01 05 72 70 41 56 00")
"""ASK, epoch 129, sequence 1; its CRC checked one bit at a time, its one zero stuffed by hand."""
ASK_1_CONTENT = bytes.fromhex("a5 81 01 00 72 70 41 56")


def on_line(content: bytes) -> bytes:
    """Return content with its CRC on the line, by the `cobs` package and one bit at a time."""
    encoded: bytes = cobs.encode(with_crc(content))
    return b"\0" + encoded + b"\0"


def test_packet_is_encoded_as_by_hand() -> None:
    packet = Packet(type=PacketType.ASK, epoch=0x81, sequence=1, payload=b"")
    assert encode_packet(packet) == ASK_1


def test_longest_packet_has_1039_bytes_with_its_delimiters() -> None:
    packet = Packet(type=PacketType.DATA, epoch=0xFF, sequence=0xFFFF, payload=b"\xff" * 1024)
    encoded = encode_packet(packet)
    assert len(encoded) == 1039
    assert PacketReader().receive(encoded) == [
        with_crc(bytes.fromhex("a3 ff ff ff") + b"\xff" * 1024)
    ]


@given(kind=st.sampled_from(PacketType), payload=st.binary(max_size=1024))
def test_packet_begins_like_no_text_and_has_no_zero_inside(
    kind: PacketType, payload: bytes
) -> None:
    encoded = encode_packet(Packet(type=kind, epoch=0x80, sequence=0, payload=payload))
    assert encoded[0] == encoded[-1] == 0
    assert 0 not in encoded[1:-1]
    assert encoded[2] >= 0xA0
    assert encoded[3] >= 0x80


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param(b"\0" + b"\x01" * 1038 + b"\0", LineFault.OVERSIZE, id="too long"),
        pytest.param(b"\0" + b"x" * 50_000 + b"\0", LineFault.OVERSIZE, id="flood"),
        pytest.param(b"\0\x05ab\0", LineFault.GARBLED, id="no COBS"),
        pytest.param(ASK_1[:-4] + b"\0", LineFault.GARBLED, id="truncated"),
        pytest.param(b"*IDN?\r\n\0", LineFault.GARBLED, id="text"),
        pytest.param(b"\0" + cobs.encode(b"seven b") + b"\0", LineFault.GARBLED, id="too short"),
        pytest.param(ASK_1.replace(b"\x72", b"\x73"), LineFault.WRONG_CRC, id="one bit of the CRC"),
        pytest.param(ASK_1.replace(b"\x81", b"\x82"), LineFault.WRONG_CRC, id="two bits"),
    ],
)
def test_what_is_no_packet_is_dropped_and_counted(line: bytes, fault: LineFault) -> None:
    reader = PacketReader()
    assert reader.receive(line + ASK_1) == [ASK_1_CONTENT]
    assert reader.faults == {fault: 1}


@given(bit=st.integers(8, 8 * 10 - 1))
def test_no_single_flipped_bit_passes(bit: int) -> None:
    line = bytearray(ASK_1)
    line[bit // 8] ^= 1 << bit % 8
    reader = PacketReader()
    assert reader.receive(bytes(line)) == []
    assert reader.faults.total() in (1, 2)  # a zero in the middle makes two of it


@given(
    pieces=st.lists(
        st.one_of(
            st.just(ASK_1),
            st.binary(max_size=40),
            st.binary(max_size=1024).map(lambda payload: on_line(b"\xa3\x81\1\0" + payload)),
            st.integers(1000, 1100).map(lambda size: b"\x07" * size),
        ),
        max_size=8,
    ),
    cuts=st.lists(st.integers(0, 9000), max_size=30),
)
def test_however_the_line_is_split_packets_and_faults_are_the_same(
    pieces: list[bytes], cuts: list[int]
) -> None:
    line = b"".join(pieces)
    whole = PacketReader()
    contents = whole.receive(line)
    parts = PacketReader()
    heard: list[bytes] = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(line)], strict=True):
        heard += parts.receive(line[start:end])
    assert heard == contents
    assert parts.faults == whole.faults


def test_unfinished_packet_takes_bounded_memory() -> None:
    reader = PacketReader()
    for _ in range(1000):
        reader.receive(b"x" * 1000)
    assert reader.receive(ASK_1) == [ASK_1_CONTENT]
    assert reader.faults == {LineFault.OVERSIZE: 1}


@pytest.mark.parametrize(
    ("number", "near", "count"),
    [(5, 3, 5), (3, 5, 3), (0, 65535, 65536), (65535, 65536, 65535), (1, 3 * 65536, 3 * 65536 + 1)],
)
def test_numbers_of_16_bits_count_on(number: int, near: int, count: int) -> None:
    assert unwrap(number, near=near) == count
