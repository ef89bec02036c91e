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
    b"1\n@1 OK\n1;FOUR\n"
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


# --- carriers that mark the end of a message -----------------------------------------------------


def test_end_makes_a_message_whole_without_a_newline() -> None:
    device = new_device()
    assert list(device.answers(b"*OPC?")) == []
    assert list(device.end_message()) == [b"1\n"]


def test_end_after_a_newline_adds_nothing() -> None:
    device = new_device()
    assert list(device.answers(b"*OPC?\n")) == [b"1\n"]
    assert b"".join(device.end_message()) == b""
    assert device.receive(b"SYST:ERR?\n") == b'0,"No error"\n'


# Where the end's newline would be the content's last byte, the message must not become whole.
@pytest.mark.parametrize("part", [b"CORE:PROG #15abcd", b"CORE:PROG #15", b"CORE:PROG #15abcde"])
def test_end_inside_a_block_is_an_error_and_the_next_message_is_read(part: bytes) -> None:
    device = new_device()
    device.receive(part)
    assert b"".join(device.end_message()) == b""
    answer = device.receive(b"SYST:ERR?\n")
    assert answer.startswith(b"-160," if part.endswith(b"e") else b"-161,")


def test_end_after_garbage_starts_afresh() -> None:
    device = new_device()
    assert device.receive(b"CORE:PROG #x and more").startswith(b"@0 !-160,")
    assert list(device.end_message()) == []
    assert not device.is_lost
    assert device.receive(b"*OPC?\n") == b"1\n"


def test_end_that_makes_garbage_of_a_message_says_so_and_starts_afresh() -> None:
    device = new_device()
    assert device.receive(b"CORE:PROG #") == b""
    assert b"".join(device.end_message()).startswith(b"@0 !-160,")
    assert device.receive(b"*OPC?\n") == b"1\n"


def test_clear_forgets_half_a_message() -> None:
    device = new_device()
    device.receive(b"CORE:SEL 1;CORE:PROG #15he")
    device.clear()
    assert device.receive(b"CORE:SEL?\n") == b"0\n"


# --- clients and their lock ----------------------------------------------------------------------


def new_devices(count: int) -> list[MockDevice]:
    firmware = Firmware(ChipModel(ideal_profile()))
    return [MockDevice(firmware) for _ in range(count)]


def test_clients_have_numbers_of_their_own() -> None:
    assert [device.client for device in new_devices(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "command", [b"CORE:SEL 1", b"READ:MODE ONEP", b"READ?", b"*RST", b"*CLS", b"*ESE 1", b"*SRE 1"]
)
def test_who_is_locked_out_may_change_nothing(command: bytes) -> None:
    first, second = new_devices(2)
    assert first.receive(b"@1 SYST:LOCK:REQ?\n") == b"@1 1\n"
    assert second.receive(b"@1 " + command + b"\n") == (
        b'@1 !-203,"Command protected; client 1 holds the lock"\n'
    )
    assert first.receive(b"@2 CORE:SEL?\n") == b"@2 0\n"


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"*IDN?", b"aimc-hil,mock-chip,ideal-0,1.0"),
        (b"SYST:ERR?", b'0,"No error"'),
        (b"TEMP?", b"25.000"),
        (b"SYST:LOCK:REQ?", b"0"),
        (b"SYST:LOCK:OWN?", b"1"),
        (b"SYST:LOCK:REL", b"OK"),
        (b"SAFE", b"OK"),
        (b"*OPC", b"OK"),
    ],
    ids=lambda part: part.decode(),
)
def test_who_is_locked_out_may_ask_and_make_safe(request_bytes: bytes, answer: bytes) -> None:
    first, second = new_devices(2)
    first.receive(b"SYST:LOCK:REQ?\n")
    assert second.receive(b"@1 " + request_bytes + b"\n") == b"@1 " + answer + b"\n"
    assert first.receive(b"SYST:LOCK:OWN?\n") == b"1\n"


def test_plain_command_of_who_is_locked_out_is_queued_as_an_error() -> None:
    first, second = new_devices(2)
    first.receive(b"SYST:LOCK:REQ?\n")
    assert second.receive(b"CORE:SEL 1;SEL?;:SYST:ERR?\n").startswith(b"0;-203,")


def test_lock_is_free_after_its_release_and_after_its_client_has_gone() -> None:
    first, second = new_devices(2)
    assert first.receive(b"SYST:LOCK:OWN?;REQ?;REQ?;OWN?;REL;OWN?\n") == b"NONE;1;1;1;NONE\n"
    first.receive(b"SYST:LOCK:REQ?\n")
    assert second.receive(b"SYST:LOCK:REQ?\n") == b"0\n"
    first.leave()
    assert second.receive(b"SYST:LOCK:REQ?;:CORE:SEL 1;SEL?\n") == b"1;1\n"


# --- the loopback transport ----------------------------------------------------------------------


def received(transport: LoopbackTransport, size: int = 100) -> bytes:
    buffer = bytearray(size)
    count = transport.receive_into(memoryview(buffer), is_whole=False, timeout_s=1)
    return bytes(buffer[:count])


def test_loopback_hands_out_answers_in_the_pieces_asked_for() -> None:
    transport = LoopbackTransport(new_device(), resource="here")
    transport.send(b"READ:MODE?\n", timeout_s=1)
    assert [received(transport, 3), received(transport, 3)] == [b"FOU", b"R\n"]


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
