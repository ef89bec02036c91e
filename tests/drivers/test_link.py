"""The wire code of both ends: the same events however the bytes are split, and bounded memory."""

import re
import tracemalloc
from collections.abc import Callable, Iterable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import FrameError
from hil_drivers.link import (
    Answer,
    DeviceLink,
    HostLink,
    Request,
    encode_answer,
    encode_request,
)
from hil_drivers.link_fault import FaultKind, FrameFault
from hil_drivers.ring import Ring

LINE_BYTES = 4096
BLOCK_BYTES = 64 << 20

Events = tuple[list[tuple[int | None, str, bytes | None]], str | None]
"""Tag, text and block of every message, and the words of the failure that ended them."""
Role = Callable[[Iterable[bytes]], Events]


def hear(link: HostLink, data: bytes) -> list[Answer]:
    """Give the host's end bytes as a transport would: through its own buffer."""
    answers = []
    while data:
        buffer = link.writable()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        buffer.release()
        answers += link.received(count)
        data = data[count:]
    return answers


def host_events(pieces: Iterable[bytes]) -> Events:
    """Return every answer, and the words of the failure that ended them."""
    link = HostLink(largest_block=1000)
    answers: list[Answer] = []
    try:
        for piece in pieces:
            answers += hear(link, piece)
    except FrameError:
        pass
    failure = None if link.failure is None else str(link.failure)
    plain = [(a.tag, a.text, None if a.block is None else bytes(a.block)) for a in answers]
    return plain, failure


def device_events(pieces: Iterable[bytes]) -> Events:
    """Return every request, and the words of the failure that ended them."""
    link = DeviceLink(largest_block=1000)
    requests: list[Request] = []
    try:
        for piece in pieces:
            requests += link.receive(piece)
    except FrameError:
        pass
    failure = None if link.failure is None else str(link.failure)
    return [(r.tag, r.text, r.block) for r in requests], failure


def single_bytes(data: bytes) -> list[bytes]:
    """Return the bytes one by one."""
    return [data[position : position + 1] for position in range(len(data))]


@st.composite
def pieces_of(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> list[bytes]:
    """Draw a stream and a way to split it."""
    data = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


WORDS = st.text(st.sampled_from("ABz?:* ,;!@-019"), max_size=12)
TAGS = st.one_of(st.none(), st.integers(0, 2**32 - 1))
BLOCKS = st.binary(max_size=40)
GARBAGE = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"#0\n", b"@5 #x\n", b"@7 #14abcd!", b"@7 #9999999999", b"#3-12", b"@9 #10\r\r\n", b"\r\n"]
    ),
)
ANSWERS = st.builds(encode_answer, TAGS, st.one_of(WORDS, BLOCKS))
REQUESTS = st.builds(encode_request, TAGS, WORDS, st.one_of(st.none(), BLOCKS))


@given(pieces_of(st.lists(st.one_of(ANSWERS, ANSWERS, GARBAGE), max_size=6).map(b"".join)))
@settings(max_examples=300, deadline=None)
def test_any_split_gives_the_host_the_same_events(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert host_events(pieces) == host_events([whole]) == host_events(single_bytes(whole))


@given(pieces_of(st.lists(st.one_of(REQUESTS, REQUESTS, GARBAGE), max_size=6).map(b"".join)))
@settings(max_examples=300, deadline=None)
def test_any_split_gives_the_device_the_same_events(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert device_events(pieces) == device_events([whole]) == device_events(single_bytes(whole))


@given(
    messages=st.lists(
        st.tuples(TAGS, st.sampled_from(["*IDN?", "INP:DATA", 'NMPU:FORM "a=1,b=#;"']), BLOCKS),
        max_size=5,
        unique_by=lambda message: -1 if message[0] is None else message[0],
    ),
    has_block=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_device_gets_what_the_host_sent(
    messages: list[tuple[int | None, str, bytes]], *, has_block: bool
) -> None:
    sent = [(tag, text, block if has_block else None) for tag, text, block in messages]
    stream = b"".join(encode_request(tag, text, block) for tag, text, block in sent)
    assert device_events([stream]) == (sent, None)


@given(st.lists(st.tuples(TAGS, BLOCKS), max_size=5))
@settings(max_examples=100, deadline=None)
def test_host_gets_what_the_device_sent(messages: list[tuple[int | None, bytes]]) -> None:
    stream = b"".join(encode_answer(tag, block) for tag, block in messages)
    assert host_events([stream]) == ([(tag, "", block) for tag, block in messages], None)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"@7 OK\n", (7, "OK", None)),
        (b"@7 OK\r\n", (7, "OK", None)),
        (b"@4294967295 1\n", (4294967295, "1", None)),
        (b"@7 \n", (7, "", None)),
        (b"@7\n", (7, "", None)),
        (b"\n", (None, "", None)),
        (b"hello\n", (None, "hello", None)),
        (b"@4294967296 1\n", (None, "@4294967296 1", None)),
        (b"@12345678901 1\n", (None, "@12345678901 1", None)),
        (b"@ 1\n", (None, "@ 1", None)),
        (b"@-1 1\n", (None, "@-1 1", None)),
        (b"@7OK\n", (None, "@7OK", None)),
        (b"@7 a#15\n", (7, "a#15", None)),
        (b"@7 #15a\nb\nc\n", (7, "", b"a\nb\nc")),
        (b"@7 #9000000001x\r\n", (7, "", b"x")),
        (b"#10\n", (None, "", b"")),
        (b"@7 \xff\n", (7, "\ufffd", None)),
    ],
)
def test_host_reads_one_answer(data: bytes, answer: tuple[int | None, str, bytes | None]) -> None:
    assert host_events([data]) == ([answer], None)


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (b"@7 *IDN?\n", (7, "*IDN?", None)),
        (b"@7 *IDN?\r\n", (7, "*IDN?", None)),
        (b"*IDN?\n", (None, "*IDN?", None)),
        (b"@7\n", (7, "", None)),
        (b"@4294967296 *IDN?\n", (None, "@4294967296 *IDN?", None)),
        (b"@x *IDN?\n", (None, "@x *IDN?", None)),
        (b"@7 INP:DATA #13\n#\n\n", (7, "INP:DATA", b"\n#\n")),
        (b"@7 INP:DATA #11x\r\n", (7, "INP:DATA", b"x")),
        (b"@7 A '#15', \"#\"\n", (7, "A '#15', \"#\"", None)),
        (b'@7 A "it\'s" #10\n', (7, 'A "it\'s"', b"")),
    ],
)
def test_device_reads_one_request(
    data: bytes, request_: tuple[int | None, str, bytes | None]
) -> None:
    assert device_events([data]) == ([request_], None)


@pytest.mark.parametrize("role", [host_events, device_events], ids=["host", "device"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x" * LINE_BYTES, "4096 bytes without a newline"),
        (b"@7 #41001", "block of 1001 bytes: at most 1000"),
        (b"@7 #9999999999", "block of 999999999 bytes: at most 1000"),
        (b"@7 #3-12", "byte b'-' in a block's length: must be 3 digits"),
        (b"@7 #12abX", r"byte b'X' after a block"),
        (b"@7 #12abcd\n", r"byte b'c' after a block"),
        (b"@7 #12ab\rX", r"byte b'.*X' after a block|byte b'.r' after a block"),
    ],
    ids=["endless_line", "one_too_many", "huge", "length", "terminator", "longer", "carriage"],
)
def test_bytes_that_are_no_message_are_named(role: Role, data: bytes, words: str) -> None:
    events, failure = role([data])
    assert events == []
    assert failure is not None
    assert re.search(words, failure)


@pytest.mark.parametrize("data", [b"@7 A #0\n", b"@7 A #H1F\n", b"#\n"])
def test_device_refuses_a_number_sign_that_begins_no_block(data: bytes) -> None:
    assert device_events([data]) == ([], "malformed block: '#' must be followed by a digit 1 to 9")


@pytest.mark.parametrize("role", [host_events, device_events], ids=["host", "device"])
def test_longest_line_is_taken(role: Role) -> None:
    text = "y" * (LINE_BYTES - 1)
    assert role([text.encode() + b"\n"]) == ([(None, text, None)], None)


@pytest.mark.parametrize("role", [host_events, device_events], ids=["host", "device"])
@pytest.mark.parametrize(
    "data", [b"", b"@", b"@7 ", b"@7 #", b"@7 #1", b"@7 #15abc", b"@7 #12ab", b"@7 #12ab\r"]
)
def test_truncated_message_is_no_event(role: Role, data: bytes) -> None:
    assert role([data]) == ([], None)


def test_answers_before_garbage_are_still_returned() -> None:
    link = HostLink()
    assert [answer.text for answer in hear(link, b"@1 OK\n@2 #1x")] == ["OK"]
    assert link.failure is not None


def test_requests_before_garbage_are_still_returned() -> None:
    link = DeviceLink()
    assert [request.text for request in link.receive(b"@1 *IDN?\n#0")] == ["*IDN?"]
    with pytest.raises(FrameError, match="malformed block"):
        link.receive(b"")


def test_host_hears_nothing_after_garbage() -> None:
    link = HostLink()
    with pytest.raises(FrameError):
        hear(link, b"@1 #12abX")
    with pytest.raises(FrameError, match="byte b'X' after a block"):
        hear(link, b"\n@2 OK\n")


def test_device_hears_nothing_after_garbage() -> None:
    link = DeviceLink()
    with pytest.raises(FrameError):
        link.receive(b"#0\n")
    with pytest.raises(FrameError, match="malformed block"):
        link.receive(b"*IDN?\n")


@pytest.mark.parametrize(
    "claim", [b"#9999999999", b"#867108865"], ids=["largest_of_the_format", "64_mib_and_1"]
)
def test_host_refuses_a_huge_block_before_it_makes_room(claim: bytes) -> None:
    link = HostLink()
    tracemalloc.start()
    with pytest.raises(FrameError, match="at most 67108864"):
        hear(link, b"@1 " + claim)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_largest_block_is_64_mib() -> None:
    link = HostLink()
    assert hear(link, b"@1 #867108864") == []
    assert len(link.writable()) == BLOCK_BYTES


def test_device_makes_no_room_for_a_block_that_is_only_claimed() -> None:
    link = DeviceLink()
    tracemalloc.start()
    assert link.receive(b"@1 INP:DATA #867108864") == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("piece", [b"x" * 1000, b"@7 " + b"9" * 997], ids=["letters", "digits"])
def test_endless_line_is_given_up_within_the_limit(piece: bytes) -> None:
    link = HostLink()
    for _ in range(4):
        hear(link, piece)
    with pytest.raises(FrameError, match="4096 bytes without a newline"):
        hear(link, piece)


def test_block_is_received_straight_into_its_place() -> None:
    link = HostLink()
    hear(link, b"@1 #43000")
    assert link.is_inside_block
    assert len(link.writable()) == 3000
    hear(link, b"z" * 3000)
    assert not link.is_inside_block
    (answer,) = hear(link, b"\n")
    assert answer.block == b"z" * 3000


@given(pieces_of(st.lists(st.one_of(ANSWERS, GARBAGE), max_size=6).map(b"".join)))
@settings(max_examples=200, deadline=None)
def test_any_split_gives_the_same_faults(pieces: list[bytes]) -> None:
    def faults(parts: list[bytes]) -> tuple[list[FaultKind | None], FaultKind | None]:
        link = HostLink(largest_block=1000)
        link.expect(2**31)
        answers: list[Answer] = []
        with suppress(FrameFault):
            for part in parts:
                answers += hear(link, part)
        kind = None if link.failure is None else link.failure.kind
        return [answer.fault for answer in answers], kind

    whole = b"".join(pieces)
    assert faults(pieces) == faults([whole]) == faults(single_bytes(whole))


@pytest.mark.parametrize(
    ("expected", "tag", "fault"),
    [
        (7, b"@7 ", None),
        (7, b"@6 ", FaultKind.STALE_TAG),
        (7, b"@1 ", FaultKind.STALE_TAG),
        (7, b"@8 ", FaultKind.SKIPPED_TAG),
        (7, b"@2147483655 ", FaultKind.SKIPPED_TAG),
        (7, b"@2147483656 ", FaultKind.STALE_TAG),
        (7, b"@0 ", FaultKind.GARBLED_REQUEST),
        (7, b"", FaultKind.NO_TAG),
        (7, b"@4294967296 ", FaultKind.NO_TAG),
        (1, b"@4294967295 ", FaultKind.STALE_TAG),
        (4294967295, b"@1 ", FaultKind.SKIPPED_TAG),
        (4294967295, b"@4294967294 ", FaultKind.STALE_TAG),
        (3000000000, b"@852516353 ", FaultKind.STALE_TAG),
        (3000000000, b"@852516351 ", FaultKind.SKIPPED_TAG),
    ],
)
def test_what_is_wrong_with_a_tag_is_named(
    expected: int, tag: bytes, fault: FaultKind | None
) -> None:
    link = HostLink()
    link.expect(expected)
    (answer,) = hear(link, tag + b"1\n")
    assert answer.fault is fault


def test_second_answer_to_a_request_is_named() -> None:
    link = HostLink()
    link.expect(7)
    faults = [answer.fault for answer in hear(link, b"@7 a\n@7 a\n@7 b\n")]
    assert faults == [None, FaultKind.REPEATED_TAG, FaultKind.REPEATED_TAG]
    link.expect(8)
    assert [answer.fault for answer in hear(link, b"@8 c\n")] == [None]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"x" * LINE_BYTES, FaultKind.OVERSIZE),
        (b"@7 #9999999999", FaultKind.OVERSIZE),
        (b"@7 #12abX", FaultKind.GARBAGE),
        (b"@7 #3-12", FaultKind.GARBAGE),
    ],
)
def test_bytes_that_are_no_answer_have_a_kind(data: bytes, kind: FaultKind) -> None:
    link = HostLink()
    with pytest.raises(FrameFault) as caught:
        hear(link, data)
    assert caught.value.kind is kind


def test_length_of_4_gib_is_refused_before_room_is_made() -> None:
    link = HostLink()
    tracemalloc.start()
    with pytest.raises(FrameFault, match="block of 999999999 bytes") as caught:
        hear(link, b"@1 #9999999999")  # nine digits are the most that the format has
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.kind is FaultKind.OVERSIZE
    assert peak < 1 << 20


def test_request_that_comes_twice_is_handed_on_once() -> None:
    link = DeviceLink()
    heard = link.receive(b"@7 READ?\n@7 READ?\n@8 READ?\nREAD?\nREAD?\n")
    assert [(request.tag, request.text) for request in heard] == [
        (7, "READ?"),
        (8, "READ?"),
        (None, "READ?"),
        (None, "READ?"),
    ]
    assert link.repeated_requests == 1


def test_request_with_the_same_number_and_another_text_is_another() -> None:
    link = DeviceLink()
    assert len(link.receive(b"@7 CORE:SEL 1\n@7 CORE:SEL 2\n")) == 2


# --- blocks that are pushed, and lent memory -----------------------------------------------------


def test_pushed_blocks_answer_no_request_however_they_are_split() -> None:
    data = b"@5 OK\n@5 #13abc\n@6 OK\n@5 #13def\n@5 late\n"
    for at_once in range(1, len(data)):
        link, ring = HostLink(), Ring(4, 10)
        link.expect(5)
        link.listen(5, ring)
        answers = []
        for start in range(0, len(data), at_once):
            answers += hear(link, data[start : start + at_once])
            if answers:
                link.expect(6)
        assert [(a.text, a.block, a.is_pushed) for a in answers] == [
            ("OK", None, False),
            ("", b"abc", True),
            ("OK", None, False),
            ("", b"def", True),
            ("late", None, False),
        ]
        assert answers[-1].fault is FaultKind.STALE_TAG
        assert ring.free == 2


def test_blocks_are_received_into_the_memory_that_was_lent() -> None:
    link, ring = HostLink(), Ring(2, 10)
    link.expect(7, ring)
    (answer,) = hear(link, b"@7 #13abc\n")
    assert isinstance(answer.block, memoryview)
    assert any(answer.block.obj is slot.obj for slot in ring.slots)
    (answer,) = hear(link, b"@7 #13def\n")  # one that comes again is nobody's
    assert answer.fault is FaultKind.REPEATED_TAG
    assert ring.free == 1


def test_memory_of_a_block_that_did_not_end_is_given_back() -> None:
    link, ring = HostLink(), Ring(2, 10)
    link.listen(5, ring)
    hear(link, b"@5 #13a")
    assert ring.free == 1
    link.abandon()
    assert ring.free == 2


def test_more_than_there_is_room_for_is_a_named_error() -> None:
    link, ring = HostLink(), Ring(2, 10)
    link.listen(5, ring)
    assert len(hear(link, b"@5 #11a\n" * 2 + b"@5 #11a\n")) == 2
    with pytest.raises(FrameFault, match="no room for it") as caught:
        hear(link, b"x")
    assert caught.value.kind is FaultKind.OVERSIZE


def test_parts_of_a_block_are_joined() -> None:
    assert encode_answer(7, [b"ab", memoryview(b"cd")]) == b"@7 #14abcd\n"
