"""An NMPU format as the few numbers that a branch-free integer loop needs.

Every rounding is ``(code + add + odd + negative) >> bits``, where ``odd`` is the last bit that
stays, if the mode looks at it, and ``negative`` a correction for codes below 0. Every overflow is
a wrap, then a clip: a wrap over all 32 bits does nothing, nor does a clip to all of them.

Exactness: 32-bit integers hold every intermediate of every format that `NmpuFormat` accepts, so
the loops need no limit and no second path. `largest_magnitude` is the bound, the tests compare it
with 2**31 over all formats.
"""

from typing import NamedTuple

import numpy as np

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, OffsetAt

_INT32 = np.iinfo(np.int32)


class Cut(NamedTuple):
    """One rounding right shift."""

    bits: np.int32
    """Number of bits that go."""
    add: np.int32
    """What is added to every code first."""
    odd_mask: np.int32
    """1 where the last bit that stays is added (ties to even), else 0."""
    negative_mask: np.int32
    """What is added to negative codes."""


class Hold(NamedTuple):
    """How a code is fitted into its register."""

    half: np.int32
    """Half the range of the register that wraps; 0 if it clips."""
    mask: np.int32
    """Its bits; all ones if it clips."""
    lowest: np.int32
    """Lower end of the clip."""
    highest: np.int32
    """Upper end of the clip."""


class Datapath(NamedTuple):
    """Steps 1 to 7 of ``docs/reference/nmpu.md`` for one format."""

    top: np.uint16
    """Largest input; larger counts saturate."""
    per_branch: np.bool_
    """Whether each branch is compressed by itself."""
    is_affine: np.bool_
    """Whether it clips, merges first and rounds alike: sums, shifts and clips are enough."""
    offset_lift: np.int32
    """Left shift of an offset that joins the product."""
    is_offset_first: np.bool_
    """Whether the offset joins the product."""
    cut_pre: np.int32
    """Bits of the product dropped first."""
    compress: Cut
    """Rounding of the product."""
    accumulator: Hold
    """What holds the compressed product."""
    last: Cut
    """Rounding of the output."""
    output: Hold
    """What holds the output, ReLU included."""


def datapath_of(fmt: NmpuFormat, *, relu: bool = False) -> Datapath:
    """Return the numbers that describe a format to the compiled loops."""
    merges_first = fmt.merge is Merge.AFTER_SUBTRACT
    is_uniform = fmt.rounding in (Rounding.HALF_UP, Rounding.FLOOR)
    output = _hold(fmt, fmt.out_bits, lowest=fmt.lowest_output)
    if relu:
        output = output._replace(lowest=np.int32(0))
    return Datapath(
        top=np.uint16((1 << fmt.in_bits) - 1),
        per_branch=np.bool_(not merges_first),
        is_affine=np.bool_(merges_first and is_uniform and fmt.saturate),
        offset_lift=np.int32(max(fmt.scale_frac - fmt.off_frac, 0)),
        is_offset_first=np.bool_(fmt.offset_at is OffsetAt.BEFORE_SHIFT),
        cut_pre=np.int32(fmt.cut_pre),
        compress=_cut(fmt.total_cut - fmt.cut_pre, fmt.rounding),
        accumulator=_hold(fmt, fmt.acc_bits, lowest=-(1 << (fmt.acc_bits - 1))),
        last=_cut(fmt.off_frac, fmt.rounding),
        output=output,
    )


def largest_magnitude(fmt: NmpuFormat) -> int:
    """Return a bound on every intermediate code of a format, rounding constants included."""
    product = ((1 << fmt.in_bits) - 1) * fmt.scale_format.highest_code
    offset = 1 << (fmt.off_bits - 1)
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        product += offset << (fmt.scale_frac - fmt.off_frac)
    accumulated = 2 * (1 << (fmt.acc_bits - 1)) + offset + (1 << fmt.off_frac)
    return max(product + (1 << fmt.total_cut), min(accumulated, 2 * product + offset + 256))


def _cut(bits: int, rounding: Rounding) -> Cut:
    half = (1 << bits) >> 1
    add, odd_mask, negative_mask = {
        Rounding.FLOOR: (0, 0, 0),
        Rounding.HALF_UP: (half, 0, 0),
        Rounding.HALF_EVEN: (half - 1, 1, 0),
        Rounding.HALF_AWAY: (half, 0, -1),
        Rounding.TOWARD_ZERO: (0, 0, (1 << bits) - 1),
    }[rounding]
    if bits == 0:
        add = odd_mask = negative_mask = 0
    return Cut(np.int32(bits), np.int32(add), np.int32(odd_mask), np.int32(negative_mask))


def _hold(fmt: NmpuFormat, bits: int, *, lowest: int) -> Hold:
    if fmt.saturate:
        highest = (1 << (bits - 1)) - 1
        return Hold(np.int32(0), np.int32(-1), np.int32(lowest), np.int32(highest))
    mask = (1 << bits) - 1
    return Hold(
        np.int32(1 << (bits - 1)), np.int32(mask), np.int32(_INT32.min), np.int32(_INT32.max)
    )
