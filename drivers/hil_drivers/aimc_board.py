"""The chip driver for boards that speak ``docs/reference/protocol.md``."""

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import FrameError
from hil.core.legible import printable, quoted
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_drivers.frames import Frame, FrameKind, encode_frame
from hil_drivers.session import Session

PROTOCOL_VERSION = 1

_SAFE_LIMIT_S = 5.0
"""A device that cannot be made safe within this time has to be seen to by a person."""

_MOST_CORES = 1 << 16
"""A frame has 16 bits for the core number."""
_LONGEST_SIDE = 1 << 16
_MOST_CELLS = 1 << 26
_MOST_VECTORS = 1 << 20
"""Far beyond any chip; a device that claims more would exhaust the host's memory."""

READ_MODE_WORDS = {ReadMode.ONE_PHASE: "ONEPhase", ReadMode.FOUR_PHASE: "FOURphase"}
"""The protocol's words for the read modes."""


class AimcBoard:
    """`Chip` over a `Session`.

    Parameters
    ----------
    session
        The conversation; the board closes it.

    Raises
    ------
    FrameError
        If the device speaks another version of the protocol, or another protocol.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        version = session.ask("CHIP:PROTocol?")
        if version != str(PROTOCOL_VERSION):
            raise FrameError(
                f"the device speaks protocol version {version!r}: this driver speaks "
                f"{PROTOCOL_VERSION}"
            )
        self._geometry = self._ask_geometry()

    def identify(self) -> ChipIdentity:
        """Return who the device says it is."""
        answer = self._session.ask("*IDN?")
        fields = [printable(field.strip()) for field in answer.split(",")]
        if len(fields) != 4:
            raise FrameError(f"*IDN?: {answer!r} has {len(fields)} fields: IEEE 488.2 says 4")
        manufacturer, model, serial, firmware = fields
        return ChipIdentity(
            manufacturer=manufacturer, model=model, serial=serial, firmware=firmware
        )

    def geometry(self) -> ChipGeometry:
        """Return how large the chip is."""
        return self._geometry

    def reset(self) -> None:
        """Return to the power-on settings; programmed weights stay."""
        self._session.tell("*RST")

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program a core's weights, shape (row, column)."""
        self._check_shape("weights", weights, (self._geometry.rows, self._geometry.columns))
        self._session.tell(f"CORE:SELect {core}")
        self._tell_array("CORE:PROGram", FrameKind.WEIGHTS, core, None, weights)

    def read_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Multiply input vectors (vector, row); return counts (vector, polarity, column)."""
        self._drive(core, read_mode, inputs, nmpu="OFF")
        return self._counts("READ?", core, read_mode, len(inputs))

    def read_corrected(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.int8]:
        """Multiply input vectors (vector, row); return the NMPU's outputs (vector, column)."""
        self._drive(core, read_mode, inputs, nmpu="ON")
        shape = (len(inputs), self._geometry.columns)
        return self._ask_array("READ?", FrameKind.OUTPUTS, core, read_mode, shape)

    def latched_counts(
        self, core: int, read_mode: ReadMode, vectors: int
    ) -> npt.NDArray[np.uint16]:
        """Return the counts (vector, polarity, column) behind the last multiplication."""
        return self._counts("FETCh:COUNts?", core, read_mode, vectors)

    def write_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        """Load NMPU registers and format for a core in a read mode."""
        self._select(core, read_mode)
        self._session.tell(f'NMPU:FORMat "{fmt.to_text()}"')
        self._tell_array(
            "NMPU:REGisters", FrameKind.REGISTERS, core, read_mode, registers.to_codes()
        )

    def read_nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        """Return what `write_nmpu` loaded."""
        self._select(core, read_mode)
        text = self._session.ask("NMPU:FORMat?").strip('"')
        shape = (4, self._geometry.columns)
        codes = self._ask_array("NMPU:REGisters?", FrameKind.REGISTERS, core, read_mode, shape)
        try:
            return NmpuFormat.from_text(text), NmpuRegisters.from_codes(codes)
        except ValueError as error:
            raise FrameError(f"the device's NMPU settings make no sense: {error}") from error

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the chip's temperature near a core, in degrees Celsius."""
        self._select(core, read_mode)
        answer = self._session.ask("TEMPerature?")
        try:
            temperature = float(answer)
        except ValueError as error:
            raise FrameError(f"TEMPerature?: {answer!r} is no number") from error
        if not math.isfinite(temperature):
            raise FrameError(f"TEMPerature?: {answer!r} is no temperature")
        return temperature

    def safe(self) -> None:
        """Leave the chip with no input driven and the NMPU off."""
        self._session.tell("SAFE", limit_s=_SAFE_LIMIT_S)

    def close(self) -> None:
        """Close the link."""
        self._session.close()

    def _ask_geometry(self) -> ChipGeometry:
        answer = self._session.ask("CHIP:GEOMetry?")
        numbers = [number.strip() for number in answer.split(",")]
        if len(numbers) != 5 or not all(re.fullmatch("[0-9]{1,20}", text) for text in numbers):
            raise FrameError(
                f"CHIP:GEOMetry?: {quoted(answer)} must be five numbers: cores, rows, columns, "
                "counter bits, most vectors in one block"
            )
        cores, rows, columns, counter_bits, max_vectors = map(int, numbers)
        if min(cores, rows, columns, max_vectors) < 1 or not 1 <= counter_bits <= 16:
            raise FrameError(f"CHIP:GEOMetry?: {answer!r} describes no chip")
        if (
            cores > _MOST_CORES
            or max(rows, columns) > _LONGEST_SIDE
            or rows * columns > _MOST_CELLS
            or max_vectors > _MOST_VECTORS
        ):
            raise FrameError(
                f"CHIP:GEOMetry?: {answer!r} is too large: must be at most {_MOST_CORES} cores, "
                f"{_LONGEST_SIDE} rows, {_LONGEST_SIDE} columns, {_MOST_CELLS} cells a core and "
                f"{_MOST_VECTORS} vectors"
            )
        return ChipGeometry(
            cores=cores,
            rows=rows,
            columns=columns,
            counter_bits=counter_bits,
            max_vectors=max_vectors,
        )

    def _select(self, core: int, read_mode: ReadMode) -> None:
        self._session.tell(f"CORE:SELect {core}")
        self._session.tell(f"READ:MODE {READ_MODE_WORDS[read_mode]}")

    def _drive(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8], *, nmpu: str
    ) -> None:
        self._check_shape("inputs", inputs, (len(inputs), self._geometry.rows))
        if not 1 <= len(inputs) <= self._geometry.max_vectors:
            raise ValueError(
                f"{len(inputs)} input vectors: must be 1 to {self._geometry.max_vectors} at once"
            )
        self._select(core, read_mode)
        self._session.tell(f"NMPU:STATe {nmpu}")
        self._tell_array("INPut:DATA", FrameKind.INPUTS, core, read_mode, inputs)

    def _counts(
        self, query: str, core: int, read_mode: ReadMode, vectors: int
    ) -> npt.NDArray[np.uint16]:
        shape = (vectors, 2, self._geometry.columns)
        counts = self._ask_array(query, FrameKind.COUNTS, core, read_mode, shape)
        highest = (1 << self._geometry.counter_bits) - 1
        if counts.max(initial=0) > highest:
            raise FrameError(
                f"{query}: a count of {counts.max()}: the device's counters hold {highest} at most"
            )
        return counts

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
            raise FrameError(f"{query}: the device answered with {wrong}")
        return frame.payload

    @staticmethod
    def _check_shape(name: str, array: npt.NDArray[np.int8], shape: tuple[int, ...]) -> None:
        if array.dtype != np.int8 or array.shape != shape:
            raise ValueError(f"{name}: must be int8 {shape}, got {array.dtype} {array.shape}")
