"""What a client hears, byte for byte, when something goes wrong."""

import numpy as np
import numpy.typing as npt
import pytest

from faulty_device import CUT, Clock, device, said, script
from hil_drivers.frames import Frame, FrameKind, encode_frame
from hil_drivers.link import encode_request
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.faults.fault_kinds import MockFault
from hil_mock_device.faults.fault_script import FaultRule
from hil_mock_device.faults.faulty_device import FaultyDevice
from hil_mock_device.faults.injector import ArmedRule, FaultInjector
from hil_mock_device.faults.spoiling import spoilt_message
from hil_mock_device.firmware.settings import CoreMemory
from small_profiles import ideal_profile

ASK, NEXT = b"@5 CORE:SEL?\n", b"@8 CORE:SEL?\n"
ANSWER = b"@5 0\n"
PLAIN = b"*OPC?\n"
IDENTITY = b"@6 aimc-hil,mock-chip,ideal-0,1.0\n"


def heard(rule: str, *messages: bytes) -> list[list[bytes | float | str]]:
    """Return what comes of each message in one conversation."""
    conversation = device(rule).converse()
    return [said(conversation, message) for message in messages]


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ("kind=drop,at=[1]", []),
        ("kind=drop,at=[1],direction=request", []),
        ("kind=double,at=[1]", [ANSWER, ANSWER]),
        ("kind=truncate,at=[1],byte=3", [b"@5 "]),
        ("kind=truncate,at=[1],byte=0", []),
        ("kind=truncate,at=[1],byte=99", [b"@5 0"]),
        ("kind=flip,at=[1],byte=3,bit=0", [b"@5 1\n"]),
        ("kind=flip,at=[1],byte=1,bit=1,direction=request", [b"@7 0\n"]),
        ("kind=flip,at=[1]", [ANSWER]),
        ("kind=stall,at=[1],byte=2,seconds=0.5", [b"@5", 0.5, b" 0\n"]),
        ("kind=stall,at=[1],byte=0,seconds=3", [3.0, ANSWER]),
        ("kind=disconnect,at=[1],byte=2", [b"@5", CUT]),
        ("kind=disconnect,at=[1],byte=0", [CUT]),
        ("kind=disconnect,at=[1],direction=request", [CUT]),
        ("kind=latency,at=[1],seconds=0.25", [0.25, ANSWER]),
        ("kind=latency,at=[1],seconds=0.25,direction=request", [0.25, ANSWER]),
        ("kind=bandwidth,at=[1],bytes_per_s=200", [0.01, b"@5", 0.01, b" 0", 0.005, b"\n"]),
        ("kind=bandwidth,at=[1],bytes_per_s=130,direction=request", [0.1, ANSWER]),
        ("kind=baud,at=[1],baud=4000", [0.01, b"@5 0", 0.0025, b"\n"]),
        ("kind=baud,at=[1],baud=1300,direction=request", [0.1, ANSWER]),
        ("kind=refuse,at=[1],seconds=2", [CUT]),
        ("kind=reboot,at=[1]", [CUT]),
        ("kind=reboot,at=[1],keeps_link=true", [ANSWER]),
        ("kind=error_queue,at=[1]", [ANSWER]),
    ],
)
def test_fault_does_this_to_the_first_message_and_nothing_to_the_second(
    rule: str, answer: list[bytes | float | str]
) -> None:
    assert heard(rule, ASK, NEXT) == [answer, [b"@8 0\n"]]


def test_lost_request_is_not_carried_out_and_a_lost_answer_does_not_undo_it() -> None:
    select, ask = b"@4 CORE:SEL 1\n", b"@5 CORE:SEL?\n"
    assert heard("kind=drop,at=[1],direction=request", select, ask) == [[], [b"@5 0\n"]]
    assert heard("kind=drop,at=[1]", select, ask) == [[], [b"@5 1\n"]]


def test_message_that_comes_twice_is_answered_once_if_tagged_and_twice_if_plain() -> None:
    doubled = "kind=double,every=1,direction=request"
    assert heard(doubled, ASK, b"*OPC?\n") == [[ANSWER], [b"1\n", b"1\n"]]


def test_reordered_answer_comes_after_the_next_one_on_whichever_link() -> None:
    faulty = device("kind=reorder,at=[1]")
    assert said(faulty.converse(), ASK) == []
    assert said(faulty.converse(), b"@6 *IDN?\n") == [IDENTITY, ANSWER]
    assert said(faulty.converse(), b"@7 *OPC?\n") == [b"@7 1\n"]


def test_stale_answer_comes_before_the_next_one_on_whichever_link() -> None:
    faulty = device("kind=stale,at=[1]")
    assert said(faulty.converse(), ASK) == []
    assert said(faulty.converse(), b"@6 *IDN?\n") == [ANSWER, IDENTITY]
    assert said(faulty.converse(), b"@7 *OPC?\n") == [b"@7 1\n"]


def test_reordered_messages_change_places_on_their_own_link() -> None:
    faulty = device("kind=reorder,at=[1],direction=request")
    conversation = faulty.converse()
    assert said(conversation, b"@4 CORE:SEL 1\n") == []
    assert said(faulty.converse(), b"@1 CORE:SEL?\n") == [b"@1 0\n"]
    assert said(conversation, ASK) == [ANSWER, b"@4 OK\n"]
    assert said(conversation, b"@6 CORE:SEL?\n") == [b"@6 1\n"]


def test_message_held_back_is_forgotten_with_a_device_clear() -> None:
    conversation = device("kind=reorder,at=[1],direction=request").converse()
    assert said(conversation, b"@4 CORE:SEL 1\n") == []
    conversation.clear()
    assert said(conversation, ASK) == [ANSWER]


def test_truncated_request_swallows_what_follows_on_its_link_only() -> None:
    faulty = device("kind=truncate,at=[1],byte=12,direction=request")
    conversation = faulty.converse()
    assert said(conversation, b"@4 CORE:SEL 1\n") == []
    answers = b"".join(item for item in said(conversation, ASK) if isinstance(item, bytes))
    assert answers.startswith(b"@4 !-222,")
    assert said(faulty.converse(), ASK) == [ANSWER]


def test_truncated_request_has_lost_the_mark_of_its_end_too() -> None:
    conversation = device("kind=truncate,at=[1],byte=8,direction=request").converse()
    assert said(conversation, ASK) == []
    assert list(conversation.end_message()) == []
    conversation.clear()
    assert said(conversation, ASK) == [ANSWER]


def test_identity_is_another_one_and_other_answers_are_not() -> None:
    rule = "kind=identity,at=[2],identity='A,B,7,9'"
    ask = b"@6 *IDN?\n"
    answers = heard(rule, ask, ASK, ask, b"*IDN?\n")
    assert answers == [[IDENTITY], [ANSWER], [b"@6 A,B,7,9\n"], [IDENTITY[3:]]]


def test_error_queue_overflows() -> None:
    conversation = device("kind=error_queue,at=[1]").converse()
    said(conversation, ASK)
    answers = [said(conversation, b"SYST:ERR?\n") for _ in range(17)]
    assert answers[0] == [b'-200,"Execution error; an error that is a fault of the mock"\n']
    assert answers[15:] == [[b'-350,"Queue overflow"\n'], [b'0,"No error"\n']]


def test_reboot_loses_settings_registers_and_lock_and_changes_the_identifier() -> None:
    faulty = device("kind=reboot,at=[6]")
    first = faulty.converse()
    assert said(first, b"@1 SYST:LOCK:REQ?\n") == [b"@1 1\n"]
    said(first, b"@2 CORE:SEL 1\n@3 NMPU:STAT ON\n")
    [before] = said(first, b"SYST:BOOT?\n")
    [asked] = said(first, b"@5 CORE:SEL?\n")
    assert asked == b"@5 1\n"
    assert said(first, b"@6 CORE:SEL 1\n") == [CUT]
    second = faulty.converse()
    assert said(second, b"@1 CORE:SEL?\n") == [b"@1 0\n"]
    assert said(second, b"@2 NMPU:STAT?\n") == [b"@2 0\n"]
    assert said(second, b"@3 SYST:LOCK:OWN?\n") == [b"@3 NONE\n"]
    assert said(second, b"SYST:BOOT?\n") != [before]


def test_refused_reconnects_are_told_to_whoever_lets_clients_in() -> None:
    faulty, outages = device("kind=refuse,every=2,seconds=1.5"), list[float]()
    faulty.injector.on_outage = outages.append
    conversation = faulty.converse()
    answered = [b"1\n"]
    assert [said(conversation, PLAIN) for _ in range(4)] == [answered, [CUT], answered, [CUT]]
    assert outages == [1.5, 1.5]


# --- programming and blocks ----------------------------------------------------------------------

WEIGHTS = np.array([[1, 2], [3, 4], [5, 6]], np.int8)


def program(tag: int | None, weights: npt.NDArray[np.int8] = WEIGHTS) -> bytes:
    frame = Frame(
        kind=FrameKind.WEIGHTS, sequence=tag or 0, core=0, read_mode=None, payload=weights
    )
    return encode_request(tag, "CORE:PROG", encode_frame(frame))


def test_brown_out_writes_half_of_the_rows_and_the_firmware_starts_again() -> None:
    chip = ChipModel(ideal_profile())
    faulty = FaultyDevice(chip, script("kind=brown_out,at=[2]"))
    conversation = faulty.converse()
    [boot] = said(conversation, b"SYST:BOOT?\n")
    assert said(conversation, program(1)) == [b"@1 OK\n"]
    np.testing.assert_array_equal(chip.shown_weights(0), WEIGHTS)
    assert said(conversation, program(2, np.int8(10) * WEIGHTS)) == [CUT]
    np.testing.assert_array_equal(chip.shown_weights(0), [[10, 20], [3, 4], [5, 6]])
    after = faulty.converse()
    assert said(after, b"@3 CORE:PROG?\n") == [b"@3 2,0\n"]
    assert said(after, b"SYST:BOOT?\n") != [boot]


def test_brown_out_may_end_in_an_error_instead() -> None:
    faulty = device("kind=brown_out,at=[1],then=error")
    conversation = faulty.converse()
    words = b'-240,"Hardware error; power failed while core 0 was programmed"\n'
    assert said(conversation, program(1)) == [b"@1 !" + words]
    assert faulty.firmware.settings.cores == {0: CoreMemory(1, 0)}
    assert said(conversation, program(2)) == [b"@2 OK\n"]


def test_plain_programming_that_fails_has_its_error_in_the_queue() -> None:
    conversation = device("kind=brown_out,at=[1],then=error").converse()
    assert said(conversation, program(None)) == []
    words = b'-240,"Hardware error; power failed while core 0 was programmed"\n'
    assert said(conversation, b"SYST:ERR?\n") == [words]


def test_flipped_bit_changes_more_than_the_kind_of_white_space_at_the_end() -> None:
    # A carrier that marks ends (HiSLIP) does not need the line feed: VT in its place is no fault.
    flip = FaultRule.from_text("kind=flip,direction=request,place=anywhere,byte=99,every=1")
    last = set()
    for seed in range(64):
        armed = ArmedRule(flip, np.random.default_rng(seed), 0.0)
        (message,) = spoilt_message(b"READ?\n", armed, 5)
        assert isinstance(message, bytes)
        assert message[:5] == b"READ?"
        last.add(message[5:])
    assert last == {b"\x08", b"\x0e", b"\x02", b"\x1a", b"*", b"J", b"\x8a"}  # and not VT, 0x0B


@pytest.mark.parametrize("seed", range(8))
def test_bit_flipped_in_a_block_is_one_bit_of_the_block(seed: int) -> None:
    conversation = device("kind=flip,every=1,direction=request", seed=seed).converse()
    [answer] = said(conversation, program(1))
    assert isinstance(answer, bytes)
    assert answer.startswith(b'@1 !-160,"Block data error; ')


@pytest.mark.parametrize("seed", range(8))
def test_client_is_cut_off_inside_the_block(seed: int) -> None:
    faulty = device("kind=disconnect,every=1,place=block,header=FETCh:COUNts?", seed=seed)
    conversation = faulty.converse()
    said(conversation, program(1))
    inputs = np.zeros((4, 3), np.int8)
    frame = Frame(kind=FrameKind.INPUTS, sequence=2, core=0, read_mode=None, payload=inputs)
    assert said(conversation, encode_request(2, "INP:DATA", encode_frame(frame))) == [b"@2 OK\n"]
    [whole] = said(conversation, b"@3 READ?\n")
    assert isinstance(whole, bytes)
    assert whole.startswith(b"@3 #268")  # 32 + 4 * 2 * 2 * 2 + 4
    start, cut = said(conversation, b"@4 FETC:COUN?\n")
    assert cut == CUT
    assert isinstance(start, bytes)
    assert 7 <= len(start) < 7 + 68


# --- when ----------------------------------------------------------------------------------------


def struck(rule: str, messages: int = 12, *, seed: int = 0) -> list[int]:
    """Return the numbers of the messages whose answers are lost."""
    conversation = device(rule, seed=seed).converse()
    return [number for number in range(1, messages + 1) if said(conversation, PLAIN) == []]


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        ("kind=drop,every=5", [5, 10]),
        ("kind=drop,every=1,times=3", [1, 2, 3]),
        ("kind=drop,at=[2, 3, 11]", [2, 3, 11]),
        ("kind=drop,chance=1", list(range(1, 13))),
        ("kind=drop,every=1,header=*IDN?", []),
        ("kind=drop,every=4,header=*OPC?", [4, 8, 12]),
    ],
)
def test_fault_strikes_these_messages(rule: str, numbers: list[int]) -> None:
    assert struck(rule) == numbers


def test_the_same_seed_strikes_the_same_messages_and_another_seed_others() -> None:
    rule = "kind=drop,chance=0.3"
    first = struck(rule, 200, seed=1)
    assert struck(rule, 200, seed=1) == first
    assert struck(rule, 200, seed=2) != first
    assert 35 <= len(first) <= 85  # 60, and 4 times its spread of 6.5


def test_what_one_rule_draws_does_not_depend_on_the_others() -> None:
    rules = (
        "kind=drop,chance=0.3",
        "kind=error_queue,chance=0.5",
        "kind=saturation,share=1,chance=0.5",
    )
    alone = device(rules[0], seed=1).converse()
    together = device(*rules, seed=1).converse()
    for _ in range(100):
        assert (said(alone, PLAIN) == []) == (said(together, PLAIN) == [])


def test_fault_strikes_between_two_times_only() -> None:
    clock = Clock()
    faulty = device()
    faulty.injector = FaultInjector(script("kind=drop,every=1,between_s=[2, 4]"), clock=clock)
    conversation = faulty.converse()
    answers = []
    for now_s in (100.0, 102.0, 103.9, 104.0):
        clock.now_s = now_s
        answers.append(said(conversation, PLAIN))
    assert answers == [[b"1\n"], [], [], [b"1\n"]]


def test_messages_are_counted_whoever_sends_them() -> None:
    faulty = device("kind=drop,every=3")
    answers = [said(faulty.converse(), PLAIN) for _ in range(6)]
    assert answers == [[b"1\n"], [b"1\n"], [], [b"1\n"], [b"1\n"], []]


def test_messages_are_counted_however_they_are_split() -> None:
    conversation = device("kind=drop,every=2").converse()
    pieces = [said(conversation, bytes([byte])) for byte in PLAIN * 4]
    assert [piece for piece in pieces if piece] == [[b"1\n"], [b"1\n"]]
    assert said(conversation, PLAIN * 4) == [b"1\n", b"1\n"]


def test_message_without_a_newline_counts_when_the_carrier_ends_it() -> None:
    conversation = device("kind=drop,every=2").converse()
    answers = []
    for _ in range(4):
        assert said(conversation, PLAIN.rstrip()) == []
        answers.append([item for item in conversation.end_message() if item])
    assert answers == [[b"1\n"], [], [b"1\n"], []]


# --- counts --------------------------------------------------------------------------------------


def test_every_fault_is_counted_by_kind_when_it_happens() -> None:
    faulty = device("kind=drop,every=4", "kind=latency,every=2,seconds=0.1", "kind=flip,every=1")
    conversation = faulty.converse()
    for _ in range(8):
        said(conversation, PLAIN)
    # No bit is flipped: these answers have no block. Where an answer is lost, none is late.
    assert faulty.injector.counts == {MockFault.DROP: 2, MockFault.LATENCY: 4}


def test_answer_fault_of_a_message_without_an_answer_does_not_happen() -> None:
    faulty = device("kind=drop,every=1")
    assert said(faulty.converse(), b"SAFE\n") == []
    assert faulty.injector.counts == {}


def test_only_the_first_of_two_rules_strikes_one_message() -> None:
    faulty = device("kind=truncate,every=2,byte=1", "kind=drop,every=1")
    conversation = faulty.converse()
    assert [said(conversation, PLAIN) for _ in range(4)] == [[], [b"1"], [], [b"1"]]
    assert faulty.injector.counts == {MockFault.TRUNCATE: 2, MockFault.DROP: 2}


def test_clearing_ends_every_fault_and_keeps_the_counts() -> None:
    faulty = device("kind=stale,every=1")
    conversation = faulty.converse()
    assert said(conversation, PLAIN) == []
    faulty.injector.clear()
    assert said(conversation, b"@6 *IDN?\n") == [IDENTITY]
    assert faulty.injector.counts == {MockFault.STALE: 1}
    assert faulty.injector.rules == ()


# --- without faults ------------------------------------------------------------------------------


def test_without_faults_a_client_hears_what_it_would_hear_anyway() -> None:
    conversation = device().converse()
    assert said(conversation, PLAIN + b"*OPC?;CORE:SEL?\nSAFE\n@6 *IDN?\n") == [
        b"1\n",
        b"1;0\n",
        IDENTITY,
    ]
    last_words = said(conversation, b"X #0\n")
    assert len(last_words) == 1
    assert conversation.is_lost
    assert said(conversation, PLAIN) == []
