"""The most that an NMPU's output can differ from the real-valued correction that its codes hold.

Three sources, each bounded by itself: the scale codes, times the highest counts; the offset code;
the roundings of the datapath. Errors of both scales are largest where each count is at an end of
its range, and P and N do not depend on each other, so the worst corner is the bound. Clipping and
ReLU bring two numbers never further apart, unless the accumulator clips what the output would hold
or a code wraps: then there is no bound.
"""

import numpy as np
import numpy.typing as npt

from hil.core.correction import Correction
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt

FloatColumns = npt.NDArray[np.float64]

_TO_NEAREST = (Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.HALF_AWAY)


def held_correction(registers: NmpuRegisters, fmt: NmpuFormat) -> Correction:
    """Return the affine map that register codes stand for, before any rounding of the unit."""
    step = 2.0 ** -(fmt.scale_frac + fmt.shift)
    real_p, real_n = registers.scale_p * step, registers.scale_n * step
    return Correction(
        a_p=np.where(registers.swap, -real_n, real_p),
        a_n=np.where(registers.swap, -real_p, real_n),
        b=registers.offset.astype(np.float64) * fmt.offset_format.step,
    )


def error_bound(
    correction: Correction,
    registers: NmpuRegisters,
    fmt: NmpuFormat,
    *,
    highest_counts: npt.NDArray[np.integer] | None = None,
) -> FloatColumns:
    """Bound the error of the integer model for every pair of counts up to the highest ones.

    Parameters
    ----------
    correction
        What is wanted, output LSB.
    registers
        What is held; any codes, nearest ones or those of a search.
    fmt
        NMPU format with the tile's shift.
    highest_counts
        Largest counts of P and N that occur, shape (polarity, column),
        0 <= count < ``2**fmt.in_bits``; the highest input where None.

    Returns
    -------
    Largest difference between the integer model and the correction clipped to the output codes
    (with ReLU in both or in neither), shape (column,), output LSB; from the nearest code it is at
    most ``floor(error_bound + 0.5)``. Infinite where the accumulator may clip a value that the
    output would hold, or anything may wrap.

    Raises
    ------
    ValueError
        If the highest counts are not of shape (2, column), negative, or beyond the inputs.
    """
    top_p, top_n = tops = _highest_counts(highest_counts, registers, fmt)
    held = held_correction(registers, fmt)
    wrong_p, wrong_n = held.a_p - correction.a_p, correction.a_n - held.a_n
    wrong_b = held.b - correction.b
    above = wrong_b + top_p * np.maximum(wrong_p, 0) + top_n * np.maximum(wrong_n, 0)
    below = wrong_b + top_p * np.minimum(wrong_p, 0) + top_n * np.minimum(wrong_n, 0)
    # A hair of room for the rounding of these sums themselves.
    bound = np.maximum(abs(above), abs(below)) * (1 + 1e-12) + 1e-9 + rounding_bound(fmt)
    return np.where(_is_clipped_late(registers, fmt, tops), bound, np.inf)


def rounding_bound(fmt: NmpuFormat) -> float:
    """Bound what the unit's own roundings err together, in output LSB, while nothing saturates.

    Rounding ``K`` bits after dropping ``cut_pre`` of them errs by at most
    ``(2**cut_pre - 1) / 2**K`` and what the rounding adds; the last rounding adds its own. With
    branches rounded apart, each errs.

    Examples
    --------
    The specification's 0.25 + 0.5:

    >>> rounding_bound(NmpuFormat())
    0.75
    """
    compressed = _compression_error(fmt) * 2.0**-fmt.off_frac
    branches = 1 if fmt.merge is Merge.AFTER_SUBTRACT else 2
    return branches * compressed + _largest_rounding(fmt.off_frac, fmt.rounding)


def _highest_counts(
    given: npt.NDArray[np.integer] | None, registers: NmpuRegisters, fmt: NmpuFormat
) -> FloatColumns:
    """Return the highest counts, shape (polarity, column), before the swap."""
    shape, top = (2, registers.swap.size), (1 << fmt.in_bits) - 1
    if given is None:
        return np.full(shape, float(top))
    if given.shape != shape:
        raise ValueError(
            f"highest_counts: must have shape (polarity, column) = {shape}, got {given.shape}"
        )
    wrong = (given < 0) | (given > top)
    if wrong.any():
        raise ValueError(
            f"highest_counts of column {int(np.argmax(wrong.any(axis=0)))}: must be 0 to {top}, "
            f"got {given[wrong][0]}; larger ones are clipped, which no bound covers"
        )
    return given.astype(np.float64)


def _compression_error(fmt: NmpuFormat) -> float:
    """Return the largest error of the first cut and rounding, in offset steps."""
    cut = (2.0**fmt.cut_pre - 1) * 2.0**-fmt.total_cut
    return cut + _largest_rounding(fmt.total_cut - fmt.cut_pre, fmt.rounding)


def _largest_rounding(bits: int, rounding: Rounding) -> float:
    """Return the largest error of rounding `bits` away, in units of what remains."""
    if bits == 0:
        return 0.0
    return 0.5 if rounding in _TO_NEAREST else 1 - 2.0**-bits


def _is_clipped_late(
    registers: NmpuRegisters, fmt: NmpuFormat, tops: FloatColumns
) -> npt.NDArray[np.bool_]:
    """Return, per column, whether the accumulator changes no output, and nothing wraps."""
    held = held_correction(registers, fmt)
    unit = 2.0**fmt.off_frac
    is_before = fmt.offset_at is OffsetAt.BEFORE_SHIFT
    inside = held.b * unit if is_before else np.zeros(held.b.shape)
    outside = held.b * unit - inside
    step = 2.0 ** -(fmt.scale_frac + fmt.shift) * unit
    inputs: FloatColumns = np.where(registers.swap, tops[::-1], tops)
    branch_p: FloatColumns = registers.scale_p * step * inputs[0]
    branch_n: FloatColumns = registers.scale_n * step * inputs[1]
    error = _compression_error(fmt)
    lowest, highest = -(2.0 ** (fmt.acc_bits - 1)), 2.0 ** (fmt.acc_bits - 1) - 1
    if fmt.merge is Merge.AFTER_SUBTRACT:
        reach_up, reach_down = branch_p + inside, inside - branch_n
    else:
        reach_up = np.maximum(branch_p + inside, branch_n)
        reach_down = np.minimum(inside, 0.0)
    fits = (reach_up + error <= highest) & (reach_down - error >= lowest)
    if not fmt.saturate:
        end = rounding_bound(fmt)
        up, down = (branch_p + inside + outside) / unit, (inside + outside - branch_n) / unit
        return fits & (up + end <= fmt.highest_output) & (down - end >= fmt.lowest_output)
    if fmt.merge is Merge.PER_BRANCH:
        return fits
    covers = (highest + outside >= fmt.highest_output * unit) & (
        lowest + outside <= fmt.lowest_output * unit
    )
    return fits | covers
