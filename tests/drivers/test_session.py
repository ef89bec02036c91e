"""Requests and answers over a scripted link, with a clock that the test owns."""

import itertools
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest

import golden_frames
from golden_frames import with_crc
from hil.core.errors import (
    DeviceError,
    FrameError,
    LinkLostError,
    TransportError,
    TransportTimeoutError,
)
from hil_drivers.frames import FrameKind
from hil_drivers.link_fault import FaultKind, FrameFault, TruncatedAnswerError
from hil_drivers.session import Session
from scripted_transport import AnsweringTransport, Arrival, FakeClock, ScriptedTransport

TIMEOUT_S = 5.0


def talk(
    script: Iterable[bytes | Arrival], *, leaks: bool = False
) -> tuple[Session, ScriptedTransport, FakeClock]:
    """Open a session with a device that says what the script says."""
    clock = FakeClock()
    transport = ScriptedTransport(clock, script, leaks=leaks)
    return Session(transport, timeout_s=TIMEOUT_S, clock=clock), transport, clock


def frame_answer(tag: int, sequence: int, *, kind: int = 2) -> bytes:
    """Return an answer with a tiny frame."""
    body = b"HILF" + bytes([1, kind, 4, 1]) + sequence.to_bytes(4, "little")
    body += bytes.fromhex("0000 02 00 01000000 01000000 01000000 00000000 05")
    return b"@%d #237" % tag + with_crc(body) + b"\n"


def test_requests_are_numbered_from_one() -> None:
    session, transport, _ = talk([b"@1 OK\n", b"@2 25.0\n"])
    session.tell("SAFE")
    session.ask("TEMP?")
    assert transport.sent == [b"@1 SAFE\n", b"@2 TEMP?\n"]


def test_frame_is_made_with_the_number_of_its_request() -> None:
    session, transport, _ = talk([b"@1 OK\n", b"@2 OK\n"])
    session.tell("*RST")
    session.tell_frame("INP:DATA", lambda tag: b"<%d>" % tag)
    assert transport.sent[1] == b"@2 INP:DATA #13<2>\n"


def test_answer_in_single_bytes_is_put_together() -> None:
    session, _, _ = talk([b"@", b"1", b" ", b"h", b"i", b"\n"])
    assert session.ask("X?") == "hi"


def test_frame_is_returned() -> None:
    session, _, _ = talk([frame_answer(1, 1)])
    assert session.ask_frame("READ?", FrameKind.INPUTS).payload.tolist() == [[5]]


def test_late_answer_on_a_link_that_cannot_be_cleared_is_dropped_and_counted() -> None:
    session, transport, clock = talk([Arrival(7.0, b"@1 late\n"), b"@2 in time\n"], leaks=True)
    with pytest.raises(TransportTimeoutError):
        session.ask("SLOW?")
    assert clock.now_s == 1005.0
    assert session.ask("QUICK?") == "in time"
    assert (session.stale_answers, transport.cleared) == (1, 1)


def test_answer_that_was_cut_by_a_timeout_is_cleared_away() -> None:
    late = frame_answer(1, 1)
    session, transport, _ = talk([late[:30], Arrival(7.0, late[30:]), b"@2 in time\n"])
    with pytest.raises(TruncatedAnswerError, match="one began and did not end"):
        session.ask_frame("READ?", FrameKind.INPUTS)
    assert session.ask("QUICK?") == "in time"
    assert (session.stale_answers, transport.cleared) == (0, 1)


def test_link_in_step_is_not_cleared() -> None:
    session, transport, _ = talk([b'@1 !-222,"Data out of range"\n', b"@2 KO\n", b"@3 OK\n"])
    with pytest.raises(DeviceError):
        session.tell("CORE:SEL 9")
    with pytest.raises(FrameError):
        session.tell("SAFE")
    session.tell("SAFE")
    assert transport.cleared == 0


def test_tags_go_on_after_the_highest_with_one() -> None:
    clock = FakeClock()
    script = [b"@4294967295 a\n", b"@1 b\n", b"@4294967295 late\n@2 c\n"]
    transport = ScriptedTransport(clock, script)
    session = Session(transport, timeout_s=TIMEOUT_S, clock=clock, first_tag=4294967295)
    assert [session.ask("A?"), session.ask("B?"), session.ask("C?")] == ["a", "b", "c"]
    assert transport.sent == [b"@4294967295 A?\n", b"@1 B?\n", b"@2 C?\n"]
    assert session.stale_answers == 1


def test_dropped_answers_are_told_by_kind_and_waiting_request() -> None:
    session, _, _ = talk([b"@1 a\n@1 a\n", b"@1 a\n@2 c\n"])
    told: list[tuple[FaultKind, str]] = []
    session.on_dropped = lambda kind, request: told.append((kind, request))
    assert [session.ask("A?"), session.ask("C?")] == ["a", "c"]
    assert told == [(FaultKind.REPEATED_TAG, "A?"), (FaultKind.STALE_TAG, "C?")]


def test_deadline_cuts_the_timeout_short() -> None:
    session, _, clock = talk([])
    session.deadline = 1002.0
    with pytest.raises(TransportTimeoutError, match="within 2 s"):
        session.ask("X?")
    assert clock.now_s == 1002.0
    with pytest.raises(TransportTimeoutError, match="no time left"):
        session.ask("X?")


@pytest.mark.parametrize(
    "script", [[b"@1 a\n@1 b\n", b"@2 c\n"], [b"@1 a\n", b"@1 b\n@2 c\n"]], ids=["whole", "split"]
)
def test_second_answer_to_a_request_is_dropped_and_counted(script: list[bytes]) -> None:
    session, _, _ = talk(script)
    assert [session.ask("A?"), session.ask("C?")] == ["a", "c"]
    assert session.stale_answers == 1


@pytest.mark.parametrize(
    ("data", "words", "kind"),
    [
        (
            b"@2 25.0\n",
            "TEMP[?]: the device answered request 2, this is request 1",
            FaultKind.SKIPPED_TAG,
        ),
        (
            b"@1 25.0\n@2 26.0\n",
            "the device answered request 2, this is request 1",
            FaultKind.SKIPPED_TAG,
        ),
        (
            b"SSH-2.0-OpenSSH_9\r\n",
            "answered 'SSH-2.0-OpenSSH_9' without the request's tag @1",
            FaultKind.NO_TAG,
        ),
        (b"#15abcde\n", "answered a block of 5 bytes without the request's tag", FaultKind.NO_TAG),
        (b"@1 #15abcde\n", "answered a block of 5 bytes where text is due", FaultKind.WRONG_ANSWER),
        (b"@1 !oops\n", "answered '!oops': no error number", FaultKind.WRONG_ANSWER),
        (b"@1 !--5,x\n", "no error number", FaultKind.WRONG_ANSWER),
        (b"@1 !\n", "no error number", FaultKind.WRONG_ANSWER),
        (b"x" * 5000, "4096 bytes without a newline", FaultKind.OVERSIZE),
        (b"@1 #9999999999", "block of 999999999 bytes: at most 67108864", FaultKind.OVERSIZE),
        (b"@1 #12abX", "after a block of 2 bytes: must be a newline", FaultKind.GARBAGE),
    ],
    ids=[
        "future_tag",
        "answer_before_its_request",
        "untagged_text",
        "untagged_block",
        "block_for_text",
        "no_error_number",
        "bad_error_number",
        "empty_error",
        "endless_line",
        "huge_block",
        "no_newline_after_block",
    ],
)
def test_answer_that_is_none_is_named(data: bytes, words: str, kind: FaultKind) -> None:
    session, _, clock = talk([data])
    with pytest.raises(FrameFault, match=words) as caught:
        session.ask("TEMP?")
    assert caught.value.kind is kind
    assert clock.now_s == 1000.0


@pytest.mark.parametrize(
    ("answer", "words", "kind"),
    [
        (
            b"@1 25.0\n",
            "READ[?]: the device answered '25.0' where a block is due",
            FaultKind.WRONG_ANSWER,
        ),
        (b"@1 #15abcde\n", "frame of 5 bytes", FaultKind.WRONG_FRAME),
        (
            frame_answer(1, 2),
            "the frame has sequence number 2, the request 1",
            FaultKind.WRONG_SEQUENCE,
        ),
        (
            frame_answer(1, 0),
            "the frame has sequence number 0, the request 1",
            FaultKind.WRONG_SEQUENCE,
        ),
        (frame_answer(1, 1, kind=4), "a frame of outputs, inputs are due", FaultKind.WRONG_FRAME),
        (frame_answer(1, 1)[:-2] + b"?\n", "CRC-32C", FaultKind.WRONG_CRC),
    ],
    ids=["text", "no_frame", "newer_sequence", "no_sequence", "kind", "crc"],
)
def test_wrong_frame_is_named(answer: bytes, words: str, kind: FaultKind) -> None:
    session, _, _ = talk([answer])
    with pytest.raises(FrameFault, match=words) as caught:
        session.ask_frame("READ?", FrameKind.INPUTS)
    assert caught.value.kind is kind


@pytest.mark.parametrize("answer", [b"@1 KO\n", b"@1 \n", b"@1 #10\n"], ids=["word", "no", "block"])
def test_command_that_is_not_acknowledged_is_an_error(answer: bytes) -> None:
    session, _, _ = talk([answer])
    with pytest.raises(FrameError, match="where OK is due"):
        session.tell("SAFE")


def test_good_answer_after_a_wrong_frame_is_taken() -> None:
    session, _, _ = talk([frame_answer(1, 9), b"@2 25.0\n"])
    with pytest.raises(FrameError):
        session.ask_frame("READ?", FrameKind.INPUTS)
    assert session.ask("TEMP?") == "25.0"


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b'@1 !-222,"Data out of range; core 9"\n', -222, "Data out of range; core 9"),
        (b"@1 !-240\n", -240, ""),
        (b"@1 !7,overheated\n", 7, "overheated"),
    ],
    ids=["standard", "no_words", "own_number"],
)
def test_refusal_carries_number_words_and_request(answer: bytes, code: int, words: str) -> None:
    session, _, _ = talk([answer])
    with pytest.raises(DeviceError) as refusal:
        session.tell("CORE:SEL 9")
    assert (refusal.value.code, refusal.value.words, refusal.value.request) == (
        code,
        words,
        "CORE:SEL 9",
    )


def test_last_words_are_told() -> None:
    session, _, _ = talk([b'@0 !-160,"Block data error; too long"\n'])
    with pytest.raises(LinkLostError, match="Block data error; too long"):
        session.tell("SAFE")


def test_silent_device_is_given_up_at_the_deadline() -> None:
    session, _, clock = talk([])
    with pytest.raises(TransportTimeoutError, match=r"no whole answer to TEMP\? within 5 s"):
        session.ask("TEMP?")
    assert clock.now_s == 1005.0


@pytest.mark.parametrize(
    "script",
    [
        (Arrival(0.4, b"x") for _ in itertools.count()),
        (Arrival(0.001, b"@1 stale\n") for _ in itertools.count()),
        itertools.chain([b"@2 #41000"], (Arrival(0.4, b"x") for _ in itertools.count())),
        itertools.chain([b"@2 #11x"], (Arrival(0.4, b"\r") for _ in itertools.count())),
    ],
    ids=["dribbled_text", "flood_of_stale_answers", "dribbled_block", "carriage_returns"],
)
def test_device_that_never_finishes_is_given_up_at_the_deadline(
    script: Iterator[bytes | Arrival],
) -> None:
    session, _, clock = talk(itertools.chain([b"@1 OK\n"], script))
    session.tell("SAFE")
    with pytest.raises(TransportTimeoutError, match="READ"):
        session.ask("READ?")
    assert 1005.0 <= clock.now_s < 1005.5


def test_babble_takes_bounded_memory() -> None:
    flood = (Arrival(0.3, b"@1 old news\n" * 5000) for _ in itertools.count())
    session, transport, _ = talk(itertools.chain([b"@1 OK\n"], flood))
    session.tell("SAFE")
    tracemalloc.start()
    with pytest.raises(TransportTimeoutError):
        session.ask("READ?")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert transport.longest_buffer == 1 << 16


def test_what_came_behind_garbage_is_not_looked_at() -> None:
    session, transport, _ = talk([b"@1 #12abX\n@2 from before\n", b"@2 in time\n"])
    with pytest.raises(FrameError, match="after a block"):
        session.ask_frame("READ?", FrameKind.INPUTS)
    assert session.ask("QUICK?") == "in time"
    assert transport.cleared == 1


class RefusesToSend(AnsweringTransport):
    """A link whose first send does not get through."""

    fails = True

    def send(self, data: bytes, *, timeout_s: float) -> None:
        if self.fails:
            self.fails = False
            raise TransportTimeoutError("sent in part")
        super().send(data, timeout_s=timeout_s)


def test_nothing_is_sent_behind_half_a_request_before_the_link_is_cleared() -> None:
    transport = RefusesToSend(lambda _: "OK")
    session = Session(transport, timeout_s=TIMEOUT_S)
    with pytest.raises(TransportTimeoutError):
        session.tell("SAFE")
    session.tell("*OPC")
    assert (transport.texts, session.resynchronisations) == (["*OPC"], 1)


def test_lost_link_is_told_as_it_is() -> None:
    class Gone(AnsweringTransport):
        def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
            raise LinkLostError("the cable")

    with pytest.raises(LinkLostError, match="the cable"):
        Session(Gone(lambda _: "OK"), timeout_s=1).tell("SAFE")


def test_leaving_the_block_closes_the_link() -> None:
    transport = AnsweringTransport(lambda _: "OK")

    def leave() -> None:
        with Session(transport, timeout_s=1) as session:
            session.tell("SAFE")
            raise TransportError("leave")

    with pytest.raises(TransportError, match="leave"):
        leave()
    assert transport.is_closed


def test_golden_counts_are_returned_by_their_request() -> None:
    answers = [b"@%d OK\n" % tag for tag in range(1, 12)]
    session, _, _ = talk([*answers, b"@12 #244" + golden_frames.COUNTS.data + b"\n"])
    for _ in range(11):
        session.tell("*OPC")
    frame = session.ask_frame("READ?", FrameKind.COUNTS)
    assert frame.payload.tolist() == [[[10, 300], [4095, 0]]]
