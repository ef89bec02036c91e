"""Text or packets: told apart however the bytes come, and never by what damage leaves behind."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_drivers.packets import Packet, PacketType, encode_packet
from hil_mock_device.listeners.line_switch import LineSwitch

RESET = encode_packet(
    Packet(type=PacketType.RESET, epoch=0x80, sequence=0, payload=b"\x01\x40\x07\0\0\0")
)
REQUEST = encode_packet(
    Packet(type=PacketType.DATA, epoch=0x90, sequence=3, payload=b"@17 READ?\n")
)
BLOCK = b"INP:DATA #15\0\x04\xa3\x81\0\n"
"""Binary data that begin like a packet."""


def sorted_out(switch: LineSwitch, data: bytes, now_s: float) -> tuple[bytes, bytes]:
    """Return the text and the packets in data."""
    heard = switch.receive(data, now_s)
    return (
        b"".join(one.data for one in heard if not one.is_packets),
        b"".join(one.data for one in heard if one.is_packets),
    )


@pytest.mark.parametrize(
    "data", [b"*IDN?\n", b"*IDN?\r\n", BLOCK, b"\0" * 70_000, bytes(range(256))]
)
def test_text_and_arrays_pass_at_once(data: bytes) -> None:
    assert sorted_out(LineSwitch(), data + b"\n", 0.0) == (data + b"\n", b"")


@given(cuts=st.lists(st.integers(0, 100), max_size=12))
def test_packet_is_found_behind_text_however_it_is_split(cuts: list[int]) -> None:
    line = b"CORE:SEL 1\n" + BLOCK + RESET + REQUEST
    switch, text, packets = LineSwitch(), b"", b""
    bounds = [0, *sorted(min(cut, len(line)) for cut in cuts), len(line)]
    for start, end in pairwise(bounds):
        more_text, more_packets = sorted_out(switch, line[start:end], 0.0)
        text, packets = text + more_text, packets + more_packets
    assert (text, packets) == (b"CORE:SEL 1\n" + BLOCK, RESET + REQUEST)


def test_what_may_become_a_packet_is_let_go_after_a_pause() -> None:
    switch = LineSwitch()
    assert sorted_out(switch, b"data\0\x04\xa3\x81", 5.0) == (b"data", b"")
    assert switch.due_s == pytest.approx(5.1)
    assert sorted_out(switch, b"", 5.1) == (b"\0\x04\xa3\x81", b"")
    assert switch.due_s is None


def in_packets(*, packet_s: float) -> LineSwitch:
    switch = LineSwitch()
    switch.receive(RESET, packet_s)
    switch.packet_came(packet_s)
    return switch


def test_text_after_a_long_silence_of_packets_is_believed_when_a_pause_follows() -> None:
    switch = in_packets(packet_s=10.0)
    assert sorted_out(switch, b"*IDN", 11.5) == (b"", b"*IDN")
    assert sorted_out(switch, b"?\r\n", 11.55) == (b"", b"?\r\n")
    assert switch.due_s == pytest.approx(11.65)
    assert sorted_out(switch, b"", 11.66) == (b"*IDN?\r\n", b"")
    assert sorted_out(switch, b"*OPC?\n", 12.0) == (b"*OPC?\n", b"")


def test_text_is_believed_at_once_when_the_packets_are_over() -> None:
    switch = in_packets(packet_s=10.0)
    switch.packets_over()
    assert sorted_out(switch, b"*IDN?\n", 10.01) == (b"*IDN?\n", b"")


@pytest.mark.parametrize(
    ("rest", "began_s"),
    [
        pytest.param(REQUEST[6:-6], 10.5, id="text soon after a packet"),
        pytest.param(REQUEST[6:], 15.0, id="beginning lost"),
        pytest.param(REQUEST[:-6], 15.0, id="end lost"),
        pytest.param(b"READ?", 15.0, id="no newline"),
        pytest.param(b"x" * 4096 + b"\n", 15.0, id="too long for a line"),
        pytest.param(b"", 15.0, id="nothing"),
    ],
)
def test_what_is_left_of_a_damaged_packet_is_no_text(rest: bytes, began_s: float) -> None:
    switch = in_packets(packet_s=10.0)
    assert sorted_out(switch, b"\0" + rest, began_s) == (b"", b"\0" + rest)
    assert sorted_out(switch, b"", began_s + 0.5) == (b"", b"")


def test_line_that_came_too_early_does_not_spoil_the_next() -> None:
    switch = in_packets(packet_s=10.0)
    switch.receive(b"*IDN?\n", 10.3)
    switch.receive(b"", 10.5)
    switch.receive(b"*IDN?\n", 11.2)
    assert sorted_out(switch, b"", 11.4) == (b"*IDN?\n", b"")
