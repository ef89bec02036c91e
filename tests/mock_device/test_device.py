"""One conversation: bytes in, bytes out, and what becomes of it when the bytes make no sense."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import LinkLostError, TransportTimeoutError
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.loopback import LoopbackTransport
from small_profiles import ideal_profile

CONVERSATION = b"*OPC?\n@1 CORE:SEL 1\r\nCORE:SEL?;READ:MODE?\n@2 CORE:PROG #15hello\n@3 BAD\n"
ANSWERS = (
    b"1\n@1 OK\n1\nFOUR\n"
    b'@2 !-160,"Block data error; frame of 5 bytes: must be at least 36"\n'
    b'@3 !-113,"Undefined header; BAD"\n'
)


def new_device() -> MockDevice:
    return MockDevice(Firmware(ChipModel(ideal_profile())))


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(1, len(CONVERSATION) - 1)))
def test_splitting_the_bytes_changes_no_answer(cuts: set[int]) -> None:
    device = new_device()
    edges = [0, *sorted(cuts), len(CONVERSATION)]
    answers = [device.receive(CONVERSATION[start:stop]) for start, stop in pairwise(edges)]
    assert b"".join(answers) == ANSWERS


GARBAGE = pytest.mark.parametrize(
    "garbage",
    [
        b"CORE:PROG #x\n",
        b"CORE:PROG #15helloX\n",
        b"CORE:PROG #9999999999",
        b"CORE:PROG #3a00",
        b"A" * 5000,
    ],
    ids=["no digit", "no newline after the block", "block too large", "no length", "endless line"],
)


@GARBAGE
def test_garbage_is_answered_once_and_ends_the_conversation(garbage: bytes) -> None:
    device = new_device()
    answer = device.receive(garbage)
    assert answer.startswith(b'@0 !-160,"Block data error; ')
    assert answer.count(b"\n") == 1
    assert device.is_lost
    assert device.receive(b"*OPC?\n") == b""


def test_requests_before_the_garbage_are_answered_first() -> None:
    device = new_device()
    answer = device.receive(b"*OPC?\n@7 CORE:SEL?\nCORE:PROG #x\n")
    assert answer.startswith(b"1\n@7 0\n@0 !-160,")
    assert device.is_lost


def test_garbage_of_one_client_is_queued_for_the_others_to_see() -> None:
    firmware = Firmware(ChipModel(ideal_profile()))
    MockDevice(firmware).receive(b"CORE:PROG #x\n")
    other = MockDevice(firmware)
    assert other.receive(b"SYST:ERR?\n").startswith(b'-160,"Block data error; ')
    assert other.receive(b"SYST:ERR?\n") == b'0,"No error"\n'


def test_block_somewhat_too_large_is_refused_without_losing_the_link() -> None:
    # The largest legal block is 4096 vectors of 3 rows: 12,324 bytes with header and CRC.
    device = new_device()
    answer = device.receive(b"@1 INP:DATA #520000" + bytes(20000) + b"\n")
    assert answer.startswith(b"@1 !-160,")
    assert device.receive(b"@2 *OPC?\n") == b"@2 1\n"


def test_block_far_too_large_is_refused_before_it_arrives() -> None:
    device = new_device()
    assert b"block of 64000000 bytes: at most 24648" in device.receive(b"@1 INP:DATA #864000000")
    assert device.is_lost


def test_conversations_share_one_instrument() -> None:
    firmware = Firmware(ChipModel(ideal_profile()))
    first, second = MockDevice(firmware), MockDevice(firmware)
    first.receive(b"CORE:SEL 1\n")
    assert second.receive(b"CORE:SEL?\n") == b"1\n"


def test_half_a_message_of_one_client_does_not_reach_another() -> None:
    firmware = Firmware(ChipModel(ideal_profile()))
    first, second = MockDevice(firmware), MockDevice(firmware)
    assert first.receive(b"CORE:PROG #15he") == b""
    assert second.receive(b"*OPC?\n") == b"1\n"


def test_answers_come_one_request_at_a_time() -> None:
    device = new_device()
    answers = device.answers(b"CORE:SEL 1\nCORE:SEL?\nCORE:SEL 0\nCORE:SEL?\n")
    assert [next(answers), next(answers)] == [b"", b"1\n"]
    # What has not been asked for has not been done.
    assert device.receive(b"CORE:SEL?\n") == b"1\n"
    assert list(answers) == [b"", b"0\n"]


# --- the loopback transport ----------------------------------------------------------------------


def received(transport: LoopbackTransport, size: int = 100) -> bytes:
    buffer = bytearray(size)
    count = transport.receive_into(memoryview(buffer), is_whole=False, timeout_s=1)
    return bytes(buffer[:count])


def test_loopback_hands_out_answers_in_the_pieces_asked_for() -> None:
    transport = LoopbackTransport(new_device(), resource="here")
    transport.send(b"*OPC?\nREAD:MODE?\n", timeout_s=1)
    assert [received(transport, 3), received(transport, 3)] == [b"1\nF", b"OUR"]


def test_loopback_without_an_answer_is_a_timeout_not_a_wait() -> None:
    transport = LoopbackTransport(new_device(), resource="here")
    with pytest.raises(TransportTimeoutError, match="here: no answer within 1 s"):
        received(transport)


def test_loopback_gives_the_last_words_of_a_lost_link_then_says_so() -> None:
    transport = LoopbackTransport(new_device(), resource="here")
    transport.send(b"CORE:PROG #x\n", timeout_s=1)
    assert received(transport).startswith(b"@0 !-160,")
    with pytest.raises(LinkLostError):
        received(transport)
    with pytest.raises(LinkLostError):
        transport.send(b"*OPC?\n", timeout_s=1)


def test_closed_loopback_carries_nothing() -> None:
    transport = LoopbackTransport(new_device(), resource="here")
    transport.close()
    transport.close()
    with pytest.raises(LinkLostError):
        transport.send(b"*OPC?\n", timeout_s=1)
