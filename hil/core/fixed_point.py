"""Fixed-point registers: the only ways across the border between real values and codes.

A code is an integer; its real value is ``code / 2**frac_bits``. Rounding and overflow are always
named by the caller, never implied.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from hil.core.array_types import IntArray


class Rounding(StrEnum):
    """What happens to the bits that are cut off at the right.

    The worked numbers are codes with one fraction bit, cut to none: -2.5, -1.5, 1.5, 2.5.
    """

    HALF_UP = "half_up"
    """To nearest, ties towards plus infinity: -2, -1, 2, 3."""
    FLOOR = "floor"
    """Towards minus infinity; what an arithmetic shift does: -3, -2, 1, 2."""
    HALF_EVEN = "half_even"
    """To nearest, ties to the even neighbour: -2, -2, 2, 2."""
    HALF_AWAY = "half_away"
    """To nearest, ties away from zero: -3, -2, 2, 3."""
    TOWARD_ZERO = "toward_zero"
    """Towards zero: -2, -1, 1, 2."""


def shift_right(codes: IntArray, bits: int, rounding: Rounding) -> IntArray:
    """Divide integer codes by ``2**bits`` and round.

    Parameters
    ----------
    codes
        Integer codes, any shape, signed dtype, with room for ``2**(bits - 1)`` more.
    bits
        Number of bits to cut, 0 <= bits.
    rounding
        What happens to them.

    Examples
    --------
    >>> shift_right(np.array([-5, -3, 3, 5]), 1, Rounding.HALF_UP)
    array([-2, -1,  2,  3])
    >>> shift_right(np.array([-5, -3, 3, 5]), 1, Rounding.HALF_EVEN)
    array([-2, -2,  2,  2])
    """
    if bits == 0:
        return codes
    half = 1 << (bits - 1)
    if rounding is Rounding.FLOOR:
        return codes >> bits
    if rounding is Rounding.HALF_UP:
        return (codes + half) >> bits
    if rounding is Rounding.HALF_EVEN:
        is_odd_quotient = (codes >> bits) & 1
        return (codes + (half - 1) + is_odd_quotient) >> bits
    is_negative = (codes < 0).astype(codes.dtype)
    if rounding is Rounding.HALF_AWAY:
        return (codes + half - is_negative) >> bits
    return (codes + is_negative * ((1 << bits) - 1)) >> bits


def saturate(codes: IntArray, bits: int, *, is_symmetric: bool = False) -> IntArray:
    """Clip codes to `bits`-wide two's complement; without its lowest code if symmetric."""
    top = (1 << (bits - 1)) - 1
    return np.clip(codes, -top if is_symmetric else -top - 1, top)


def wrap(codes: IntArray, bits: int) -> IntArray:
    """Keep the low `bits` of codes, read as two's complement.

    Examples
    --------
    >>> wrap(np.array([127, 128, -129]), 8)
    array([ 127, -128,  127])
    """
    half = 1 << (bits - 1)
    return ((codes + half) & ((1 << bits) - 1)) - half


@dataclass(frozen=True, slots=True, kw_only=True)
class QFormat:
    """A fixed-point register: `bits` wide, `frac_bits` of them behind the binary point.

    Examples
    --------
    The NMPU's scale register, (1, 7) unsigned, and its offset register, (7, 1) signed:

    >>> scale = QFormat(bits=8, frac_bits=7, is_signed=False)
    >>> scale.lowest, scale.highest, scale.step
    (0.0, 1.9921875, 0.0078125)
    >>> offset = QFormat(bits=8, frac_bits=1, is_signed=True)
    >>> offset.lowest, offset.highest, offset.step
    (-64.0, 63.5, 0.5)
    """

    bits: int
    """Total width."""
    frac_bits: int
    """Bits behind the binary point."""
    is_signed: bool
    """Two's complement if true."""

    @property
    def lowest_code(self) -> int:
        """Smallest code that the register holds."""
        return -(1 << (self.bits - 1)) if self.is_signed else 0

    @property
    def highest_code(self) -> int:
        """Largest code that the register holds."""
        return (1 << (self.bits - self.is_signed)) - 1

    @property
    def step(self) -> float:
        """Real value of one code."""
        return float(2.0**-self.frac_bits)

    @property
    def lowest(self) -> float:
        """Smallest real value."""
        return self.lowest_code * self.step

    @property
    def highest(self) -> float:
        """Largest real value."""
        return self.highest_code * self.step

    def nearest_code(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Round real values to the nearest code (ties to even), clipped to the register's ends."""
        codes = np.rint(values / self.step)
        return np.clip(codes, self.lowest_code, self.highest_code).astype(np.int64)
