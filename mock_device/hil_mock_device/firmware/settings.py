"""What an instrument is set to, shared by all groups of commands."""

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.frames import Frame, FrameKind, encode_frame
from hil_drivers.scpi import ScpiError
from hil_mock_device.firmware.call import Call, only_frame, refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Latch:
    """What the last multiplication has left."""

    core: int
    """Core that was read."""
    read_mode: ReadMode
    """Read mode it was read in."""
    counts: npt.NDArray[np.uint16]
    """Counts (vector, polarity, column)."""
    sequence: int
    """Tag of the ``READ?``; 0 for plain SCPI."""
    outputs: npt.NDArray[np.int8] | DeviceError | None = None
    """Outputs of the NMPU (vector, column), or why it refused; None where it was off."""


@dataclass(frozen=True, slots=True)
class CoreMemory:
    """What a core keeps without power."""

    programmings: int = 0
    """How often programming was begun."""
    weights_crc: int = 0
    """CRC-32C of its weights; 0 for none, or where the last programming did not end."""


class Settings:
    """The settings; one instrument has one, whoever talks to it."""

    def __init__(self) -> None:
        self.cores: dict[int, CoreMemory] = {}
        """What each core remembers; it outlives a reboot."""
        self.reboot()

    def reboot(self) -> None:
        """Start again: forget everything that needs power."""
        self.boot = secrets.token_hex(4)
        """Names this start of the firmware."""
        self.nmpu_formats: dict[tuple[int, ReadMode], tuple[NmpuFormat, NmpuRegisters | None]] = {}
        """Format and registers of a core in a read mode; they outlive a reset."""
        self.reset()

    def reset(self) -> None:
        """Return to what holds at power-on, weights and NMPU registers excepted."""
        self.core = 0
        """Selected core."""
        self.read_mode = ReadMode.FOUR_PHASE
        """Selected read mode."""
        self.nmpu_is_on = False
        """Whether ``READ?`` answers with the NMPU's outputs."""
        self.inputs: npt.NDArray[np.int8] | None = None
        """Input vectors (vector, row)."""
        self.latched: Latch | None = None
        """What the last multiplication has left."""

    def nmpu(self) -> tuple[NmpuFormat, NmpuRegisters | None]:
        """Return format and registers of the selected core and read mode."""
        return self.nmpu_formats.get((self.core, self.read_mode), (NmpuFormat(), None))

    def addressed_frame(self, call: Call, kind: FrameKind) -> Frame:
        """Return the frame of a command, if it is for the selected core and read mode."""
        frame = only_frame(call, kind)
        if frame.kind is not kind or frame.sequence != call.sequence or frame.core != self.core:
            raise refusal(
                ScpiError.BLOCK_DATA_ERROR,
                f"frame of {frame.kind.name.lower()}, sequence {frame.sequence}, core {frame.core}:"
                f" must be {kind.name.lower()}, {call.sequence}, {self.core}",
            )
        if frame.read_mode not in (None, self.read_mode):
            raise refusal(
                ScpiError.BLOCK_DATA_ERROR,
                f"frame for {frame.read_mode}: the selected read mode is {self.read_mode}",
            )
        return frame


def encoded(
    kind: FrameKind, sequence: int, core: int, read_mode: ReadMode, payload: npt.NDArray[Any]
) -> bytes:
    """Return an array of the device as the bytes of a frame."""
    return encode_frame(
        Frame(kind=kind, sequence=sequence, core=core, read_mode=read_mode, payload=payload)
    )
