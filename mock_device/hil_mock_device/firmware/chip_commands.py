"""The commands that program a core and multiply with it."""

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.board_answers import crc_of_weights
from hil_drivers.board_requests import CHECKSUM_WORD, PROTOCOL_VERSION, READ_MODE_WORDS
from hil_drivers.frames import FrameKind
from hil_drivers.scpi import ScpiError, matches
from hil_mock_device.firmware.call import (
    Call,
    Handler,
    check_magnitude,
    check_shape,
    no_parameters,
    only_parameter,
    refusal,
)
from hil_mock_device.firmware.settings import CoreMemory, Latch, Settings, encoded
from hil_mock_device.silicon import Silicon

_LAST_PLACE = 1 << 48
"""Vectors that no measurement comes to."""


class ChipCommands:
    """``CORE:PROGram``, ``READ?`` and what belongs to them.

    Parameters
    ----------
    silicon, settings
        What the commands work on.
    """

    def __init__(self, silicon: Silicon, settings: Settings) -> None:
        self._silicon = silicon
        self._settings = settings

    def handlers(self) -> dict[str, Handler]:
        """Return each command's pattern with its handler."""
        return {
            "CHIP:PROTocol?": lambda _: f"{PROTOCOL_VERSION},{CHECKSUM_WORD}",
            "CHIP:GEOMetry?": self._describe_geometry,
            "CHIP:SOURce?": self._tell_source,
            "SYSTem:BOOT?": lambda _: self._settings.boot,
            "CORE:SELect": self._select_core,
            "CORE:SELect?": lambda _: str(self._settings.core),
            "CORE:PROGram": self._program,
            "CORE:PROGram?": self._recall_programming,
            "READ:MODE": self._select_mode,
            "READ:MODE?": lambda _: _short(READ_MODE_WORDS[self._settings.read_mode]),
            "INPut:DATA": self._take_inputs,
            "READ?": self._read,
            "READ:LATChed?": self._tell_latched,
            "FETCh:COUNts?": self._fetch_counts,
            "FETCh:OUTPuts?": self._fetch_outputs,
            "SIMulation:VECTor": self._continue_at,
            "TEMPerature?": self._temperature,
            "SAFE": self._make_safe,
        }

    def _describe_geometry(self, _: Call) -> str:
        size = self._silicon.geometry
        return f"{size.cores},{size.rows},{size.columns},{size.counter_bits},{size.max_vectors}"

    def _tell_source(self, _: Call) -> str:
        return "REC" if getattr(self._silicon, "plays_recording", False) else "SIL"

    def _select_core(self, call: Call) -> None:
        word = only_parameter(call)
        cores = self._silicon.geometry.cores
        if not word.isdigit() or int(word) >= cores:
            detail = f"core {word[:20]}: must be 0 to {cores - 1}"
            raise refusal(ScpiError.DATA_OUT_OF_RANGE, detail)
        self._settings.core = int(word)

    def _select_mode(self, call: Call) -> None:
        word = only_parameter(call)
        for read_mode, pattern in READ_MODE_WORDS.items():
            if matches(pattern, word):
                self._settings.read_mode = read_mode
                return
        raise refusal(
            ScpiError.ILLEGAL_PARAMETER,
            f"read mode {word[:20]}: must be {' or '.join(READ_MODE_WORDS.values())}",
        )

    def _program(self, call: Call) -> None:
        size = self._silicon.geometry
        frame = self._settings.addressed_frame(call, FrameKind.WEIGHTS)
        check_shape(frame, (size.rows, size.columns))
        check_magnitude(frame)
        cores = self._settings.cores
        before = cores.get(frame.core, CoreMemory())
        # Written down before it begins: who loses power in the middle must know that it began.
        cores[frame.core] = CoreMemory(before.programmings + 1)
        try:
            self._silicon.program(frame.core, frame.payload)
        except DeviceError:
            cores[frame.core] = before  # refused, and nothing was done
            raise
        cores[frame.core] = CoreMemory(before.programmings + 1, crc_of_weights(frame.payload))
        self._settings.latched = self._settings.stream = None

    def _recall_programming(self, _: Call) -> str:
        core = self._settings.cores.get(self._settings.core, CoreMemory())
        return f"{core.programmings},{core.weights_crc}"

    def _take_inputs(self, call: Call) -> None:
        size = self._silicon.geometry
        frame = self._settings.addressed_frame(call, FrameKind.INPUTS)
        vectors = len(frame.payload)
        if not 1 <= vectors <= size.max_vectors:
            detail = f"{vectors} vectors: must be 1 to {size.max_vectors}"
            raise refusal(ScpiError.DATA_OUT_OF_RANGE, detail)
        check_shape(frame, (vectors, size.rows))
        check_magnitude(frame)
        self._settings.inputs = frame.payload

    def _read(self, call: Call) -> bytes:
        settings = self._settings
        no_parameters(call)
        if settings.inputs is None:
            detail = "no input vectors: send INPut:DATA first"
            raise refusal(ScpiError.SETTINGS_CONFLICT, detail)
        core, read_mode = settings.core, settings.read_mode
        fmt, registers = settings.nmpu()
        if settings.nmpu_is_on and registers is None:
            detail = "no NMPU registers: send NMPU:REGisters"
            raise refusal(ScpiError.SETTINGS_CONFLICT, detail)
        settings.latched = None  # after a refusal, older counts must not pass for these
        counts = self._silicon.convert(core, read_mode, settings.inputs)
        outputs = None
        if settings.nmpu_is_on and registers is not None:
            outputs = self._correct(core, read_mode, counts, fmt, registers)
        settings.latched = Latch(
            core=core,
            read_mode=read_mode,
            counts=counts,
            sequence=call.sequence,
            outputs=outputs,
        )
        fetch = self._fetch_counts if outputs is None else self._fetch_outputs
        return fetch(call)

    def _correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8] | DeviceError:
        try:
            return self._silicon.correct(core, read_mode, counts, fmt, registers)
        except DeviceError as error:
            return error
        except ValueError as error:
            return refusal(ScpiError.SETTINGS_CONFLICT, str(error))

    def _tell_latched(self, _: Call) -> str:
        latch = self._settings.latched
        return str(0 if latch is None else latch.sequence)

    def _fetch_counts(self, call: Call) -> bytes:
        latch = self._latched(call)
        return encoded(FrameKind.COUNTS, call.sequence, latch.core, latch.read_mode, latch.counts)

    def _fetch_outputs(self, call: Call) -> bytes:
        latch = self._latched(call)
        if isinstance(latch.outputs, DeviceError):
            raise DeviceError(latch.outputs.code, latch.outputs.words)
        if latch.outputs is None:
            detail = "no outputs are latched: the NMPU was off"
            raise refusal(ScpiError.DATA_CORRUPT_OR_STALE, detail)
        return encoded(FrameKind.OUTPUTS, call.sequence, latch.core, latch.read_mode, latch.outputs)

    def _latched(self, call: Call) -> Latch:
        no_parameters(call)
        if self._settings.latched is None:
            detail = "no counts are latched: send READ?"
            raise refusal(ScpiError.DATA_CORRUPT_OR_STALE, detail)
        return self._settings.latched

    def _continue_at(self, call: Call) -> None:
        continue_at = getattr(self._silicon, "continue_at", None)  # only simulated chips have it
        if continue_at is None:
            raise refusal(ScpiError.SETTINGS_CONFLICT, "this is no simulated chip")
        word = only_parameter(call)
        if not word.isdecimal() or int(word) > _LAST_PLACE:
            detail = f"vector {word[:20]}: must be 0 to {_LAST_PLACE}"
            raise refusal(ScpiError.DATA_OUT_OF_RANGE, detail)
        continue_at(self._settings.core, self._settings.read_mode, int(word))

    def _temperature(self, _: Call) -> str:
        core, read_mode = self._settings.core, self._settings.read_mode
        return f"{self._silicon.temperature_c(core, read_mode):.3f}"

    def _make_safe(self, _: Call) -> None:
        self._settings.inputs = self._settings.stream = None
        self._settings.nmpu_is_on = False


def _short(pattern: str) -> str:
    return "".join(letter for letter in pattern if not letter.islower())
