"""How many bytes a campaign moves over a link that speaks ``docs/reference/protocol.md``.

The lengths are those of the driver's own encoders. Not counted: what TCP, HiSLIP or serial packets
add, what faults repeat, and the digits that tags differ by.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.estimate.steps import StepOutline, programmings
from hil.core.readout import ChipGeometry
from hil_drivers.board_requests import READ_MODE_WORDS
from hil_drivers.frames import CRC_BYTES, HEADER_BYTES
from hil_drivers.link import encode_request
from hil_drivers.message_bytes import HIGHEST_TAG
from hil_drivers.scpi import block_head

_TAG = HIGHEST_TAG
"""Nine tags of ten have as many digits as the highest."""
_TAG_BYTES = len(b"@%d " % _TAG)
_OK = len("OK\n")
_TYPICAL_ANSWERS = {
    "*IDN?": 40,
    "SYSTem:BOOT?": 10,
    "CHIP:PROTocol?": 1,
    "CHIP:GEOMetry?": 17,
    "CHIP:SOURce?": 3,
    "CORE:PROGram?": 12,
    "TEMPerature?": 6,
    "SYSTem:LOCK:OWNer?": 4,
}
"""Bytes of answers whose text is the device's own; a few bytes more or less change nothing."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What goes over a link."""

    requests: int = 0
    """Requests, each with its answer."""
    sent_bytes: int = 0
    """From the host to the device."""
    received_bytes: int = 0
    """From the device to the host."""

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.requests + other.requests,
            self.sent_bytes + other.sent_bytes,
            self.received_bytes + other.received_bytes,
        )

    def __mul__(self, times: int) -> "Traffic":
        return Traffic(self.requests * times, self.sent_bytes * times, self.received_bytes * times)


class BoardTraffic:
    """What the operations of `hil_drivers.aimc_board` move.

    Parameters
    ----------
    geometry
        Size of the chip.
    config
        The campaign: its NMPU format is part of a request.
    """

    def __init__(self, geometry: ChipGeometry, config: CampaignConfig) -> None:
        self.geometry = geometry
        """Size of the chip."""
        self.block = config.vectors.block
        """Vectors sent and read at a time."""
        self.has_nmpu = config.device.has_nmpu
        """Whether the device corrects by itself."""
        self._format = config.nmpu.to_text()

    def campaign(self, steps: Sequence[StepOutline]) -> Traffic:
        """Return what a whole campaign moves, from the handshake to making safe."""
        total = self.handshake() + _ask("CHIP:SOURce?") + _ask("*IDN?") * 2
        total += _tell("*RST") + _tell("SAFE")
        for core, times in programmings(steps).items():
            total += self.program(core) * times
        for step in steps:
            total += self.step(step)
        return total

    def handshake(self) -> Traffic:
        """Return what connecting moves."""
        queries = ("CHIP:PROTocol?", "CHIP:GEOMetry?", "*IDN?", "SYSTem:BOOT?")
        return sum(map(_ask, queries), Traffic())

    def program(self, core: int) -> Traffic:
        """Return what programming a core moves."""
        weights = _frame(self.geometry.rows * self.geometry.columns)
        return (
            _tell(f"CORE:SELect {core}")
            + _ask("CORE:PROGram?")
            + _tell("CORE:PROGram", block=weights)
        )

    def step(self, step: StepOutline) -> Traffic:
        """Return what a step moves, without programming its core."""
        block, has_nmpu = self.block, self.has_nmpu and step.uses_nmpu
        total = _ask("*IDN?") + self._select(step) + _ask("TEMPerature?")
        for vectors, times in _blocks(step.calibration_vectors, block):
            total += self.read_block(step, vectors, is_corrected=False) * times
        if has_nmpu:
            total += self._load_registers(step) + self._read_registers(step)
        for vectors, times in _blocks(step.verification_vectors, block):
            total += self.read_block(step, vectors, is_corrected=has_nmpu) * times
        return total

    def read_block(self, step: StepOutline, vectors: int, *, is_corrected: bool) -> Traffic:
        """Return what reading a block moves: its counts, and the NMPU's outputs if corrected."""
        counts = _frame(vectors * 2 * self.geometry.columns * 2)
        total = self._select(step) + _tell(f"NMPU:STATe {'ON' if is_corrected else 'OFF'}")
        total += _tell("INPut:DATA", block=_frame(vectors * self.geometry.rows))
        if is_corrected:
            outputs = _frame(vectors * self.geometry.columns)
            return total + _fetch("READ?", outputs) + _fetch("FETCh:COUNts?", counts)
        return total + _fetch("READ?", counts)

    def _load_registers(self, step: StepOutline) -> Traffic:
        registers = _frame(4 * self.geometry.columns * 2)
        total = self._select(step) + _tell(f'NMPU:FORMat "{self._format}"')
        return total + _tell("NMPU:REGisters", block=registers)

    def _read_registers(self, step: StepOutline) -> Traffic:
        answer = len(f'"{self._format}"')
        total = self._select(step) + _ask("NMPU:FORMat?", answer)
        return total + _fetch("NMPU:REGisters?", _frame(4 * self.geometry.columns * 2))

    def _select(self, step: StepOutline) -> Traffic:
        core, read_mode = step.key.core, step.key.read_mode
        return _tell(f"CORE:SELect {core}") + _tell(f"READ:MODE {READ_MODE_WORDS[read_mode]}")


def _blocks(vectors: int, block: int) -> list[tuple[int, int]]:
    """Return sizes of blocks, each with how often it comes."""
    whole, rest = divmod(vectors, block)
    return [(block, whole), *([(rest, 1)] if rest else [])]


def _frame(payload_bytes: int) -> int:
    return HEADER_BYTES + payload_bytes + CRC_BYTES


def _block_bytes(size: int) -> int:
    return len(block_head(size)) + size


def _tell(text: str, *, block: int | None = None) -> Traffic:
    sent = len(encode_request(_TAG, text))
    if block is not None:
        sent += 1 + _block_bytes(block)
    return Traffic(1, sent, _TAG_BYTES + _OK)


def _ask(text: str, answer: int | None = None) -> Traffic:
    received = _TYPICAL_ANSWERS[text] if answer is None else answer
    return Traffic(1, len(encode_request(_TAG, text)), _TAG_BYTES + received + 1)


def _fetch(text: str, frame: int) -> Traffic:
    return Traffic(1, len(encode_request(_TAG, text)), _TAG_BYTES + _block_bytes(frame) + 1)
