"""A replayed conversation is the device's own, apart from its times and faults."""

from collections.abc import Callable

import pytest

import example_steps as example
from hil.core.readout import ReadMode
from hil_drivers.frames import Frame, FrameKind, encode_frame
from hil_drivers.link import encode_request
from hil_mock_device.conversation import Conversation, Outgoing, Wait
from hil_mock_device.replay_conversation import ReplayInstrument, Tempo
from recorded_blocks import even_recording, inputs_of


@pytest.fixture
def conversation() -> Conversation:
    recording = even_recording(3, every_s=1.0, answer_s=0.5)
    return ReplayInstrument(recording, Tempo(), clock=lambda: 7.0).conversation()


def drive(block: int) -> bytes:
    """Return the messages before a ``READ?`` of one block, in one piece."""
    frame = Frame(
        kind=FrameKind.INPUTS,
        sequence=3,
        core=0,
        read_mode=ReadMode.ONE_PHASE,
        payload=inputs_of(3)[block][None],
    )
    messages = (
        encode_request(1, "CORE:SELect 0"),
        encode_request(2, "READ:MODE ONEPhase"),
        encode_request(3, "INPut:DATA", encode_frame(frame)),
    )
    return b"".join(messages)


def test_only_the_readout_in_a_piece_of_several_requests_waits(conversation: Conversation) -> None:
    items = list(conversation.answers(drive(0) + b"@4 READ?\n@5 *IDN?\n"))
    assert items[:3] == [b"@1 OK\n", b"@2 OK\n", b"@3 OK\n"]
    assert items[3] == Wait(0.5)
    assert isinstance(items[4], bytes)
    assert items[4].startswith(b"@4 #")
    assert items[5:] == [b"@5 Acme,AIMC-4x3,42,1.0\n"]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_split_of_the_bytes_makes_no_difference(conversation: Conversation, size: int) -> None:
    data = drive(0) + b"@4 READ?\n"
    items: list[Outgoing] = []
    for start in range(0, len(data), size):
        items += conversation.answers(data[start : start + size])
    assert items[3] == Wait(0.5)
    assert len(items) == 5


def test_readout_whose_message_ends_without_a_newline_waits_too(conversation: Conversation) -> None:
    list(conversation.answers(drive(0)))
    assert list(conversation.answers(b"@4 READ?")) == []
    wait, answer = conversation.end_message()
    assert wait == Wait(0.5)
    assert isinstance(answer, bytes)


def test_plain_readout_waits_too(conversation: Conversation) -> None:
    list(conversation.answers(drive(0)))
    wait, answer = conversation.answers(b"read?\n")
    assert wait == Wait(0.5)
    assert isinstance(answer, bytes)
    assert answer.startswith(b"#")


@pytest.mark.parametrize(
    "forget", [lambda talk: talk.clear(), lambda talk: list(talk.end_message())]
)
def test_half_a_message_is_forgotten(
    conversation: Conversation, forget: Callable[[Conversation], object]
) -> None:
    list(conversation.answers(drive(0)))
    list(conversation.answers(b"@4 INPut:DATA #3100ab"))
    forget(conversation)
    wait, _ = conversation.answers(b"@5 READ?\n")
    assert wait == Wait(0.5)


def test_bytes_that_are_no_message_get_the_devices_last_words(conversation: Conversation) -> None:
    items = list(conversation.answers(b"@1 CORE:SELect 0\n@2 INPut:DATA #0\n"))
    assert items[0] == b"@1 OK\n"
    assert isinstance(items[1], bytes)
    assert items[1].startswith(b"@0 !")
    assert conversation.is_lost
    assert list(conversation.answers(b"@3 *IDN?\n")) == []


def test_refused_readout_does_not_wait(conversation: Conversation) -> None:
    (answer,) = conversation.answers(b"@1 READ?\n")
    assert isinstance(answer, bytes)
    assert answer.startswith(b"@1 !-221")


def test_clients_have_different_numbers_and_one_schedule() -> None:
    recording = even_recording(3, every_s=1.0, answer_s=0.5)
    now = [0.0]
    instrument = ReplayInstrument(recording, Tempo(), clock=lambda: now[0])
    one, other = instrument.conversation(), instrument.conversation()
    assert one.client != other.client
    list(one.answers(drive(0) + b"@4 READ?\n"))
    now[0] = 0.5
    items = list(other.answers(drive(1) + b"@4 READ?\n"))
    assert items[3] == Wait(1.0), "the second block, 1.5 s after the first one's request"


def test_leaving_frees_the_lock(conversation: Conversation) -> None:
    assert list(conversation.answers(b"SYST:LOCK:REQ?\n")) == [b"1\n"]
    conversation.leave()
    assert list(conversation.answers(b"SYST:LOCK:OWN?\n")) == [b"NONE\n"]


def test_identity_is_the_recorded_one(conversation: Conversation) -> None:
    (answer,) = conversation.answers(b"*IDN?\n")
    assert answer == f"{example.CHIP.manufacturer},{example.CHIP.model},42,1.0\n".encode()
