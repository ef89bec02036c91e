"""The device's end of a stream, byte by byte: leave, acknowledgements, what is kept and refused."""

import re

import numpy as np
import pytest

from hil.core.readout import ReadMode
from hil_drivers.frames import Frame, FrameKind, decode_frame, encode_frame
from hil_drivers.link import encode_request
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from small_profiles import ideal_profile

INPUTS = np.array([[3, 0, 0], [7, 0, 0], [11, 0, 0]], dtype=np.int8)


@pytest.fixture
def firmware() -> Firmware:
    return Firmware(ChipModel(ideal_profile()))


@pytest.fixture
def device(firmware: Firmware) -> MockDevice:
    """A device that counts 3, 7 and 11 products of 1 in column 0 of core 0."""
    device = MockDevice(firmware)
    weights = np.array([[100, 0], [0, 0], [0, 0]], dtype=np.int8)
    for tag, text, kind, array in (
        (1, "CORE:PROG", FrameKind.WEIGHTS, weights),
        (2, "INP:DATA", FrameKind.INPUTS, INPUTS),
    ):
        frame = Frame(kind=kind, sequence=tag, core=0, read_mode=None, payload=array)
        assert device.receive(encode_request(tag, text, encode_frame(frame))) == b"@%d OK\n" % tag
    return device


def say(device: MockDevice, text: str) -> tuple[bytes, list[tuple[int, int]]]:
    """Send a message; return the answer's text and the frames pushed: first vector, length."""
    answer, pushed = b"", []
    for item in device.answers(text.encode() + b"\n"):
        block = re.match(rb"@(\d+) #(\d)", item)
        if block is None:
            answer += item
            continue
        frame = decode_frame(item[block.end() + int(block[2]) : -1])
        assert frame.sequence == int(block[1])
        pushed.append((frame.first_vector, len(frame.payload)))
    return answer, pushed


def test_no_more_than_the_window_is_pushed(device: MockDevice) -> None:
    assert say(device, "@9 STR:STAR 25,10,2") == (b"@9 OK\n", [(0, 10), (10, 10)])
    assert say(device, "@10 *IDN?")[1] == []
    assert say(device, "@11 STR:ACKN 10") == (b"@11 OK\n", [(20, 5)])
    assert say(device, "@12 STR:ACKN 25") == (b"@12 OK\n", [])
    assert say(device, "@13 STR:STAT?") == (b"@13 9,25,25,25\n", [])


def test_inputs_are_used_round_and_round(device: MockDevice) -> None:
    _, *items = device.answers(b"@9 STR:STAR 7,4,2\n")
    frames = [decode_frame(item[5 + int(item[4:5]) : -1]).payload for item in items]
    p_counts = [int(vector[0, 0]) for frame in frames for vector in frame]
    three, seven, eleven = p_counts[:3]
    assert three < seven < eleven
    assert p_counts == [three, seven, eleven] * 2 + [three]


def test_frame_is_made_when_it_is_sent_and_no_sooner(
    firmware: Firmware, device: MockDevice
) -> None:
    answers = device.answers(b"@9 STR:STAR 100,10,4\n")
    assert next(answers) == b"@9 OK\n"
    for number in range(1, 5):
        next(answers)
        assert firmware.settings.stream is not None
        assert firmware.settings.stream.sent_to == 10 * number
    assert list(answers) == []


def test_only_what_is_not_acknowledged_is_kept(firmware: Firmware, device: MockDevice) -> None:
    say(device, "@9 STR:STAR 100,10,2")
    say(device, "@10 STR:ACKN 20")
    assert firmware.settings.stream is not None
    assert sorted(firmware.settings.stream.kept) == [20, 30]
    assert say(device, "@11 STR:FETC? 30")[1] == [(30, 10)]
    answer, _ = say(device, "@12 STR:FETC? 10")
    assert answer.startswith(b'@12 !-222,"Data out of range; vectors from 10 on are not kept')


def test_lower_acknowledgement_than_before_changes_nothing(device: MockDevice) -> None:
    say(device, "@9 STR:STAR 100,10,2")
    say(device, "@10 STR:ACKN 20")
    assert say(device, "@11 STR:ACKN 10") == (b"@11 OK\n", [])
    assert say(device, "@12 STR:STAT?")[0] == b"@12 9,100,20,40\n"


def test_fetched_frame_holds_the_same_counts(device: MockDevice) -> None:
    items = list(device.answers(b"@9 STR:STAR 4,4,1\n"))
    pushed = decode_frame(items[1][items[1].index(b"#") + 4 : -1])
    (item,) = device.answers(b"@10 STR:FETC? 0\n")
    fetched = decode_frame(item[item.index(b"#") + 4 : -1])
    assert (pushed.sequence, fetched.sequence) == (9, 10)
    assert np.array_equal(pushed.payload, fetched.payload)
    assert fetched.read_mode is ReadMode.FOUR_PHASE


def test_with_no_window_each_frame_is_asked_for(device: MockDevice) -> None:
    assert say(device, "@9 STR:STAR 15,10,0") == (b"@9 OK\n", [])
    assert say(device, "@10 STR:FETC? 0")[1] == [(0, 10)]
    assert say(device, "@11 STR:FETC? 0")[1] == [(0, 10)]
    assert say(device, "@12 STR:FETC? 10")[1] == [(10, 5)]
    assert say(device, "@13 STR:FETC? 0")[0].startswith(b"@13 !-222")
    assert say(device, "@14 STR:STAT?")[0] == b"@14 9,15,10,15\n"


def test_frames_go_to_the_connection_that_acknowledged_last(
    firmware: Firmware, device: MockDevice
) -> None:
    other = MockDevice(firmware)
    say(device, "@9 STR:STAR 100,10,1")
    device.leave()
    assert say(other, "@1 STR:FETC? 0")[1] == [(0, 10)]
    assert say(other, "@2 STR:ACKN 10") == (b"@2 OK\n", [(10, 10)])
    assert say(device, "@10 *OPC?")[1] == []


@pytest.mark.parametrize("command", ["*RST", "SAFE", "STR:STOP"])
def test_stream_ends_with(device: MockDevice, command: str) -> None:
    say(device, "@9 STR:STAR 100,10,2")
    assert say(device, f"@10 {command}") == (b"@10 OK\n", [])
    assert say(device, "@11 STR:STAT?")[0] == b"@11 0,0,0,0\n"
    assert say(device, "@12 STR:ACKN 10")[0].startswith(b"@12 !-221")
    assert say(device, "@13 STR:FETC? 0")[0].startswith(b"@13 !-221")


def test_stream_that_is_stopped_between_two_frames_sends_no_more(
    firmware: Firmware, device: MockDevice
) -> None:
    answers = device.answers(b"@9 STR:STAR 100,10,4\n")
    next(answers)
    next(answers)
    MockDevice(firmware).receive(b"@1 SAFE\n")
    assert list(answers) == []


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("STR:STAR", -109),
        ("STR:STAR 10,10", -109),
        ("STR:STAR 10,10,1,CHIP,1", -108),
        ("STR:STAR 0,10,1", -222),
        ("STR:STAR 4294967296,10,1", -222),
        ("STR:STAR 10,0,1", -222),
        ("STR:STAR 10,4097,1", -222),
        ("STR:STAR 10,10,17", -222),
        ("STR:STAR 10,10,-1", -222),
        ("STR:STAR 10,1e1,1", -222),
        ("STR:STAR " + "9" * 900 + ",10,1", -222),
        ("STR:STAR 10,10,1,TAPE", -224),
        ("STR:STAR 10,10,1,LATC", -230),
        ("STR:ACKN", -109),
        ("STR:ACKN 5", -222),
        ("STR:ACKN 60", -222),
        ("STR:ACKN x", -222),
        ("STR:FETC? 100", -222),
        ("STR:FETC? 5", -222),
        ("STR:STOP 1", -108),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    device: MockDevice, command: str, code: int
) -> None:
    say(device, "@9 STR:STAR 100,10,5")
    assert say(device, f"@10 {command}")[0].startswith(b"@10 !%d," % code)
    assert say(device, "@11 STR:STAT?")[0] == b"@11 9,100,0,50\n"


def test_stream_needs_inputs(firmware: Firmware) -> None:
    answer, _ = say(MockDevice(firmware), "@1 STR:STAR 10,10,1")
    assert answer.startswith(b"@1 !-221,")


def test_stream_needs_a_tag(device: MockDevice) -> None:
    assert say(device, "STR:STAR 10,10,1") == (b"", [])
    assert say(device, "SYST:ERR?")[0].startswith(b'-221,"Settings conflict; a stream')


def test_who_is_locked_out_can_stop_no_stream(firmware: Firmware, device: MockDevice) -> None:
    say(device, "@9 STR:STAR 100,10,0")
    assert say(device, "@10 SYST:LOCK:REQ?")[0] == b"@10 1\n"
    other = MockDevice(firmware)
    for command in ("STR:STOP", "STR:ACKN 0", "STR:FETC? 0", "STR:STAR 10,10,1"):
        assert say(other, f"@1 {command}")[0].startswith(b"@1 !-203")
