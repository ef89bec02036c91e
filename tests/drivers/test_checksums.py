"""Checksums of messages: a changed bit of a text is never taken for a text."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from golden_frames import crc32c_bit_by_bit
from hil.core.errors import DeviceError, FrameError
from hil.core.readout import ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over
from hil_drivers.link import DeviceLink, HostLink, Request, encode_answer, encode_request
from hil_drivers.link_fault import AnotherChipError, FaultKind
from hil_drivers.message_bytes import Checksum
from hil_drivers.ring import Ring
from hil_drivers.session import Session
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.faults.fault_script import FaultRule
from hil_mock_device.faults.faulty_device import FaultyDevice
from hil_mock_device.firmware.call import Call
from hil_mock_device.firmware.command_table import Command
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.loopback import LoopbackTransport
from scripted_transport import AnsweringTransport
from small_profiles import lifelike_profile

FOUR = ReadMode.FOUR_PHASE
REQUESTS = [
    "*RST", "*IDN?", "CORE:SELect 2", "READ:MODE FOURphase", "NMPU:STATe ON", "TEMPerature?",
    'NMPU:FORMat "shift=2,merge=per_branch"', "STReam:STARt 100,10,2,CHIP", "SAFE",
]  # fmt: skip


def sealed(tag: int, text: str) -> bytes:
    """Return a message with its checksum, from an implementation of its own."""
    checksum = crc32c_bit_by_bit(f"@{tag} {text}".rstrip().encode())
    return f"@{tag}*{checksum:08X} {text}\n".encode()


def flips(message: bytes) -> Iterator[bytes]:
    """Yield the message with each of its bits changed, one at a time."""
    for position in range(len(message)):
        for bit in range(8):
            yield (
                message[:position] + bytes([message[position] ^ 1 << bit]) + message[position + 1 :]
            )


class RecordingFirmware(Firmware):
    """Takes down what it would carry out, and does nothing."""

    def __init__(self) -> None:
        super().__init__(ChipModel(lifelike_profile()))
        self.carried_out: list[tuple[int, list[str]]] = []

    def _run(self, command: Command, call: Call) -> str | bytes | None:
        self.carried_out.append((call.sequence, call.parameters))
        return None


@pytest.mark.parametrize("text", REQUESTS)
def test_request_with_any_bit_changed_is_not_carried_out(text: str) -> None:
    message, firmware = sealed(50, text), RecordingFirmware()
    device = MockDevice(firmware)
    device.receive(message)
    assert len(firmware.carried_out) == 1
    answers = [MockDevice(firmware).receive(changed) for changed in flips(message)]
    assert len(firmware.carried_out) == 1
    assert sum(b" !-360," in answer for answer in answers) > 5 * len(text)


@pytest.mark.parametrize("text", ["25.125", "OK", "1,256,256,12,4096", '!-222,"Data out of range"'])
def test_answer_with_any_bit_changed_is_never_taken_for_another_one(text: str) -> None:
    message = sealed(50, text)
    taken = []
    for changed in flips(message):
        link = HostLink()
        link.expect(50, has_checksum=True)
        buffer = link.writable()
        buffer[: len(changed)] = changed
        try:
            answers = link.received(len(changed))
        except FrameError:
            continue
        taken += [answer.text for answer in answers if answer.fault is None]
    assert taken == []


@pytest.mark.parametrize("tag", [1, 4294967295])
@pytest.mark.parametrize("text", ["", "X?", 'NMPU:FORMat "a,#b"', "tail \t"])
def test_both_ends_agree_with_an_implementation_of_its_own(tag: int, text: str) -> None:
    assert encode_answer(tag, text, has_checksum=True) == sealed(tag, text)
    assert encode_request(tag, text, has_checksum=True) == sealed(tag, text)
    (request,) = DeviceLink().receive(sealed(tag, text))
    assert (request.tag, request.checksum) == (tag, Checksum.RIGHT)


def test_checksum_of_a_message_with_a_block_covers_what_is_before_it() -> None:
    due = b"@7*%08X INP:DATA #12ab\n" % crc32c_bit_by_bit(b"@7 INP:DATA")
    assert encode_request(7, "INP:DATA", b"ab", has_checksum=True) == due
    due = b"@7*%08X #13abc\n" % crc32c_bit_by_bit(b"@7")
    assert encode_answer(7, [b"ab", b"c"], has_checksum=True) == due


@pytest.mark.parametrize("digits", ["", "0", "123456789", "1234567G", "1234567a", "-1234567"])
def test_checksum_that_is_none_makes_a_plain_message_of_it(digits: str) -> None:
    (request,) = DeviceLink().receive(f"@1*{digits} SAFE\n".encode())
    assert (request.tag, request.checksum) == (None, Checksum.NONE)


@pytest.mark.parametrize("head", [b"@5 ", b"@5*00000000 "], ids=["missing", "wrong"])
def test_block_whose_tag_was_changed_gets_no_memory_that_was_lent(head: bytes) -> None:
    link, ring = HostLink(), Ring(1, 10)
    link.expect(5, ring, has_checksum=True)
    message = head + b"#13abc\n"
    link.writable()[: len(message)] = message
    (answer,) = link.received(len(message))
    assert (answer.fault, type(answer.block)) == (FaultKind.GARBLED_ANSWER, bytearray)
    assert ring.lend(3) is not None


def test_device_that_knows_no_checksums_gets_none() -> None:
    seen: list[Request] = []
    known = {"CHIP:PROTocol?": "2", "CHIP:GEOMetry?": "1,2,2,12,16", "*IDN?": "a,b,c,d"}

    def answer(request: Request) -> str:
        seen.append(request)
        return known.get(request.text, "OK")

    board = AimcBoard(Session(AnsweringTransport(answer), timeout_s=1))
    board.safe()
    assert len(seen) == 5
    assert {request.checksum for request in seen} == {Checksum.NONE}


def faulty_board(rule: str) -> tuple[AimcBoard, FaultyDevice]:
    """Connect to a programmed mock, then let something go wrong."""
    device = FaultyDevice(ChipModel(lifelike_profile()))
    board = board_over(
        LoopbackTransport(device.converse(), resource="loop", connect=device.converse), 0.2
    )
    size = board.geometry()
    board.program(0, np.ones((size.rows, size.columns), np.int8))
    device.injector.arm(FaultRule.from_text(rule))
    return board, device


def read_once(board: AimcBoard) -> Any:
    return board.read_counts(0, FOUR, np.ones((1, board.geometry().rows), np.int8))


@pytest.mark.parametrize("position", range(3, 30, 5))
def test_changed_parameter_is_sent_again(position: int) -> None:
    rule = f"kind=flip,direction=request,header=READ:MODE,byte={position},bit=1,at=[1, 2]"
    board, _ = faulty_board(rule)
    assert read_once(board).shape[0] == 1
    assert board.health.not_recovered == 0
    assert sum(board.health.faults.values()) >= 2


def test_frame_that_is_changed_again_and_again_is_sent_as_often_as_the_policy_allows() -> None:
    board, device = faulty_board("kind=flip,direction=request,header=INPut:DATA,at=[1, 2, 3, 4]")
    read_once(board)
    assert board.health.faults == {FaultKind.GARBLED_REQUEST: 4}
    device.injector.arm(
        FaultRule.from_text("kind=flip,direction=request,header=INPut:DATA,every=1")
    )
    with pytest.raises(DeviceError, match="Block data error"):
        read_once(board)
    assert board.health.not_recovered == 5


def test_identity_that_is_wrong_once_is_a_fault_that_is_told() -> None:
    board, _ = faulty_board("kind=identity,identity='A,B,1,1',at=[1]")
    assert board.identify().serial == "lifelike-0"
    assert board.health.faults == {FaultKind.WRONG_ANSWER: 1}


def test_identity_that_stays_wrong_is_another_chip() -> None:
    board, _ = faulty_board("kind=identity,identity='A,B,1,1',every=1")
    with pytest.raises(AnotherChipError, match=r"serial lifelike-0, .*it is A B, serial 1"):
        board.identify()
