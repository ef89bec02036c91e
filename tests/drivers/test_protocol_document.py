"""The protocol document against the driver, the device, and the golden frames of these tests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import golden_frames
from golden_frames import GoldenFrame
from hil.core.errors import DeviceError, TransportTimeoutError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.commands import COMMANDS, Repeat, repeat_of
from hil_drivers.link import DEFAULT_LARGEST_BLOCK
from hil_drivers.link_fault import FaultKind
from hil_drivers.recovery import RecoveryPolicy
from hil_drivers.scpi import LONGEST_LINE, ScpiError
from hil_drivers.session import Session
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware

PAGE = (Path(__file__).parents[2] / "docs/reference/protocol.md").read_text("utf-8")
DIALOGUE, PLAIN_DIALOGUE = PAGE.split("## A whole dialogue")[1].split("The same in plain SCPI")

AFTER_A_FAULT = DIALOGUE.split("### After a fault")[1]
A_STREAM = DIALOGUE.split("### A stream")[1]
WITHOUT_CHECKSUMS = DIALOGUE.split("### Without checksums")[1]

BOOT_ANSWER = b"@4*38790802 5e1f90a2\n"
"""The one answer of the page that no device repeats."""

FOUR = ReadMode.FOUR_PHASE


@dataclass
class Exchange:
    """What the host sends, and what the device answers to it."""

    sent: bytes
    answered: bytes = b""


def exchanges(part: str) -> list[Exchange]:
    """Read a dialogue of the page."""
    block = part.split("```text\n")[1].split("```", maxsplit=1)[0]
    found: list[Exchange] = []
    for message in re.split(r"\n(?=host|device)", block.rstrip()):
        first, *rows = message.split("\n")
        data = first[8:].encode() + bytes.fromhex("".join(rows)) + b"\n"
        if first.startswith("host"):
            found.append(Exchange(data))
        else:
            found[-1].answered += data
    return found


class DocumentedSilicon:
    """The chip of the page's dialogue."""

    identity = ChipIdentity(manufacturer="Example", model="Board", serial="7", firmware="1.0")
    geometry = ChipGeometry(cores=1, rows=2, columns=2, counter_bits=12, max_vectors=4096)

    def reset(self) -> None:
        pass

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        assert weights.tolist() == [[1, -1], [2, -2]]

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        assert (core, read_mode, inputs.tolist()) == (0, FOUR, [[3, -3]])
        return np.array([[[10, 300], [4095, 0]]], dtype=np.uint16)

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        assert fmt == NmpuFormat(shift=2)
        assert registers.offset.tolist() == [-118, 127]
        return np.array([[127, -128]], dtype=np.int8)

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        return 25.0


@dataclass
class PlaysTheDevice:
    """A transport that insists on the host's bytes of the page and answers the device's."""

    script: Iterator[Exchange]
    resource: str = "the page"
    arrived: bytearray = field(default_factory=bytearray)

    def send(self, data: bytes, *, timeout_s: float) -> None:
        exchange = next(self.script)
        assert data == exchange.sent
        self.arrived += exchange.answered

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        if not self.arrived:
            raise TransportTimeoutError("the page is over")
        count = min(len(buffer), len(self.arrived))
        buffer[:count] = self.arrived[:count]
        del self.arrived[:count]
        return count

    def clear(self, *, timeout_s: float) -> None:
        self.arrived.clear()

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "golden", golden_frames.OF_EACH_KIND, ids=lambda golden: golden.kind.name.lower()
)
def test_golden_frame_is_the_one_on_the_page(golden: GoldenFrame) -> None:
    on_page = [
        data.split(b" #2", 1)[1][2:-1]
        for exchange in exchanges(DIALOGUE)
        for data in (exchange.sent, exchange.answered)
        if b" #2" in data
    ]
    assert golden.data in on_page


def test_hexadecimal_of_the_first_messages_is_their_text() -> None:
    first, second = exchanges(DIALOGUE)[:2]
    for message in (first.sent, first.answered, second.sent):
        assert f"`{message.hex(' ')}`" in DIALOGUE


def test_driver_speaks_the_dialogue_of_the_page() -> None:
    script = iter(exchanges(DIALOGUE))
    board = AimcBoard(Session(PlaysTheDevice(script), timeout_s=1))
    inputs = np.array([[3, -3]], dtype=np.int8)
    registers = NmpuRegisters(
        scale_p=np.array([128, 255], np.uint8),
        scale_n=np.array([64, 192], np.uint8),
        offset=np.array([-118, 127], np.int16),
        swap=np.array([False, True]),
    )
    assert board.geometry() == DocumentedSilicon.geometry
    board.program(0, np.array([[1, -1], [2, -2]], dtype=np.int8))
    assert board.read_counts(0, FOUR, inputs).tolist() == [[[10, 300], [4095, 0]]]
    board.write_nmpu(0, FOUR, NmpuFormat(shift=2), registers)
    assert board.read_corrected(0, FOUR, inputs).tolist() == [[127, -128]]
    with pytest.raises(DeviceError, match="core 1: must be 0 to 0") as refusal:
        board.program(1, np.array([[1, -1], [2, -2]], dtype=np.int8))
    assert refusal.value.code == -222
    board.safe()
    assert list(script) == []


def test_device_speaks_the_dialogues_of_the_page() -> None:
    device = MockDevice(Firmware(DocumentedSilicon()))
    parts = (DIALOGUE, AFTER_A_FAULT, A_STREAM, WITHOUT_CHECKSUMS)
    for exchange in [exchange for part in parts for exchange in exchanges(part)]:
        answer = device.receive(exchange.sent)
        if exchange.answered == BOOT_ANSWER:
            assert re.fullmatch(rb"@4\*[0-9A-F]{8} [0-9a-z]{1,16}\n", answer)
        else:
            assert answer == exchange.answered


def test_device_speaks_the_plain_dialogue_of_the_page() -> None:
    device = MockDevice(Firmware(DocumentedSilicon()))
    for exchange in exchanges(PLAIN_DIALOGUE):
        assert device.receive(exchange.sent) == exchange.answered


def test_dialogues_of_the_page_were_found() -> None:
    parts = (DIALOGUE, AFTER_A_FAULT, A_STREAM, WITHOUT_CHECKSUMS, PLAIN_DIALOGUE)
    assert [len(exchanges(part)) for part in parts] == [23, 6, 5, 3, 3]


def test_checksums_of_the_page_are_those_of_tag_and_text() -> None:
    lines = re.findall(
        r"^(?:host|device) +(@\d+)\*(\w{8}) ((?:[^#\n]|#(?!2))*)", DIALOGUE, re.MULTILINE
    )
    wrong = [
        tag
        for tag, checksum, text in lines
        if golden_frames.crc32c_bit_by_bit(f"{tag} {text}".rstrip().encode()) != int(checksum, 16)
    ]
    assert len(lines) == 68
    assert wrong == ["@37"], "the page's example of a wrong one"


def test_crc_of_the_weights_on_the_page_is_theirs() -> None:
    weights = bytes([1, 0xFF, 2, 0xFE])
    assert f" 1,{golden_frames.crc32c_bit_by_bit(weights)}\n" in AFTER_A_FAULT


def rows_of_commands() -> dict[str, str]:
    """Return every command of the page's tables with what stands in its column "again"."""
    tables = PAGE.split("## Commands")[1].split("## Error numbers")[0]
    found: dict[str, str] = {}
    for row in re.findall(r"^\| (`.*) \|$", tables, re.MULTILINE):
        cells = re.split(r"(?<!\\)\|", row)
        for header in re.findall(r"`([A-Z*][^` ]*)[^`]*`", cells[0]):
            found[header] = cells[-1].strip()
    return found


AGAIN = rows_of_commands()


def test_page_says_of_every_command_what_the_second_time_does() -> None:
    documented = {header: again.split(",")[0] for header, again in AGAIN.items()}
    assert documented == {command.pattern: command.repeat.value for command in COMMANDS}


@pytest.mark.parametrize("header", sorted(AGAIN))
def test_device_knows_every_command_of_the_page(header: str) -> None:
    device = MockDevice(Firmware(DocumentedSilicon()))
    answer = device.receive(b"@1 " + re.sub(r"\[.*\]", "", header).encode() + b"\n")
    assert answer.startswith(b"@1 ")
    assert b"!-113" not in answer


@pytest.mark.parametrize("header", sorted(AGAIN))
def test_every_command_may_be_sent_twice_unless_the_page_says_otherwise(header: str) -> None:
    spelling = re.sub(r"\[.*\]", "", header)
    short = "".join(letter for letter in spelling if not letter.islower())
    for form in (spelling, short, f":{spelling.lower()}", f"{spelling} 1"):
        assert repeat_of(form).value == AGAIN[header].split(",")[0]


def test_command_that_is_not_on_the_page_is_never_repeated() -> None:
    assert repeat_of("CORE:ERASe") is Repeat.WEARS
    assert repeat_of("") is Repeat.WEARS


def test_kinds_of_faults_are_those_of_the_page() -> None:
    table = PAGE.split("| kind | what went wrong |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [str(kind) for kind in FaultKind]


def test_limits_of_recovery_are_those_of_the_page() -> None:
    policy, page = RecoveryPolicy(), " ".join(PAGE.split())
    assert f"ends within `deadline_s`, {policy.deadline_s:g} s by default" in page
    assert f"`attempts` times, {policy.attempts} by default" in page


def test_limits_are_those_of_the_page() -> None:
    assert f"{LONGEST_LINE}\nbytes" in PAGE or f"{LONGEST_LINE} bytes" in PAGE
    assert f"{DEFAULT_LARGEST_BLOCK:,} bytes" in PAGE


def test_error_numbers_are_those_of_the_page() -> None:
    rows = dict(re.findall(r"^\| (-\d+) \| ([A-Za-z ]+) \|", PAGE, re.MULTILINE))
    assert rows == {
        str(int(error)): error.words for error in ScpiError if error is not ScpiError.NO_ERROR
    }


def test_nmpu_format_is_that_of_the_page() -> None:
    table = PAGE.split("The **format** is")[1].split("The **registers** are")[0]
    rows = re.findall(r"^\| `(\w+)` \| `?(\w+)`? \|", table, re.MULTILINE)
    assert ",".join(f"{name}={value}" for name, value in rows) == NmpuFormat().to_text()
