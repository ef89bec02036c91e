"""The firmware: one request in, one reply out, by ``docs/reference/protocol.md``.

It knows the instrument's settings and error queue; it sees neither sockets nor physics.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError, FrameError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.aimc_board import PROTOCOL_VERSION, READ_MODE_WORDS
from hil_drivers.frames import (
    CRC_BYTES,
    HEADER_BYTES,
    Frame,
    FrameKind,
    decode_frame,
    encode_frame,
)
from hil_drivers.link import Request, encode_answer
from hil_drivers.scpi import ScpiError, matches, split_parameters
from hil_mock_device.silicon import Silicon

_QUEUE_LENGTH = 16
"""Errors kept for plain SCPI clients; SCPI-99 wants at least two."""

_LONGEST_WORDS = 255
"""Most characters of an error's words (SCPI-99, volume 2, chapter 21, SYSTem:ERRor)."""

_log = logging.getLogger(__name__)

Handler = Callable[[list[str], bytes | None, int], str | bytes | None]


class Firmware:
    """The state of one instrument.

    Parameters
    ----------
    silicon
        The chip behind it.
    """

    def __init__(self, silicon: Silicon) -> None:
        self._silicon = silicon
        self._errors: deque[str] = deque()
        self._nmpu: dict[tuple[int, ReadMode], tuple[NmpuFormat, NmpuRegisters | None]] = {}
        self._settle()
        self._commands: dict[str, Handler] = {
            "*IDN?": self._identify,
            "*RST": self._reset,
            "*CLS": self._clear_status,
            "*OPC": _nothing,
            "*OPC?": lambda *_: "1",
            "*WAI": _nothing,
            "*TST?": lambda *_: "0",
            "SYSTem:ERRor[:NEXT]?": self._next_error,
            "SYSTem:VERSion?": lambda *_: "1999.0",
            "CHIP:PROTocol?": lambda *_: str(PROTOCOL_VERSION),
            "CHIP:GEOMetry?": self._describe_geometry,
            "CORE:SELect": self._select_core,
            "CORE:SELect?": lambda *_: str(self._core),
            "CORE:PROGram": self._program,
            "READ:MODE": self._select_mode,
            "READ:MODE?": lambda *_: _short(READ_MODE_WORDS[self._read_mode]),
            "INPut:DATA": self._take_inputs,
            "READ?": self._read,
            "FETCh:COUNts?": self._fetch_counts,
            "NMPU:STATe": self._switch_nmpu,
            "NMPU:STATe?": lambda *_: str(int(self._nmpu_is_on)),
            "NMPU:FORMat": self._set_format,
            "NMPU:FORMat?": self._get_format,
            "NMPU:REGisters": self._set_registers,
            "NMPU:REGisters?": self._get_registers,
            "TEMPerature?": self._temperature,
            "SAFE": self._make_safe,
        }

    @property
    def largest_block(self) -> int:
        """Most bytes a block parameter may have: twice the largest legal one.

        A block that is somewhat too large is then still refused in an answer; only a senseless
        one costs the client its connection.
        """
        size = self._silicon.geometry
        registers_bytes = 4 * 2 * size.columns
        payload = max(size.rows * max(size.columns, size.max_vectors), registers_bytes)
        return 2 * (HEADER_BYTES + payload + CRC_BYTES)

    def handle(self, request: Request) -> bytes:
        """Carry out a request; return the bytes of its answer, which may be none."""
        if request.tag is None:
            return b"".join(
                self._handle_plain(message, request.block if is_last else None)
                for message, is_last in _split_compound(request.text)
            )
        try:
            content = self._run(request.text, request.block, request.tag)
        except DeviceError as error:
            return encode_answer(request.tag, f"!{_spelled(error)}")
        return encode_answer(request.tag, "OK" if content is None else content)

    def report(self, error: FrameError) -> bytes:
        """Return the last words to a client whose bytes make no sense."""
        refusal = _spelled(_error(ScpiError.BLOCK_DATA_ERROR, str(error)))
        self._queue(refusal)
        return encode_answer(0, f"!{refusal}")

    def _handle_plain(self, message: str, block: bytes | None) -> bytes:
        if not message:
            return b""
        try:
            content = self._run(message, block, 0)
        except DeviceError as error:
            self._queue(_spelled(error))
            return b""
        return b"" if content is None else encode_answer(None, content)

    def _run(self, text: str, block: bytes | None, sequence: int) -> str | bytes | None:
        header, rest = (*text.split(maxsplit=1), "", "")[:2]
        for pattern, handler in self._commands.items():
            if matches(pattern, header):
                return self._call(handler, split_parameters(rest), block, sequence)
        raise _error(ScpiError.UNDEFINED_HEADER, header[:40])

    @staticmethod
    def _call(
        handler: Handler, parameters: list[str], block: bytes | None, sequence: int
    ) -> str | bytes | None:
        try:
            return handler(parameters, block, sequence)
        except DeviceError:
            raise
        except Exception as error:
            # A bug in here must look to the client like a broken instrument, not like silence.
            _log.exception("the mock failed at a request with parameters %.200r", parameters)
            detail = f"{type(error).__name__}: {error}"
            raise _error(ScpiError.HARDWARE_ERROR, detail) from error

    def _queue(self, error: str) -> None:
        if len(self._errors) == _QUEUE_LENGTH:
            code = ScpiError.QUEUE_OVERFLOW
            self._errors[-1] = f'{code.value},"{code.words}"'
        else:
            self._errors.append(error)

    # --- the commands -----------------------------------------------------------------------

    def _identify(self, *_: Any) -> str:
        identity = self._silicon.identity
        return ",".join((identity.manufacturer, identity.model, identity.serial, identity.firmware))

    def _reset(self, *_: Any) -> None:
        self._silicon.reset()
        self._settle()

    def _settle(self) -> None:
        self._core = 0
        self._read_mode = ReadMode.FOUR_PHASE
        self._nmpu_is_on = False
        self._inputs: npt.NDArray[np.int8] | None = None
        self._latched: tuple[int, ReadMode, npt.NDArray[np.uint16]] | None = None

    def _clear_status(self, *_: Any) -> None:
        self._errors.clear()

    def _next_error(self, *_: Any) -> str:
        return self._errors.popleft() if self._errors else '0,"No error"'

    def _describe_geometry(self, *_: Any) -> str:
        size = self._silicon.geometry
        return f"{size.cores},{size.rows},{size.columns},{size.counter_bits},{size.max_vectors}"

    def _select_core(self, parameters: list[str], block: bytes | None, _: int) -> None:
        word = _only(parameters, block)
        cores = self._silicon.geometry.cores
        if not word.isdigit() or int(word) >= cores:
            raise _error(ScpiError.DATA_OUT_OF_RANGE, f"core {word[:20]}: must be 0 to {cores - 1}")
        self._core = int(word)

    def _select_mode(self, parameters: list[str], block: bytes | None, _: int) -> None:
        word = _only(parameters, block)
        for read_mode, pattern in READ_MODE_WORDS.items():
            if matches(pattern, word):
                self._read_mode = read_mode
                return
        raise _error(
            ScpiError.ILLEGAL_PARAMETER,
            f"read mode {word[:20]}: must be {' or '.join(READ_MODE_WORDS.values())}",
        )

    def _program(self, parameters: list[str], block: bytes | None, sequence: int) -> None:
        size = self._silicon.geometry
        frame = self._frame(parameters, block, sequence, FrameKind.WEIGHTS)
        _check_shape(frame, (size.rows, size.columns))
        _check_magnitude(frame)
        self._silicon.program(frame.core, frame.payload)
        self._latched = None

    def _take_inputs(self, parameters: list[str], block: bytes | None, sequence: int) -> None:
        size = self._silicon.geometry
        frame = self._frame(parameters, block, sequence, FrameKind.INPUTS)
        vectors = len(frame.payload)
        if not 1 <= vectors <= size.max_vectors:
            raise _error(
                ScpiError.DATA_OUT_OF_RANGE, f"{vectors} vectors: must be 1 to {size.max_vectors}"
            )
        _check_shape(frame, (vectors, size.rows))
        _check_magnitude(frame)
        self._inputs = frame.payload

    def _read(self, parameters: list[str], block: bytes | None, sequence: int) -> bytes:
        _none(parameters, block)
        if self._inputs is None:
            raise _error(ScpiError.SETTINGS_CONFLICT, "no input vectors: send INPut:DATA first")
        fmt, registers = self._nmpu_settings()
        if self._nmpu_is_on and registers is None:
            raise _error(ScpiError.SETTINGS_CONFLICT, "no NMPU registers: send NMPU:REGisters")
        self._latched = None  # after a refusal, older counts must not pass for these
        counts = self._silicon.convert(self._core, self._read_mode, self._inputs)
        self._latched = (self._core, self._read_mode, counts)
        if not self._nmpu_is_on or registers is None:
            return self._fetch_counts([], None, sequence)
        try:
            outputs = self._silicon.correct(self._core, self._read_mode, counts, fmt, registers)
        except ValueError as error:
            raise _error(ScpiError.SETTINGS_CONFLICT, str(error)) from error
        return self._encode(FrameKind.OUTPUTS, sequence, self._core, self._read_mode, outputs)

    def _fetch_counts(self, parameters: list[str], block: bytes | None, sequence: int) -> bytes:
        _none(parameters, block)
        if self._latched is None:
            raise _error(ScpiError.DATA_CORRUPT_OR_STALE, "no counts are latched: send READ?")
        core, read_mode, counts = self._latched
        return self._encode(FrameKind.COUNTS, sequence, core, read_mode, counts)

    def _switch_nmpu(self, parameters: list[str], block: bytes | None, _: int) -> None:
        word = _only(parameters, block).upper()
        if word not in {"ON", "OFF", "1", "0"}:
            raise _error(ScpiError.ILLEGAL_PARAMETER, f"{word[:20]}: must be ON or OFF")
        self._nmpu_is_on = word in {"ON", "1"}

    def _set_format(self, parameters: list[str], block: bytes | None, _: int) -> None:
        text = _only(parameters, block)
        try:
            fmt = NmpuFormat.from_text(text)
        except ValueError as error:
            raise _error(ScpiError.ILLEGAL_PARAMETER, str(error)) from error
        # Registers of another format would mean other numbers: they must be sent again.
        self._nmpu[self._core, self._read_mode] = (fmt, None)

    def _get_format(self, *_: Any) -> str:
        return f'"{self._nmpu_settings()[0].to_text()}"'

    def _set_registers(self, parameters: list[str], block: bytes | None, sequence: int) -> None:
        frame = self._frame(parameters, block, sequence, FrameKind.REGISTERS)
        _check_shape(frame, (4, self._silicon.geometry.columns))
        fmt, _ = self._nmpu_settings()
        try:
            registers = NmpuRegisters.from_codes(frame.payload)
            registers.check_fits(fmt)
        except ValueError as error:
            raise _error(ScpiError.DATA_OUT_OF_RANGE, str(error)) from error
        self._nmpu[self._core, self._read_mode] = (fmt, registers)

    def _get_registers(self, parameters: list[str], block: bytes | None, sequence: int) -> bytes:
        _none(parameters, block)
        _, registers = self._nmpu_settings()
        if registers is None:
            raise _error(ScpiError.SETTINGS_CONFLICT, "no NMPU registers were sent")
        codes = registers.to_codes()
        return self._encode(FrameKind.REGISTERS, sequence, self._core, self._read_mode, codes)

    def _temperature(self, *_: Any) -> str:
        return f"{self._silicon.temperature_c(self._core, self._read_mode):.3f}"

    def _make_safe(self, *_: Any) -> None:
        self._inputs = None
        self._nmpu_is_on = False

    # --- what they share --------------------------------------------------------------------

    def _nmpu_settings(self) -> tuple[NmpuFormat, NmpuRegisters | None]:
        return self._nmpu.get((self._core, self._read_mode), (NmpuFormat(), None))

    def _frame(
        self, parameters: list[str], block: bytes | None, sequence: int, kind: FrameKind
    ) -> Frame:
        if parameters:
            raise _error(ScpiError.PARAMETER_NOT_ALLOWED, "send a block only")
        if block is None:
            raise _error(ScpiError.MISSING_PARAMETER, f"a block with {kind.name.lower()} is due")
        try:
            frame = decode_frame(block)
        except FrameError as error:
            raise _error(ScpiError.BLOCK_DATA_ERROR, str(error)) from error
        if frame.kind is not kind or frame.sequence != sequence or frame.core != self._core:
            raise _error(
                ScpiError.BLOCK_DATA_ERROR,
                f"frame of {frame.kind.name.lower()}, sequence {frame.sequence}, core {frame.core}:"
                f" must be {kind.name.lower()}, {sequence}, {self._core}",
            )
        if frame.read_mode not in (None, self._read_mode):
            raise _error(
                ScpiError.BLOCK_DATA_ERROR,
                f"frame for {frame.read_mode}: the selected read mode is {self._read_mode}",
            )
        return frame

    @staticmethod
    def _encode(
        kind: FrameKind,
        sequence: int,
        core: int,
        read_mode: ReadMode,
        payload: npt.NDArray[Any],
    ) -> bytes:
        return encode_frame(
            Frame(kind=kind, sequence=sequence, core=core, read_mode=read_mode, payload=payload)
        )


def _nothing(*_: Any) -> None:
    """Do nothing: every command is finished when it is answered."""


def _error(code: ScpiError, detail: str) -> DeviceError:
    return DeviceError(code, f"{code.words}; {detail}")


def _spelled(error: DeviceError) -> str:
    """Return an error as it goes over the wire: its number, then its words in quotes, one line."""
    words = " ".join(error.words.replace('"', "'").split())
    return f'{int(error.code)},"{words[:_LONGEST_WORDS]}"'


def _only(parameters: list[str], block: bytes | None) -> str:
    if block is not None or len(parameters) > 1:
        raise _error(ScpiError.PARAMETER_NOT_ALLOWED, "one parameter is due")
    if not parameters:
        raise _error(ScpiError.MISSING_PARAMETER, "one parameter is due")
    return parameters[0]


def _none(parameters: list[str], block: bytes | None) -> None:
    if parameters or block is not None:
        raise _error(ScpiError.PARAMETER_NOT_ALLOWED, "no parameter is due")


def _check_shape(frame: Frame, shape: tuple[int, ...]) -> None:
    if frame.payload.shape != shape:
        raise _error(
            ScpiError.DATA_OUT_OF_RANGE,
            f"{frame.kind.name.lower()} of shape {frame.payload.shape}: must be {shape}",
        )


def _check_magnitude(frame: Frame) -> None:
    if frame.payload.min(initial=0) < -127:
        raise _error(
            ScpiError.DATA_OUT_OF_RANGE,
            f"{frame.kind.name.lower()} hold -128: sign and magnitude reach from -127 to 127",
        )


def _short(pattern: str) -> str:
    return "".join(letter for letter in pattern if not letter.islower())


def _split_compound(text: str) -> list[tuple[str, bool]]:
    """Split a message at semicolons outside quotes; tell which part is the last."""
    parts, current, quote = [], "", ""
    for letter in text:
        if letter == ";" and not quote:
            parts.append(current)
            current = ""
            continue
        if letter in "\"'":
            quote = "" if letter == quote else quote or letter
        current += letter
    parts.append(current)
    return [(part.strip(), position == len(parts) - 1) for position, part in enumerate(parts)]
