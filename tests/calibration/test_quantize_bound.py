"""The error bound of the codes: over every code and count of small formats, and on real widths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.correction import Correction
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.format_choice import datapath_bound, quantization_bound
from hil_calibration.nmpu import apply_nmpu, nmpu_outputs
from hil_calibration.quantize import quantize


def largest_datapath_error(fmt: NmpuFormat) -> float:
    """Compare all codes and counts with exact arithmetic; every number is a multiple of 2**-k."""
    p, n = np.arange(2**fmt.in_bits), np.arange(2**fmt.in_bits)
    scales = np.arange(fmt.scale_format.highest_code + 1)
    offsets = np.arange(fmt.offset_format.lowest_code, fmt.offset_format.highest_code + 1)
    grid = np.meshgrid(p, n, scales, scales, offsets, indexing="ij", sparse=True)
    p_counts, n_counts, scale_p, scale_n, offset = grid
    outputs = nmpu_outputs(
        p_counts.astype(np.uint16),
        n_counts.astype(np.uint16),
        scale_p=scale_p,
        scale_n=scale_n,
        offset=offset,
        swap=np.array(False),
        fmt=fmt,
    )
    weight = 2.0 ** -(fmt.scale_frac + fmt.shift)
    offset_weight = weight if fmt.offset_at is OffsetAt.BEFORE_SHIFT else 2.0**-fmt.off_frac
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        offset_weight = 2.0 ** -(fmt.off_frac + fmt.shift)
    exact = (p_counts * scale_p - n_counts * scale_n) * weight + offset * offset_weight
    return float(np.abs(outputs - exact).max())


@pytest.mark.parametrize("offset_at", list(OffsetAt))
@pytest.mark.parametrize("merge", list(Merge))
@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize(("shift", "cut_pre"), [(0, 0), (1, 0), (1, 2), (0, 2)])
def test_no_code_of_a_small_format_errs_more_than_the_bound(
    rounding: Rounding, merge: Merge, offset_at: OffsetAt, shift: int, cut_pre: int
) -> None:
    fmt = NmpuFormat(
        in_bits=3,
        scale_int=1,
        scale_frac=3,
        off_int=2,
        off_frac=1,
        off_bits=3,
        shift=shift,
        cut_pre=cut_pre,
        rounding=rounding,
        merge=merge,
        offset_at=offset_at,
        acc_bits=12,
        out_bits=8,
    )
    worst, bound = largest_datapath_error(fmt), datapath_bound(fmt)
    assert worst <= bound
    # ... and not far from it: toward_zero never adds its two branches up.
    assert worst >= 0.45 * bound


@pytest.mark.parametrize(
    ("fmt", "bound"),
    [
        (NmpuFormat(), 0.75),
        (NmpuFormat(off_frac=0, off_bits=7), 0.5),
        (NmpuFormat(rounding=Rounding.FLOOR), 0.5 * 63 / 64 + 0.5),
        (NmpuFormat(merge=Merge.PER_BRANCH), 1.0),
        (NmpuFormat(cut_pre=6), 0.5 * 63 / 64 + 0.5),
        (NmpuFormat(cut_pre=1), 0.5 * (1 / 64 + 1 / 2) + 0.5),
    ],
    ids=["default", "whole-offset", "floor", "per-branch", "all-cut", "one-cut"],
)
def test_bounds_worked_by_hand(fmt: NmpuFormat, bound: float) -> None:
    assert datapath_bound(fmt) == bound


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rounding=st.sampled_from(list(Rounding)),
    merge=st.sampled_from(list(Merge)),
    cut_pre=st.integers(0, 4),
    turned=st.booleans(),
)
def test_searched_codes_stay_within_the_bound(
    seed: int, rounding: Rounding, merge: Merge, cut_pre: int, turned: bool
) -> None:
    rng = np.random.default_rng(seed)
    sign = -1 if turned else 1
    correction = Correction(
        a_p=sign * rng.uniform(0.02, 0.3, 4),
        a_n=sign * rng.uniform(0.02, 0.3, 4),
        b=rng.uniform(-40, 40, 4),
    )
    counts = rng.integers(0, 250, (200, 2, 4)).astype(np.uint16)
    exact = correction.apply(counts)
    fmt = NmpuFormat(rounding=rounding, merge=merge, cut_pre=cut_pre)
    quantized = quantize(
        correction,
        fmt,
        is_calibrated=np.ones(4, np.bool_),
        counts=counts,
        expected=exact,
        headroom=1.5,
    )
    bound = quantization_bound(correction, quantized.fmt, quantized.registers, counts.max(axis=0))
    outputs = apply_nmpu(counts[:, 0], counts[:, 1], quantized.registers, quantized.fmt)
    assert (np.abs(outputs - exact).max(axis=0) <= bound + 1e-12).all()


@pytest.mark.parametrize("swap", [False, True], ids=["plain", "swapped"])
def test_bound_worked_by_hand(*, swap: bool) -> None:
    # At shift 1: 129/256 for 0.5 times 10 counts, 66/256 for 0.25 times 4, and 1.0 for 1.2
    gain_p, gain_n = np.array([0.5]), np.array([0.25])
    correction = Correction(
        a_p=-gain_n if swap else gain_p, a_n=-gain_p if swap else gain_n, b=np.array([1.2])
    )
    registers = NmpuRegisters(
        scale_p=np.array([129], np.uint8),
        scale_n=np.array([66], np.uint8),
        offset=np.array([2], np.int16),
        swap=np.array([swap]),
    )
    highest = np.array([[4], [10]] if swap else [[10], [4]])
    bound = quantization_bound(correction, NmpuFormat(shift=1), registers, highest)
    # -0.2 + 10/256 at most, -0.2 - 4 * 2/256 at least, and the datapath's 0.75
    assert bound[0] == pytest.approx(0.2 + 0.03125 + 0.75)
