"""Cutting a client's bytes into messages, whatever they are and wherever they are split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.core.errors import FrameError
from hil_drivers.link import DeviceLink
from hil_mock_device.faults.message_splitter import MessageSplitter, block_span

MESSAGES = [
    b"@1 *IDN?\n",
    b"SAFE;*OPC?\r\n",
    b"\n",
    b"@2 INP:DATA #15a\nb#c\n",
    b"@3 INP:DATA #210#1\"'\n4567\r\n",
    b'NMPU:FORM "a#1b=1"\n',
    b"NMPU:FORM 'it is \"#\"' #13abc\n",
    b"X #11\n\n",
]


@given(st.lists(st.sampled_from(MESSAGES)), st.data())
def test_messages_come_out_whole_however_the_stream_is_split(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter, found = MessageSplitter(100), list[bytes]()
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.split(stream[start:stop])
    assert found == messages


@given(st.lists(st.one_of(st.sampled_from(MESSAGES), st.binary(max_size=30)), max_size=6))
def test_no_byte_is_lost_and_the_device_hears_the_same(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    splitter = MessageSplitter(100)
    pieces = splitter.split(stream)
    rest, _ = splitter.flush()
    assert b"".join(pieces) + rest == stream
    assert heard([*pieces, rest]) == heard([stream])


def heard(pieces: list[bytes]) -> tuple[list[object], str]:
    link, requests = DeviceLink(100), list[object]()
    try:
        for piece in pieces:
            requests += link.receive(piece)
    except FrameError:
        pass
    return requests, str(link.failure)


@pytest.mark.parametrize(
    "senseless",
    [b"X #0abc\n", b"X #999999999999", b"X #2x2", b"x" * 5000, b"X #3200" + b"y" * 5, b"X #13abcd"],
    ids=["indefinite", "endless", "no number", "no newline", "too long", "no end"],
)
def test_what_is_no_message_is_handed_on_at_once_and_so_is_all_after_it(senseless: bytes) -> None:
    splitter = MessageSplitter(100)
    assert splitter.split(b"@1 SAFE\n" + senseless) == [b"@1 SAFE\n", senseless]
    assert splitter.split(b"half") == [b"half"]


def test_flush_tells_whether_it_was_inside_a_block() -> None:
    splitter = MessageSplitter(100)
    splitter.split(b"@1 INP:DATA #15ab")
    assert splitter.flush() == (b"@1 INP:DATA #15ab", True)
    splitter.split(b"@1 *IDN?")
    assert splitter.flush() == (b"@1 *IDN?", False)
    assert splitter.flush() == (b"", False)


@pytest.mark.parametrize(
    ("message", "span"),
    [
        (b"@5 #13abc\n", (6, 9)),
        (b"@5 #210abcdefghij\n", (7, 17)),
        (b"@5 OK\n", None),
        (b'@5 "#13abc"\n', None),
        (b"@5 #\n", None),
    ],
)
def test_block_is_found(message: bytes, span: tuple[int, int] | None) -> None:
    assert block_span(message) == span
