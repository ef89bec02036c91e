"""Frames as bytes, made by hand from ``docs/reference/protocol.md``, and what they hold.

The CRCs come from an implementation that shares nothing with the project's: one bit at a time, in
`crc32c_bit_by_bit`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_drivers.frames import FrameKind


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFrame:
    """A frame and its bytes."""

    kind: FrameKind
    sequence: int
    core: int
    read_mode: ReadMode | None
    first_vector: int = 0
    payload: npt.NDArray[Any]
    data: bytes


def crc32c_bit_by_bit(data: bytes) -> int:
    """Return the CRC-32C, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def with_crc(body: bytes) -> bytes:
    """Return bytes with their CRC-32C behind them."""
    return body + crc32c_bit_by_bit(body).to_bytes(4, "little")


WEIGHTS = GoldenFrame(
    kind=FrameKind.WEIGHTS,
    sequence=7,
    core=0,
    read_mode=None,
    payload=np.array([[1, -1], [2, -2]], dtype=np.int8),
    data=bytes.fromhex(
        "48494c46 01 01 00 01 07000000 0000 02 00"
        "02000000 02000000 01000000 00000000"
        "01 ff 02 fe b63504f9"
    ),
)
INPUTS = GoldenFrame(
    kind=FrameKind.INPUTS,
    sequence=11,
    core=0,
    read_mode=ReadMode.FOUR_PHASE,
    payload=np.array([[3, -3]], dtype=np.int8),
    data=bytes.fromhex(
        "48494c46 01 02 04 01 0b000000 0000 02 0001000000 02000000 01000000 0000000003 fd a40c70ec"
    ),
)
COUNTS = GoldenFrame(
    kind=FrameKind.COUNTS,
    sequence=12,
    core=0,
    read_mode=ReadMode.FOUR_PHASE,
    payload=np.array([[[10, 300], [4095, 0]]], dtype=np.uint16),
    data=bytes.fromhex(
        "48494c46 01 03 04 04 0c000000 0000 03 00"
        "01000000 02000000 02000000 00000000"
        "0a00 2c01 ff0f 0000 ce7b1af2"
    ),
)
REGISTERS = GoldenFrame(
    kind=FrameKind.REGISTERS,
    sequence=16,
    core=0,
    read_mode=ReadMode.FOUR_PHASE,
    payload=np.array([[128, 255], [64, 192], [-118, 127], [0, 1]], dtype=np.int16),
    data=bytes.fromhex(
        "48494c46 01 05 04 03 10000000 0000 02 00"
        "04000000 02000000 01000000 00000000"
        "8000 ff00 4000 c000 8aff 7f00 0000 0100 2b45e8a0"
    ),
)
OUTPUTS = GoldenFrame(
    kind=FrameKind.OUTPUTS,
    sequence=21,
    core=0,
    read_mode=ReadMode.FOUR_PHASE,
    payload=np.array([[127, -128]], dtype=np.int8),
    data=bytes.fromhex(
        "48494c46 01 04 04 01 15000000 0000 02 0001000000 02000000 01000000 000000007f 80 1cd64821"
    ),
)
LARGE_NUMBERS = GoldenFrame(
    kind=FrameKind.COUNTS,
    sequence=0xFEDCBA98,
    core=0x1234,
    read_mode=ReadMode.ONE_PHASE,
    first_vector=0x01020304,
    payload=np.array([[[1], [0xABCD]]], dtype=np.uint16),
    data=with_crc(
        bytes.fromhex(
            "48494c46 01 03 01 04 98badcfe 3412 03 0001000000 02000000 01000000 040302010100 cdab"
        )
    ),
)

OF_EACH_KIND = (WEIGHTS, INPUTS, COUNTS, OUTPUTS, REGISTERS)
EVERY = (*OF_EACH_KIND, LARGE_NUMBERS)
