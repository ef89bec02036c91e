"""The error bound of the codes: over every code and count of small formats, and on real widths."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extreme_counts import extreme_counts
from hil.core.correction import Correction
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.error_bound import error_bound, held_correction, rounding_bound
from hil_calibration.nmpu import apply_nmpu, nmpu_outputs
from hil_calibration.quantize import quantize
from nmpu_oracle import nmpu_formats


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
    worst, bound = largest_datapath_error(fmt), rounding_bound(fmt)
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
        (NmpuFormat(cut_pre=2), 3 / 128 + 0.75),
        (NmpuFormat(scale_frac=1), 0.5),
    ],
    ids=[
        "default",
        "whole-offset",
        "floor",
        "per-branch",
        "all-cut",
        "one-cut",
        "two-cut",
        "nothing-to-cut",
    ],
)
def test_roundings_err_by_the_hand_worked_number(fmt: NmpuFormat, bound: float) -> None:
    assert rounding_bound(fmt) == bound


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
    bound = error_bound(
        correction, quantized.registers, quantized.fmt, highest_counts=counts.max(axis=0)
    )
    outputs = apply_nmpu(counts[:, 0], counts[:, 1], quantized.registers, quantized.fmt)
    assert (np.abs(outputs - exact).max(axis=0) <= bound + 1e-12).all()


@pytest.mark.parametrize("swap", [False, True], ids=["plain", "swapped"])
def test_bound_up_to_given_counts_is_the_hand_worked_number(*, swap: bool) -> None:
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
    bound = error_bound(correction, registers, NmpuFormat(shift=1), highest_counts=highest)
    # -0.2 + 10/256 at most, -0.2 - 4 * 2/256 at least, and the datapath's 0.75
    assert bound[0] == pytest.approx(0.2 + 0.03125 + 0.75)


def test_codes_stand_for_real_numbers() -> None:
    registers = NmpuRegisters(
        scale_p=np.array([128, 128], np.uint8),
        scale_n=np.array([64, 64], np.uint8),
        offset=np.array([-3, 3], np.int16),
        swap=np.array([False, True]),
    )
    held = held_correction(registers, NmpuFormat(shift=1))
    assert held.a_p.tolist() == [0.5, -0.25]
    assert held.a_n.tolist() == [0.25, -0.5]
    assert held.b.tolist() == [-1.5, 1.5]


def test_the_bound_is_the_worst_corner_plus_the_roundings() -> None:
    # One code of 1/128 held too much on P over 1023 counts, half a code too little on N,
    # and a quarter LSB too little of offset.
    wanted = Correction(a_p=np.array([127 / 128]), a_n=np.array([64.5 / 128]), b=np.array([-1.25]))
    registers = NmpuRegisters(
        scale_p=np.array([128], np.uint8),
        scale_n=np.array([64], np.uint8),
        offset=np.array([-3], np.int16),
        swap=np.array([False]),
    )
    expected = 1023 / 128 + 1023 * 0.5 / 128 - 0.25 + 0.75
    assert error_bound(wanted, registers, NmpuFormat())[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("parameters", "is_bounded"),
    [
        ({}, True),
        ({"acc_bits": 9}, True),  # 127.5 + 0 passes the last output code, 127
        ({"acc_bits": 8}, False),  # 63.5 does not
        ({"merge": "per_branch", "acc_bits": 11}, False),  # a branch reaches 1023, clips at 511.5
        ({"merge": "per_branch"}, True),
        ({"saturate": False}, False),  # 1023 wraps
        ({"saturate": False, "in_bits": 6}, True),  # 63 does not
    ],
    ids=["paper", "acc-9", "acc-8", "branch-11", "branch-12", "wraps", "cannot-wrap"],
)
def test_what_may_clip_early_or_wrap_has_no_bound(
    parameters: dict[str, Any], is_bounded: bool
) -> None:
    wanted = Correction(a_p=np.ones(1), a_n=np.ones(1), b=np.zeros(1))
    registers = NmpuRegisters(
        scale_p=np.array([128], np.uint8),
        scale_n=np.array([128], np.uint8),
        offset=np.array([0], np.int16),
        swap=np.array([False]),
    )
    bound = error_bound(wanted, registers, NmpuFormat(**parameters))
    assert np.isfinite(bound).tolist() == [is_bounded]


@pytest.mark.parametrize(
    ("highest", "is_bounded"),
    [([127, 100], True), ([128, 100], False), ([100, 125], True), ([100, 126], False)],
    ids=["p", "p-beyond", "n", "n-beyond"],
)
def test_highest_counts_decide_whether_anything_may_wrap(
    highest: list[int], *, is_bounded: bool
) -> None:
    # Swapped, with a scale of 1 on both and an offset of 0.5: N - P + 0.5 give or take
    # 0.75 lies in -128 to 127 while P <= 127.75 and N <= 125.75.
    registers = NmpuRegisters(
        scale_p=np.array([128], np.uint8),
        scale_n=np.array([128], np.uint8),
        offset=np.array([1], np.int16),
        swap=np.array([True]),
    )
    fmt = NmpuFormat(saturate=False)
    bound = error_bound(
        held_correction(registers, fmt), registers, fmt, highest_counts=np.array(highest)[:, None]
    )
    assert np.isfinite(bound).tolist() == [is_bounded]


@pytest.mark.parametrize(
    ("highest", "message"),
    [
        (np.array([10, 20]), r"must have shape \(polarity, column\) = \(2, 1\), got \(2,\)"),
        (np.array([[10], [-1]]), "of column 0: must be 0 to 1023, got -1"),
        (np.array([[1024], [0]]), "must be 0 to 1023, got 1024; larger ones are clipped"),
    ],
    ids=["shape", "negative", "clipped"],
)
def test_highest_counts_that_cannot_be_are_refused(
    highest: npt.NDArray[np.int64], message: str
) -> None:
    one = np.ones(1, np.uint8)
    registers = NmpuRegisters(
        scale_p=one, scale_n=one, offset=np.zeros(1, np.int16), swap=np.array([False])
    )
    fmt = NmpuFormat()
    with pytest.raises(ValueError, match=message):
        error_bound(held_correction(registers, fmt), registers, fmt, highest_counts=highest)


@settings(max_examples=300, deadline=None)
@given(fmt=nmpu_formats(), seed=st.integers(0, 2**32 - 1), small=st.integers(0, 8))
def test_any_codes_in_any_format_stay_within_the_bound(
    fmt: NmpuFormat, seed: int, small: int
) -> None:
    rng = np.random.default_rng(seed)
    size = 6
    highest = 1 << (fmt.scale_int + fmt.scale_frac)
    scale_p, scale_n = rng.integers(0, highest, (2, size)) >> rng.integers(0, 8, (2, size))
    half = 1 << (fmt.off_bits - 1)
    registers = NmpuRegisters(
        scale_p=scale_p.astype(np.uint8),
        scale_n=(scale_p if fmt.shared_scale else scale_n).astype(np.uint8),
        offset=(rng.integers(-half, half, size) >> rng.integers(0, 8, size)).astype(np.int16),
        swap=rng.random(size) < 0.5,
    )
    step = 2.0 ** -(fmt.scale_frac + fmt.shift)
    held = held_correction(registers, fmt)
    wanted = Correction(
        a_p=held.a_p + step * rng.uniform(-1, 1, size),
        a_n=held.a_n + step * rng.uniform(-1, 1, size),
        b=held.b + rng.normal(0, 0.3, size),
    )
    counts = extreme_counts(fmt, size) >> np.uint16(small)
    outputs = apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)
    exact = wanted.a_p * counts[:, 0] - wanted.a_n * counts[:, 1] + wanted.b
    clipped = np.clip(exact, fmt.lowest_output, fmt.highest_output)
    error = abs(outputs - clipped)
    assert (error <= error_bound(wanted, registers, fmt)).all()
    # The counts that occur bound it more closely, and bound wrapping formats at all.
    highest = counts.max(axis=0)
    assert (error <= error_bound(wanted, registers, fmt, highest_counts=highest)).all()


def test_the_paper_format_is_always_bounded() -> None:
    rng = np.random.default_rng(3)
    registers = NmpuRegisters(
        scale_p=rng.integers(0, 256, 1000).astype(np.uint8),
        scale_n=rng.integers(0, 256, 1000).astype(np.uint8),
        offset=rng.integers(-128, 128, 1000).astype(np.int16),
        swap=rng.random(1000) < 0.5,
    )
    held = held_correction(registers, NmpuFormat())
    assert error_bound(held, registers, NmpuFormat()) == pytest.approx(0.75)
