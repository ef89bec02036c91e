"""What an instrument is set to, shared by all groups of commands."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.frames import Frame, FrameKind, encode_frame
from hil_drivers.scpi import ScpiError
from hil_drivers.stream_window import StreamShape
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


@dataclass(slots=True, kw_only=True)
class Stream:
    """One stream."""

    tag: int
    """Tag of the ``STReam:STARt``."""
    client: int
    """Number of the client that its frames are pushed to."""
    core: int
    """Core that the counts are of."""
    read_mode: ReadMode
    """Read mode that they were read in."""
    shape: StreamShape
    """How long it is, and how it is cut."""
    count: Callable[[int, int], npt.NDArray[np.uint16]]
    """Makes the counts of the vectors from one to before another one."""
    acknowledged: int = 0
    """All vectors below are done with."""
    sent_to: int = 0
    """All vectors below were sent."""
    kept: dict[int, npt.NDArray[np.uint16]] = field(default_factory=dict)
    """Counts that were sent and not acknowledged, by their first vector."""

    @property
    def has_leave(self) -> bool:
        """Whether the next frame may be pushed."""
        return self.sent_to < self.shape.leave_to(self.acknowledged)

    def make_next(self) -> Frame:
        """Measure the next frame, and keep it."""
        first, end = self.sent_to, self.shape.end_of(self.sent_to)
        self.kept[first] = self.count(first, end)
        self.sent_to = end
        return self.frame(first, self.tag)

    def acknowledge(self, vector: int) -> None:
        """Forget what comes before `vector`."""
        self.acknowledged = max(self.acknowledged, vector)
        for first in [first for first in self.kept if first < self.acknowledged]:
            del self.kept[first]

    def frame(self, first: int, sequence: int) -> Frame:
        """Return a frame that is kept."""
        return Frame(
            kind=FrameKind.COUNTS,
            sequence=sequence,
            core=self.core,
            read_mode=self.read_mode,
            payload=self.kept[first],
            first_vector=first,
        )


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
        self.stream: Stream | None = None
        """What is being streamed."""

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
