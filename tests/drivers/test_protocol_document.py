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
from hil_drivers.link import DEFAULT_LARGEST_BLOCK
from hil_drivers.scpi import LONGEST_LINE, ScpiError
from hil_drivers.session import Session
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware

PAGE = (Path(__file__).parents[2] / "docs/reference/protocol.md").read_text("utf-8")
DIALOGUE, PLAIN_DIALOGUE = PAGE.split("## A whole dialogue")[1].split("The same in plain SCPI")

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
    first = exchanges(DIALOGUE)[0]
    assert f"`{first.sent.hex(' ')}`" in DIALOGUE
    assert f"`{first.answered.hex(' ')}`" in DIALOGUE


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
    assert board.identify() == DocumentedSilicon.identity
    board.program(0, np.array([[1, -1], [2, -2]], dtype=np.int8))
    assert board.read_counts(0, FOUR, inputs).tolist() == [[[10, 300], [4095, 0]]]
    board.write_nmpu(0, FOUR, NmpuFormat(shift=2), registers)
    assert board.read_corrected(0, FOUR, inputs).tolist() == [[127, -128]]
    with pytest.raises(DeviceError, match="core 1: must be 0 to 0") as refusal:
        board.program(1, np.array([[1, -1], [2, -2]], dtype=np.int8))
    assert refusal.value.code == -222
    board.safe()
    assert list(script) == []


@pytest.mark.parametrize("part", [DIALOGUE, PLAIN_DIALOGUE], ids=["tagged", "plain"])
def test_device_speaks_the_dialogue_of_the_page(part: str) -> None:
    device = MockDevice(Firmware(DocumentedSilicon()))
    for exchange in exchanges(part):
        assert device.receive(exchange.sent) == exchange.answered


def test_dialogues_of_the_page_were_found() -> None:
    assert (len(exchanges(DIALOGUE)), len(exchanges(PLAIN_DIALOGUE))) == (21, 3)


COMMANDS = re.findall(r"^\| `([A-Z*][^` ]*)(?: [^`]*)?` \|", PAGE, re.MULTILINE)
HEADERS = [command for command in COMMANDS if ":" in command or command[0] == "*"]


@pytest.mark.parametrize("header", sorted({*HEADERS, "READ?", "SAFE", "TEMPerature?"}))
def test_device_knows_every_command_of_the_page(header: str) -> None:
    device = MockDevice(Firmware(DocumentedSilicon()))
    answer = device.receive(b"@1 " + re.sub(r"\[.*\]", "", header).encode() + b"\n")
    assert answer.startswith(b"@1 ")
    assert b"!-113" not in answer


def test_page_has_every_command() -> None:
    assert len({*COMMANDS}) == 27


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
