"""The NMPU as integer arithmetic: what the unit behind the columns computes, bit for bit.

Bit-exact with the specification in ``docs/reference/nmpu.md``, whose every width and rounding is a
field of `NmpuFormat`; the paper (arXiv 2402.07549) publishes the widths, not the roundings.

Strategy: 32-bit integers hold every intermediate exactly. The widest is a 16-bit count times an
8-bit scale plus an offset aligned to it: 25 bits and a sign.
"""

import numpy as np
import numpy.typing as npt

from hil.core.array_types import IntArray
from hil.core.fixed_point import saturate, shift_right, wrap
from hil.core.nmpu_format import (
    PRESETS,
    Merge,
    NmpuFormat,
    NmpuRegisters,
    OffsetAt,
    preset_format,
)

__all__ = [
    "PRESETS",
    "NmpuFormat",
    "NmpuRegisters",
    "apply_nmpu",
    "check_counts",
    "nmpu_outputs",
    "preset_format",
    "saturated_inputs",
]


def apply_nmpu(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    registers: NmpuRegisters,
    fmt: NmpuFormat,
    *,
    relu: bool = False,
) -> npt.NDArray[np.int8]:
    """Compute the NMPU's output codes.

    Parameters
    ----------
    p_counts, n_counts
        Counter codes, shape (vector, column); those above ``2**fmt.in_bits - 1`` saturate.
    registers
        Register codes, one of each per column.
    fmt
        The unit's widths and roundings.
    relu
        Whether negative outputs become 0.

    Returns
    -------
    Output codes, shape (vector, column), ``fmt.lowest_output`` to ``fmt.highest_output``.

    Raises
    ------
    ValueError
        If the shapes do not match, the counts are not uint16, or a register code does not fit
        its register.

    Source
    ------
    arXiv 2402.07549: ``y = ReLU(x * scale + offset)``; steps 1 to 7 of
    ``docs/reference/nmpu.md``.

    Examples
    --------
    Scales of 1.0 and 0.5 and an offset of -1.5: 100 * 1.0 - 7 * 0.5 - 1.5 = 95.

    >>> registers = NmpuRegisters(
    ...     scale_p=np.array([128], np.uint8), scale_n=np.array([64], np.uint8),
    ...     offset=np.array([-3], np.int16), swap=np.array([False]))
    >>> apply_nmpu(np.array([[100]], np.uint16), np.array([[7]], np.uint16),
    ...            registers, NmpuFormat())
    array([[95]], dtype=int8)
    """
    check_counts(p_counts, n_counts, registers)
    registers.check_fits(fmt)
    return nmpu_outputs(
        p_counts,
        n_counts,
        scale_p=registers.scale_p,
        scale_n=registers.scale_n,
        offset=registers.offset,
        swap=registers.swap,
        fmt=fmt,
        relu=relu,
    )


def nmpu_outputs(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    *,
    scale_p: IntArray,
    scale_n: IntArray,
    offset: IntArray,
    swap: npt.NDArray[np.bool_],
    fmt: NmpuFormat,
    relu: bool = False,
) -> npt.NDArray[np.int8]:
    """Compute `apply_nmpu` on bare code arrays that broadcast against (vector, column).

    The search over neighbouring codes calls this many times. Nothing is checked.
    """
    top = (1 << fmt.in_bits) - 1
    swapped_p = np.minimum(np.where(swap, n_counts, p_counts), top).astype(np.int32)
    swapped_n = np.minimum(np.where(swap, p_counts, n_counts), top).astype(np.int32)
    p_product = swapped_p * scale_p.astype(np.int32)
    n_product = swapped_n * scale_n.astype(np.int32)
    offset_codes = offset.astype(np.int32)
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        p_product = p_product + (offset_codes << (fmt.scale_frac - fmt.off_frac))
        offset_codes = np.zeros_like(offset_codes)
    if fmt.merge is Merge.AFTER_SUBTRACT:
        merged = _compress(p_product - n_product, fmt)
    else:
        merged = _compress(p_product, fmt) - _compress(n_product, fmt)
    rounded = shift_right(merged + offset_codes, fmt.off_frac, fmt.rounding)
    if fmt.saturate:
        outputs = saturate(rounded, fmt.out_bits, is_symmetric=fmt.symmetric)
    else:
        outputs = wrap(rounded, fmt.out_bits)
    if relu:
        outputs = np.maximum(outputs, 0)
    return outputs.astype(np.int8)


def saturated_inputs(
    counts: npt.NDArray[np.uint16], *, in_bits: int, counter_bits: int
) -> npt.NDArray[np.int64]:
    """Count, per column, the counts that the NMPU's input clips or the counter could not hold.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    in_bits
        Width of the NMPU's inputs.
    counter_bits
        Width of the counter; its highest code is an overflow.

    Returns
    -------
    Number of such counts, shape (column,), P and N together.
    """
    lowest_bad = min(1 << in_bits, (1 << counter_bits) - 1)
    return np.asarray((counts >= lowest_bad).sum(axis=(0, 1)), dtype=np.int64)


def _compress(product: IntArray, fmt: NmpuFormat) -> IntArray:
    shifted = shift_right(product >> fmt.cut_pre, fmt.total_cut - fmt.cut_pre, fmt.rounding)
    return saturate(shifted, fmt.acc_bits) if fmt.saturate else wrap(shifted, fmt.acc_bits)


def check_counts(
    p_counts: npt.NDArray[np.uint16], n_counts: npt.NDArray[np.uint16], registers: NmpuRegisters
) -> None:
    """Raise ValueError if counts are not uint16 of one shape (vector, column) of the registers."""
    for name, counts in (("p_counts", p_counts), ("n_counts", n_counts)):
        if counts.dtype != np.uint16:
            raise ValueError(f"{name}: must be uint16, got {counts.dtype}")
    if p_counts.ndim != 2 or p_counts.shape != n_counts.shape:
        raise ValueError(
            "p_counts and n_counts must share one shape (vector, column), got "
            f"{p_counts.shape} and {n_counts.shape}"
        )
    if p_counts.shape[1] != registers.swap.shape[0]:
        raise ValueError(
            f"counts have {p_counts.shape[1]} columns, registers {registers.swap.shape[0]}"
        )
