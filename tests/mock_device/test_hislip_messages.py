"""HiSLIP's messages: golden bytes packed by hand, and any split of the stream gives the same."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import FrameError
from hil_mock_device.hislip_messages import (
    ErrorCode,
    HislipMessage,
    HislipReader,
    MessageType,
    OversizeMessage,
    code_for_unrecognized,
    encode_message,
)

GOLDEN = [
    (
        HislipMessage(type=0, parameter=0x0100_7878, payload=b"hislip0"),
        "4853 00 00 01007878 0000000000000007 6869736c697030",
    ),
    (HislipMessage(type=1, parameter=0x0100_0001), "4853 01 00 01000001 0000000000000000"),
    (
        HislipMessage(type=7, control=1, parameter=0xFFFFFF00, payload=b"*IDN?\n"),
        "4853 07 01 ffffff00 0000000000000006 2a49444e3f0a",
    ),
    (HislipMessage(type=22, control=0x50), "4853 16 50 00000000 0000000000000000"),
    (
        HislipMessage(type=15, payload=bytes(5) + b"\x10\x00\x00"),
        "4853 0f 00 00000000 0000000000000008 0000000000100000",
    ),
]


@pytest.mark.parametrize(("message", "data"), GOLDEN, ids=lambda part: str(part)[:24])
def test_message_has_the_bytes_packed_by_hand(message: HislipMessage, data: str) -> None:
    assert encode_message(message) == bytes.fromhex(data)
    assert HislipReader(100).receive(bytes.fromhex(data)) == [message]


def test_message_types_have_the_numbers_of_the_specification() -> None:
    # IVI-6.1, table of the numeric values of message type codes.
    names = (
        "INITIALIZE INITIALIZE_RESPONSE FATAL_ERROR ERROR ASYNC_LOCK ASYNC_LOCK_RESPONSE DATA "
        "DATA_END DEVICE_CLEAR_COMPLETE DEVICE_CLEAR_ACKNOWLEDGE ASYNC_REMOTE_LOCAL_CONTROL "
        "ASYNC_REMOTE_LOCAL_RESPONSE TRIGGER INTERRUPTED ASYNC_INTERRUPTED "
        "ASYNC_MAXIMUM_MESSAGE_SIZE ASYNC_MAXIMUM_MESSAGE_SIZE_RESPONSE ASYNC_INITIALIZE "
        "ASYNC_INITIALIZE_RESPONSE ASYNC_DEVICE_CLEAR ASYNC_SERVICE_REQUEST ASYNC_STATUS_QUERY "
        "ASYNC_STATUS_RESPONSE ASYNC_DEVICE_CLEAR_ACKNOWLEDGE ASYNC_LOCK_INFO "
        "ASYNC_LOCK_INFO_RESPONSE"
    )
    assert [kind.name for kind in sorted(MessageType)] == names.split()
    assert sorted(MessageType) == list(range(26))


MESSAGES = st.builds(
    HislipMessage,
    type=st.integers(0, 255),
    control=st.integers(0, 255),
    parameter=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=40),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MESSAGES, max_size=5), st.data())
def test_any_split_of_the_stream_gives_the_same_messages(
    messages: list[HislipMessage], data: st.DataObject
) -> None:
    stream = b"".join(encode_message(message) for message in messages)
    cuts = data.draw(st.sets(st.integers(0, len(stream))))
    edges = sorted({0, len(stream)} | cuts)
    reader = HislipReader(20)
    heard = [
        message for start, stop in pairwise(edges) for message in reader.receive(stream[start:stop])
    ]
    assert heard == [
        message
        if len(message.payload) <= 20
        else OversizeMessage(type=message.type, length=len(message.payload))
        for message in messages
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=3), st.binary(min_size=1, max_size=40))
def test_garbage_is_found_at_its_first_bytes_and_stays(
    messages: list[HislipMessage], garbage: bytes
) -> None:
    if b"HS".startswith(garbage[:2]):
        garbage = b"hs" + garbage
    reader = HislipReader(40)
    stream = b"".join(encode_message(message) for message in messages)
    if messages:
        assert reader.receive(stream + garbage) == messages
    for _ in range(2):
        with pytest.raises(FrameError, match="must be b'HS'"):
            reader.receive(stream + garbage)
    assert reader.failure is not None


def test_length_of_every_bit_sets_no_memory_aside() -> None:
    reader = HislipReader(100)
    assert reader.receive(b"HS\x06\x00\x00\x00\x00\x00" + b"\xff" * 8) == []
    for _ in range(100):
        assert reader.receive(bytes(10_000)) == []
    assert len(reader._buffer) == 0


def test_message_after_one_that_was_too_large_is_read() -> None:
    reader = HislipReader(3)
    large = encode_message(HislipMessage(type=6, payload=b"HS" * 8))
    small = HislipMessage(type=7, payload=b"abc")
    assert reader.receive(large + encode_message(small)) == [
        OversizeMessage(type=6, length=16),
        small,
    ]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (26, ErrorCode.UNRECOGNIZED_MESSAGE_TYPE),
        (127, ErrorCode.UNRECOGNIZED_MESSAGE_TYPE),
        (128, ErrorCode.UNRECOGNIZED_VENDOR_MESSAGE),
        (255, ErrorCode.UNRECOGNIZED_VENDOR_MESSAGE),
    ],
)
def test_unknown_types_of_vendors_have_a_code_of_their_own(number: int, code: ErrorCode) -> None:
    assert code_for_unrecognized(number) is code
