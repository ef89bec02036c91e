"""One command on its way to its handler, and how a handler refuses it."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from hil.core.errors import DeviceError, FrameError
from hil_drivers.frames import Frame, FrameKind, decode_frame
from hil_drivers.scpi import ScpiError

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A command without its header."""

    parameters: list[str]
    """What stood behind the header, split at commas."""
    block: bytes | None
    """Content of the block parameter."""
    sequence: int
    """Tag of the request; 0 for plain SCPI."""
    client: int = 0
    """Number of the client that sent it."""
    has_answer: bool = False
    """Whether an earlier command of the same message has answered."""


Handler = Callable[[Call], str | bytes | None]
"""Carries out one command; returns the text or block of its answer, None for a plain OK."""


def refusal(code: ScpiError, detail: str) -> DeviceError:
    """Return the error to raise: the standard's words, then what is the matter."""
    return DeviceError(code, f"{code.words}; {detail}")


def only_parameter(call: Call) -> str:
    """Return the one parameter; refuse none, more, or a block."""
    if call.block is not None or len(call.parameters) > 1:
        raise refusal(ScpiError.PARAMETER_NOT_ALLOWED, "one parameter is due")
    if not call.parameters:
        raise refusal(ScpiError.MISSING_PARAMETER, "one parameter is due")
    return call.parameters[0]


def only_mask(call: Call) -> int:
    """Return the one parameter, a register's bits: a decimal number, rounded to 0 to 255.

    Any decimal form is taken (IEEE 488.2-1992, 7.7.2).
    """
    word = only_parameter(call)
    if not _DECIMAL.fullmatch(word):
        raise refusal(ScpiError.DATA_TYPE_ERROR, f"{word[:20]}: must be a decimal number")
    number = float(word)
    if not -0.5 <= number < 255.5:
        raise refusal(ScpiError.DATA_OUT_OF_RANGE, f"{word[:20]}: must be 0 to 255")
    return math.floor(number + 0.5)


def no_parameters(call: Call) -> None:
    """Refuse parameters and blocks."""
    if call.parameters or call.block is not None:
        raise refusal(ScpiError.PARAMETER_NOT_ALLOWED, "no parameter is due")


def only_frame(call: Call, kind: FrameKind) -> Frame:
    """Return the frame that the command carries; refuse all else."""
    if call.parameters:
        raise refusal(ScpiError.PARAMETER_NOT_ALLOWED, "send a block only")
    if call.block is None:
        raise refusal(ScpiError.MISSING_PARAMETER, f"a block with {kind.name.lower()} is due")
    try:
        return decode_frame(call.block)
    except FrameError as error:
        raise refusal(ScpiError.BLOCK_DATA_ERROR, str(error)) from error


def check_shape(frame: Frame, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if frame.payload.shape != shape:
        raise refusal(
            ScpiError.DATA_OUT_OF_RANGE,
            f"{frame.kind.name.lower()} of shape {frame.payload.shape}: must be {shape}",
        )


def check_magnitude(frame: Frame) -> None:
    """Refuse -128, which sign and magnitude cannot hold."""
    if frame.payload.min(initial=0) < -127:
        raise refusal(
            ScpiError.DATA_OUT_OF_RANGE,
            f"{frame.kind.name.lower()} hold -128: sign and magnitude reach from -127 to 127",
        )
