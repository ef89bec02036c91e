"""From real-valued corrections to register codes.

Strategy, after the specification's section 3: the shift of the tile is the largest that leaves
every scale its head-room; scales round to the nearest code; the offset is fitted again with the
rounded scales, on the integer model itself, so that truncating formats lose no bias; then the
neighbours of each code (scales +-1, offset +-1) are tried on the integer model's own mean-square
error, and the best stays. Plain rounding is among the candidates, so the search never loses to it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.kernels.search import SearchStart, search


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """Register codes of one tile, and the format (with its shift) they belong to."""

    fmt: NmpuFormat
    """The unit's format with the tile's shift."""
    registers: NmpuRegisters
    """Codes per column."""
    is_offset_clipped: npt.NDArray[np.bool_]
    """Whether the offset stands at an end of its register, shape (column,)."""


def smallest_output_lsb(largest_gain: float, fmt: NmpuFormat, headroom: float) -> float:
    """Return the finest output step that a gain can be held with at shift 0.

    Parameters
    ----------
    largest_gain
        Largest gain magnitude of the tile, in any output unit per count.
    fmt
        The unit's format.
    headroom
        Factor to leave for drift, 1 <= headroom.

    Returns
    -------
    Size of one output LSB in that output unit.
    """
    return largest_gain * headroom / fmt.scale_format.highest


def choose_shift(largest_gain: float, fmt: NmpuFormat, headroom: float) -> int:
    """Return the largest shift at which the largest gain still fits its register with head-room.

    Parameters
    ----------
    largest_gain
        Largest gain magnitude of the tile, output LSB per count.
    fmt
        The unit's format; its own shift is ignored.
    headroom
        Factor to leave for drift, 1 <= headroom.

    Raises
    ------
    ValueError
        If the head-room is below 1: scales would be clipped.
    CalibrationError
        If the gain does not fit even without a shift. It is never clipped: a scale one step too
        large costs about 40 % error (specification, section 3).

    Examples
    --------
    0.3 * 1.5 * 4 = 1.8 fits below 1.99; one shift more would need 3.6.

    >>> choose_shift(0.3, NmpuFormat(), headroom=1.5)
    2
    """
    if not headroom >= 1:
        raise ValueError(f"headroom = {headroom:g}: must be at least 1")
    highest = fmt.scale_format.highest
    # A hair of slack, so that a gain chosen to fit exactly is not lost to its last digit.
    needed = largest_gain * headroom * (1 - 1e-12)
    if needed > highest:
        raise CalibrationError(
            f"largest gain {largest_gain:.4g} output LSB per count with head-room {headroom:g} "
            f"needs a scale of {needed:.4g}, the register holds {highest:g}: make the output step "
            "coarser, or give the scale more integer bits"
        )
    shift = 0
    while shift < 15 and needed * 2 ** (shift + 1) <= highest:
        shift += 1
    return shift


def quantize(
    correction: Correction,
    fmt: NmpuFormat,
    *,
    is_calibrated: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.float64],
    headroom: float,
) -> Quantized:
    """Quantise a tile's correction to register codes.

    Parameters
    ----------
    correction
        Gains and offsets in output LSB, with no mixed signs in a column.
    fmt
        The unit's format; its shift is chosen here.
    is_calibrated
        Which columns have a correction, shape (column,). The others get the neutral one:
        scales and offset 0.
    counts
        Sample of calibration readouts, shape (vector, polarity, column).
    expected
        Their expected outputs, shape (vector, column), output LSB.
    headroom
        Factor to leave for drift, 1 <= headroom.

    Raises
    ------
    CalibrationError
        If the format cannot hold the largest gain.
    """
    magnitude = np.where(is_calibrated, np.maximum(abs(correction.a_p), abs(correction.a_n)), 0.0)
    tile_format = fmt.with_shift(choose_shift(float(magnitude.max(initial=0.0)), fmt, headroom))
    swap = is_calibrated & ((correction.a_p < 0) | (correction.a_n < 0))
    gain_p = np.where(is_calibrated, np.where(swap, -correction.a_n, correction.a_p), 0.0)
    gain_n = np.where(is_calibrated, np.where(swap, -correction.a_p, correction.a_n), 0.0)
    if fmt.shared_scale:  # a polarity that never moves takes the other's scale
        gain_p = gain_n = np.maximum(gain_p, gain_n)
    weight = 2.0**tile_format.shift
    scale_p, scale_n, offset = search(
        SearchStart(
            fmt=tile_format,
            scale_p=tile_format.scale_format.nearest_code(gain_p * weight),
            scale_n=tile_format.scale_format.nearest_code(gain_n * weight),
            offset=tile_format.offset_format.nearest_code(correction.b),
            swap=swap,
            counts=counts,
            expected=expected,
        )
    )
    register = tile_format.offset_format
    offset = np.where(is_calibrated, offset, 0)
    return Quantized(
        fmt=tile_format,
        registers=NmpuRegisters(
            scale_p=np.where(is_calibrated, scale_p, 0).astype(np.uint8),
            scale_n=np.where(is_calibrated, scale_n, 0).astype(np.uint8),
            offset=offset.astype(np.int16),
            swap=swap,
        ),
        is_offset_clipped=(offset == register.lowest_code) | (offset == register.highest_code),
    )
