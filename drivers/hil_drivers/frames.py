"""Frames: the typed, checked arrays inside the protocol's bulk-data blocks.

::

    offset  size  field
         0     4  magic            48 49 4C 46, "HILF"
         4     1  version          1
         5     1  kind             1 weights, 2 inputs, 3 counts, 4 outputs, 5 registers
         6     1  read mode        0 none, 1 one-phase, 4 four-phase
         7     1  dtype            1 int8, 2 uint8, 3 int16, 4 uint16
         8     4  sequence         tag of the request that this frame belongs to; 0 for none
        12     2  core             0 ...
        14     1  dimensions       1 to 3
        15     1  reserved         0
        16    12  shape            three numbers of 4 bytes; those beyond the dimensions are 1
        28     4  first vector     index of the first vector in this frame
        32     -  payload          array elements, last axis fastest
         -     4  CRC-32C          of everything before it

Every number is little-endian. Written down for firmware engineers in
``docs/reference/protocol.md``, with bytes made by hand; the tests hold this module to those.

CRC-32C is the Castagnoli polynomial 0x1EDC6F41, reflected, initial value and final XOR all ones;
check value 0xE3069283 for the nine ASCII digits "123456789" (RFC 3720, appendix B.4).
"""

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.readout import ReadMode
from hil_drivers.link_fault import FaultKind, FrameFault

MAGIC = b"HILF"
VERSION = 1
HEADER_BYTES = 32
CRC_BYTES = 4

_HEADER = struct.Struct("<4sBBBBIHBB3II")
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<i1"),
    2: np.dtype("<u1"),
    3: np.dtype("<i2"),
    4: np.dtype("<u2"),
}
_DTYPE_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_READ_MODES = {0: None, 1: ReadMode.ONE_PHASE, 4: ReadMode.FOUR_PHASE}
_READ_MODE_CODES = {mode: code for code, mode in _READ_MODES.items()}


class FrameKind(IntEnum):
    """What a frame carries, and so the meaning of its axes."""

    WEIGHTS = 1
    """int8 (row, column)"""
    INPUTS = 2
    """int8 (vector, row)"""
    COUNTS = 3
    """uint16 (vector, polarity, column)"""
    OUTPUTS = 4
    """int8 (vector, column)"""
    REGISTERS = 5
    """int16 (register, column): scale_p, scale_n, offset, swap"""


_KINDS = {int(kind): kind for kind in FrameKind}
_LAYOUT: dict[FrameKind, tuple[np.dtype[Any], int]] = {
    FrameKind.WEIGHTS: (np.dtype("<i1"), 2),
    FrameKind.INPUTS: (np.dtype("<i1"), 2),
    FrameKind.COUNTS: (np.dtype("<u2"), 3),
    FrameKind.OUTPUTS: (np.dtype("<i1"), 2),
    FrameKind.REGISTERS: (np.dtype("<i2"), 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One array with its address."""

    kind: FrameKind
    """What it carries."""
    sequence: int
    """Tag of the request it belongs to, 0 to 2**32 - 1."""
    core: int
    """Core number, 0 to 65535."""
    read_mode: ReadMode | None
    """Read mode, where the kind has one."""
    payload: npt.NDArray[Any]
    """The array, of the dtype and number of axes that its kind demands."""
    first_vector: int = 0
    """Index of the first vector, for kinds whose first axis is the vector."""

    def __post_init__(self) -> None:
        dtype, axes = _LAYOUT[self.kind]
        if self.payload.dtype != dtype or self.payload.ndim != axes:
            raise ValueError(
                f"a {self.kind.name.lower()} frame holds {dtype} with {axes} axes, got "
                f"{self.payload.dtype} with {self.payload.ndim}"
            )
        object.__setattr__(self, "payload", read_only(self.payload))


def encode_frame(frame: Frame) -> bytes:
    """Return the frame's bytes, CRC included."""
    return b"".join(frame_parts(frame))


def frame_parts(frame: Frame) -> tuple[bytes, memoryview, bytes]:
    """Return the frame's bytes in three parts, so that the payload need not be copied here."""
    shape = (*frame.payload.shape, 1, 1, 1)[:3]
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        frame.kind,
        _READ_MODE_CODES[frame.read_mode],
        _DTYPE_CODES[frame.payload.dtype],
        frame.sequence,
        frame.core,
        frame.payload.ndim,
        0,
        *shape,
        frame.first_vector,
    )
    payload = read_only(np.ascontiguousarray(frame.payload).reshape(-1).view(np.uint8))
    crc: int = google_crc32c.extend(google_crc32c.value(header), payload)
    return header, payload.data, crc.to_bytes(CRC_BYTES, "little")


def decode_frame(data: bytes | bytearray | memoryview) -> Frame:
    """Read a frame from exactly its bytes; the payload is a view of them, not a copy.

    Raises
    ------
    FrameFault
        If the bytes are no frame of this version, contradict themselves, or fail their CRC. The
        message names the field, its offset, what it holds and what it may hold.
    """
    if len(data) < HEADER_BYTES + CRC_BYTES:
        raise FrameFault(
            FaultKind.WRONG_FRAME,
            f"frame of {len(data)} bytes: must be at least {HEADER_BYTES + CRC_BYTES}",
        )
    (
        magic, version, kind_code, mode_code, dtype_code,
        sequence, core, axes, reserved, *shape, first_vector,
    ) = _HEADER.unpack_from(data)  # fmt: skip
    if magic != MAGIC:
        raise FrameFault(
            FaultKind.WRONG_FRAME, f"frame magic at offset 0 is {magic!r}: must be {MAGIC!r}"
        )
    if version != VERSION:
        raise FrameFault(
            FaultKind.WRONG_VERSION,
            f"frame version at offset 4 is {version}: this software reads {VERSION}",
        )
    _check_crc(data)
    kind, dtype = _checked_kind(kind_code, mode_code, dtype_code, axes, reserved)
    payload_bytes = math.prod(shape) * dtype.itemsize
    if len(data) != HEADER_BYTES + payload_bytes + CRC_BYTES or any(
        size != 1 for size in shape[axes:]
    ):
        raise FrameFault(
            FaultKind.WRONG_FRAME,
            f"frame shape at offset 16 is {tuple(shape)} of {dtype}, {payload_bytes} bytes: the "
            f"frame holds {len(data) - HEADER_BYTES - CRC_BYTES}",
        )
    flat = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=HEADER_BYTES)
    return Frame(
        kind=kind,
        sequence=sequence,
        core=core,
        read_mode=_READ_MODES[mode_code],
        payload=flat.reshape(shape[:axes]),
        first_vector=first_vector,
    )


def _checked_kind(
    kind_code: int, mode_code: int, dtype_code: int, axes: int, reserved: int
) -> tuple[FrameKind, np.dtype[Any]]:
    """Return the kind of a frame, and the type of its values."""
    if kind_code not in _KINDS:
        raise FrameFault(
            FaultKind.WRONG_FRAME, f"frame kind at offset 5 is {kind_code}: must be 1 to 5"
        )
    if mode_code not in _READ_MODES:
        raise FrameFault(
            FaultKind.WRONG_FRAME, f"frame read mode at offset 6 is {mode_code}: must be 0, 1 or 4"
        )
    kind = _KINDS[kind_code]
    dtype, expected_axes = _LAYOUT[kind]
    if _DTYPES.get(dtype_code) != dtype:
        raise FrameFault(
            FaultKind.WRONG_FRAME,
            f"frame dtype at offset 7 is {dtype_code}: a {kind.name.lower()} frame has "
            f"{_DTYPE_CODES[dtype]} ({dtype})",
        )
    if axes != expected_axes or reserved != 0:
        raise FrameFault(
            FaultKind.WRONG_FRAME,
            f"frame dimensions at offset 14 are {axes} (then {reserved}): a "
            f"{kind.name.lower()} frame has {expected_axes} (then 0)",
        )
    return kind, dtype


def _check_crc(data: bytes | bytearray | memoryview) -> None:
    # google_crc32c takes read-only buffers only; a read-only array view costs no copy.
    body = np.frombuffer(data, dtype=np.uint8, count=len(data) - CRC_BYTES)
    computed = google_crc32c.value(read_only(body))
    stored = int.from_bytes(data[-CRC_BYTES:], "little")
    if computed != stored:
        raise FrameFault(
            FaultKind.WRONG_CRC,
            f"frame CRC-32C at offset {len(data) - CRC_BYTES} is {stored:#010x}: its bytes give "
            f"{computed:#010x}; the link changed them",
        )
