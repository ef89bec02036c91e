"""A board's commands, one method each: a request, its answer, and the check that it makes sense.

No method tries twice; `hil_drivers.aimc_board` puts them together to operations that do.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_drivers.board_answers import (
    Programmings,
    StreamState,
    parse_geometry,
    parse_identity,
    parse_latched,
    parse_temperature,
)
from hil_drivers.frames import Frame, FrameKind, encode_frame
from hil_drivers.link_fault import FaultKind, FrameFault
from hil_drivers.scpi import ScpiError
from hil_drivers.session import Session
from hil_drivers.stream_window import StreamShape

PROTOCOL_VERSION = 2

CHECKSUM_WORD = "CRC32C"
"""Behind the version where a device knows the checksums of messages."""

READ_MODE_WORDS = {ReadMode.ONE_PHASE: "ONEPhase", ReadMode.FOUR_PHASE: "FOURphase"}
"""The protocol's words for the read modes."""


class BoardRequests:
    """The commands of ``docs/reference/protocol.md`` over a `Session`.

    Parameters
    ----------
    session
        The conversation.

    Raises
    ------
    FrameError
        If the device speaks another version of the protocol, or another protocol.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        version = session.ask("CHIP:PROTocol?")
        session.has_checksums = version == f"{PROTOCOL_VERSION},{CHECKSUM_WORD}"
        if not session.has_checksums and version != str(PROTOCOL_VERSION):
            raise FrameFault(
                FaultKind.WRONG_ANSWER,
                f"the device speaks protocol version {version!r}: this driver speaks "
                f"{PROTOCOL_VERSION}",
            )
        self.geometry: ChipGeometry = parse_geometry(session.ask("CHIP:GEOMetry?"))
        """How large the chip is."""

    def identity(self) -> ChipIdentity:
        """Ask who the device is."""
        return parse_identity(self._session.ask("*IDN?"))

    def boot(self) -> str:
        """Ask which of its starts the device is running since."""
        return self._session.ask("SYSTem:BOOT?")

    def plays_recording(self) -> bool:
        """Ask whether the device plays a recording."""
        return self._session.ask("CHIP:SOURce?").upper() == "REC"

    def lock(self) -> bool | None:
        """Ask for the device for this client alone; None if it knows no locks."""
        try:
            return self._session.ask("SYSTem:LOCK:REQuest?") == "1"
        except DeviceError as error:
            if error.code != ScpiError.UNDEFINED_HEADER:
                raise
            return None

    def unlock(self, *, limit_s: float) -> None:
        """Let other clients at the device again."""
        self._session.tell("SYSTem:LOCK:RELease", limit_s=limit_s)

    def reset(self) -> None:
        """Return to the power-on settings."""
        self._session.tell("*RST")

    def safe(self) -> None:
        """Drive no input; switch the NMPU off."""
        self._session.tell("SAFE")

    def select(self, core: int, read_mode: ReadMode) -> None:
        """Select a core and a read mode."""
        self._session.tell(f"CORE:SELect {core}")
        self._session.tell(f"READ:MODE {READ_MODE_WORDS[read_mode]}")

    def programmings(self, core: int) -> Programmings:
        """Select a core; ask what it remembers of being programmed."""
        self._session.tell(f"CORE:SELect {core}")
        return Programmings.parse(self._session.ask("CORE:PROGram?"))

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program the selected core."""
        self._tell_array("CORE:PROGram", FrameKind.WEIGHTS, core, None, weights)

    def drive(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8], *, nmpu: str
    ) -> None:
        """Select a core and a read mode, switch the NMPU ON or OFF, hand over input vectors."""
        self.select(core, read_mode)
        self._session.tell(f"NMPU:STATe {nmpu}")
        self._tell_array("INPut:DATA", FrameKind.INPUTS, core, read_mode, inputs)

    def latched(self) -> int:
        """Ask for the tag of the ``READ?`` whose counts are latched, 0 for none."""
        return parse_latched(self._session.ask("READ:LATChed?"))

    def counts(
        self, query: str, core: int, read_mode: ReadMode, vectors: int
    ) -> npt.NDArray[np.uint16]:
        """Ask for counts (vector, polarity, column) by ``READ?`` or ``FETCh:COUNts?``."""
        shape = (vectors, 2, self.geometry.columns)
        counts = self._ask_array(query, FrameKind.COUNTS, core, read_mode, shape)
        self.check_counts(query, counts)
        return counts

    def check_counts(self, query: str, counts: npt.NDArray[np.uint16]) -> None:
        """Refuse counts that the device's counters do not hold."""
        highest = (1 << self.geometry.counter_bits) - 1
        if counts.max(initial=0) > highest:
            raise FrameFault(
                FaultKind.WRONG_ANSWER,
                f"{query}: a count of {counts.max()}: the device's counters hold {highest} at most",
            )

    def outputs(
        self, query: str, core: int, read_mode: ReadMode, vectors: int
    ) -> npt.NDArray[np.int8]:
        """Ask for outputs (vector, column) by ``READ?`` or ``FETCh:OUTPuts?``."""
        shape = (vectors, self.geometry.columns)
        return self._ask_array(query, FrameKind.OUTPUTS, core, read_mode, shape)

    def load_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        """Select a core and a read mode; load their NMPU format and registers."""
        self.select(core, read_mode)
        self._session.tell(f'NMPU:FORMat "{fmt.to_text()}"')
        self._tell_array(
            "NMPU:REGisters", FrameKind.REGISTERS, core, read_mode, registers.to_codes()
        )

    def nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        """Select a core and a read mode; ask for their NMPU format and registers."""
        self.select(core, read_mode)
        text = self._session.ask("NMPU:FORMat?").strip('"')
        shape = (4, self.geometry.columns)
        codes = self._ask_array("NMPU:REGisters?", FrameKind.REGISTERS, core, read_mode, shape)
        try:
            return NmpuFormat.from_text(text), NmpuRegisters.from_codes(codes)
        except ValueError as error:
            raise FrameFault(
                FaultKind.WRONG_ANSWER, f"the device's NMPU settings make no sense: {error}"
            ) from error

    def start_stream(self, shape: StreamShape, source: str) -> None:
        """Start a stream of counts."""
        self._session.tell(
            f"STReam:STARt {shape.vectors},{shape.frame_vectors},{shape.window},{source}"
        )

    def stream_state(self) -> StreamState:
        """Ask how far the device is with its stream."""
        return StreamState.parse(self._session.ask("STReam:STATe?"))

    def acknowledge(self, vector: int) -> None:
        """Say that all vectors of the stream below `vector` are done with."""
        self._session.tell(f"STReam:ACKNowledge {vector}")

    def stop_stream(self) -> None:
        """Stop the stream, if there is one."""
        self._session.tell("STReam:STOP")

    def continue_at(self, core: int, read_mode: ReadMode, vector: int) -> bool:
        """Have a simulated chip go on with the noise of a vector; False if it is none."""
        self.select(core, read_mode)
        try:
            self._session.tell(f"SIMulation:VECTor {vector}")
        except DeviceError as error:
            if error.code not in {ScpiError.UNDEFINED_HEADER, ScpiError.SETTINGS_CONFLICT}:
                raise
            return False
        return True

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Select a core and a read mode; measure the temperature, degrees Celsius."""
        self.select(core, read_mode)
        return parse_temperature(self._session.ask("TEMPerature?"))

    def _tell_array(
        self,
        command: str,
        kind: FrameKind,
        core: int,
        read_mode: ReadMode | None,
        array: npt.NDArray[Any],
    ) -> None:
        def make_frame(tag: int) -> bytes:
            return encode_frame(
                Frame(kind=kind, sequence=tag, core=core, read_mode=read_mode, payload=array)
            )

        self._session.tell_frame(command, make_frame)

    def _ask_array(
        self,
        query: str,
        kind: FrameKind,
        core: int,
        read_mode: ReadMode,
        shape: tuple[int, ...],
    ) -> npt.NDArray[Any]:
        frame = self._session.ask_frame(query, kind)
        got = (frame.core, frame.read_mode, frame.payload.shape, frame.first_vector)
        due = (core, read_mode, shape, 0)
        if got != due:
            names = ("core", "read mode", "shape", "first vector")
            wrong = "; ".join(
                f"{name} {value} where {wanted} is due"
                for name, value, wanted in zip(names, got, due, strict=True)
                if value != wanted
            )
            raise FrameFault(FaultKind.WRONG_FRAME, f"{query}: the device answered with {wrong}")
        return frame.payload
