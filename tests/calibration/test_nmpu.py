"""Hand-worked numbers, an independent oracle, and what must hold for all inputs."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.nmpu import apply_nmpu, saturated_inputs
from nmpu_oracle import OneColumn, columns_of, exact_affine, nmpu_formats, oracle_output


def output_of(
    p_count: int, n_count: int, codes: OneColumn, fmt: NmpuFormat, *, relu: bool = False
) -> int:
    p_counts, n_counts = np.array([[p_count]], np.uint16), np.array([[n_count]], np.uint16)
    return int(apply_nmpu(p_counts, n_counts, codes.registers(), fmt, relu=relu)[0, 0])


# By default d = P*Sp - N*Sn has 7 fraction bits, r = (d + 32) >> 6 is in half LSB,
# and y = (r + Off + 1) >> 1. Each line: parameters, P, N, codes, result.
WORKED: dict[str, tuple[dict[str, Any], int, int, OneColumn, int]] = {
    # d = 12800 - 448 = 12352; r = 193; 190; 95
    "plain": ({}, 100, 7, OneColumn(128, 64, -3), 95),
    # 1023 * 8 = 8184; r = 128; 64. Unsaturated it would be 255 -> 127.
    "input-saturates-at-10-bits": ({}, 4095, 0, OneColumn(8, 0, 0), 64),
    "input-saturates-at-6-bits": ({"in_bits": 6}, 100, 0, OneColumn(128, 0, 0), 63),
    "input-of-12-bits-passes": ({"in_bits": 12}, 4095, 0, OneColumn(2, 0, 0), 64),
    # 25500; (25500 + 128) >> 8 = 100; 50
    "shift-by-2": ({"shift": 2}, 100, 0, OneColumn(255, 0, 0), 50),
    # 32: rounded, r = 1, y = 1; all six bits cut first: r = 0, y = 0
    "half-a-step-rounds-up": ({}, 1, 0, OneColumn(32, 0, 0), 1),
    "cut-pre-5-leaves-the-half-bit": ({"cut_pre": 5}, 1, 0, OneColumn(32, 0, 0), 1),
    "cut-pre-6-drops-it": ({"cut_pre": 6}, 1, 0, OneColumn(32, 0, 0), 0),
    # d = -65: >> 6 = -2 (floor); (-2 + 1) >> 1 = -1. Rounded: -33 >> 6 = -1; 0
    "cut-pre-6-of-minus-65": ({"cut_pre": 6}, 0, 1, OneColumn(0, 65, 0), -1),
    "rounded-minus-65": ({}, 0, 1, OneColumn(0, 65, 0), 0),
    # r = 200 does not fit 6 bits: 31 -> 16, or 200 - 192 = 8 -> 4
    "acc-saturates": ({"acc_bits": 6}, 100, 0, OneColumn(128, 0, 0), 16),
    "acc-wraps": ({"acc_bits": 6, "saturate": False}, 100, 0, OneColumn(128, 0, 0), 4),
    "acc-saturates-below": ({"acc_bits": 6}, 0, 100, OneColumn(0, 128, 0), -16),
    "acc-wraps-below": ({"acc_bits": 6, "saturate": False}, 0, 100, OneColumn(0, 128, 0), -4),
    # r = 31 + 20: the sum with the offset is one bit wider, not saturated again
    "offset-is-added-one-bit-wider": ({"acc_bits": 6}, 100, 0, OneColumn(128, 0, 20), 26),
    "output-saturates": ({}, 200, 0, OneColumn(128, 0, 0), 127),
    "output-saturates-below": ({}, 0, 200, OneColumn(0, 128, 0), -128),
    "output-saturates-symmetrically": ({"symmetric": True}, 0, 200, OneColumn(0, 128, 0), -127),
    "output-wraps": ({"saturate": False}, 200, 0, OneColumn(128, 0, 0), -56),
    "output-wraps-below": ({"saturate": False}, 0, 200, OneColumn(0, 128, 0), 56),
    "output-of-4-bits": ({"out_bits": 4}, 100, 0, OneColumn(128, 0, 0), 7),
    # Together 32 - 31 = 1 rounds to 0; apart 32 -> 1 and 31 -> 0
    "branches-merge-before-rounding": ({}, 1, 1, OneColumn(32, 31, 0), 0),
    "branches-round-apart": ({"merge": "per_branch"}, 1, 1, OneColumn(32, 31, 0), 1),
    # r = 200 - 180 = 20 -> 10; apart both saturate at 31
    "difference-saturates": ({"acc_bits": 6}, 100, 90, OneColumn(128, 128, 0), 10),
    "branches-saturate-apart": (
        {"acc_bits": 6, "merge": "per_branch"}, 100, 90, OneColumn(128, 128, 0), 0,
    ),
    # 8 half LSB are 4; before a shift by 2 they are 1
    "offset-after-shift": ({"shift": 2}, 0, 0, OneColumn(0, 0, 8), 4),
    "offset-before-shift": (
        {"shift": 2, "offset_at": "before_shift"}, 0, 0, OneColumn(0, 0, 8), 1,
    ),
    # P branch: 8 << 6 = 512 and 1 * 32: 544 -> r = 9 -> 5
    "offset-before-shift-joins-the-p-branch": (
        {"offset_at": "before_shift", "merge": "per_branch"}, 1, 0, OneColumn(32, 0, 8), 5,
    ),
    # P' = 100, N' = 7: 96.5 -> 97; unswapped -57: r = (896 - 6400) / 64 = -86 -> -43
    "swapped": ({}, 7, 100, OneColumn(128, 64, 0, swap=True), 97),
    "not-swapped": ({}, 7, 100, OneColumn(128, 64, 0), -43),
    # K = 7: (192 + 64) >> 7 = 2; 2 - 5 = -3
    "whole-offsets": ({"off_int": 8, "off_frac": 0}, 3, 0, OneColumn(64, 0, -5), -3),
    # 25500 at 8 fraction bits: (25500 + 64) >> 7 = 199 -> 100
    "all-fraction-scale": ({"scale_int": 0, "scale_frac": 8}, 100, 0, OneColumn(255, 0, 0), 100),
    "9-bit-offset": ({"off_bits": 9}, 10, 0, OneColumn(128, 0, -256), -118),
    "3-fraction-bits-of-offset": (
        {"off_int": 5, "off_frac": 3}, 0, 0, OneColumn(0, 0, 12), 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "p_count", "n_count", "codes", "expected"), WORKED.values(), ids=WORKED
)
def test_worked_number_comes_out(
    parameters: dict[str, Any], p_count: int, n_count: int, codes: OneColumn, expected: int
) -> None:
    assert output_of(p_count, n_count, codes, NmpuFormat(**parameters)) == expected


# Counts times 0.25 are quarter LSB: both roundings act. Columns: P - N = -6, -3, -2, -1, 1, 2, 3, 6
ROUNDED = {
    Rounding.HALF_UP: [-1, 0, 0, 0, 1, 1, 1, 2],
    Rounding.FLOOR: [-2, -1, -1, -1, 0, 0, 0, 1],
    Rounding.HALF_EVEN: [-2, -1, 0, 0, 0, 0, 1, 2],
    Rounding.HALF_AWAY: [-2, -1, -1, -1, 1, 1, 1, 2],
    Rounding.TOWARD_ZERO: [-1, 0, 0, 0, 0, 0, 0, 1],
}


@pytest.mark.parametrize("rounding", Rounding)
def test_both_cuts_round_as_tabulated(rounding: Rounding) -> None:
    fmt, codes = NmpuFormat(rounding=rounding), OneColumn(32, 32, 0)
    differences = (-6, -3, -2, -1, 1, 2, 3, 6)
    outputs = [output_of(max(d, 0), max(-d, 0), codes, fmt) for d in differences]
    assert outputs == ROUNDED[rounding]


@pytest.mark.parametrize(("n_count", "expected"), [(50, 0), (0, 10)], ids=["negative", "positive"])
def test_relu_keeps_positive_outputs_only(n_count: int, expected: int) -> None:
    assert output_of(10, n_count, OneColumn(128, 128, 0), NmpuFormat(), relu=True) == expected


def test_columns_and_vectors_keep_their_places() -> None:
    registers = NmpuRegisters(
        scale_p=np.array([128, 64, 0], np.uint8),
        scale_n=np.array([0, 0, 128], np.uint8),
        offset=np.array([0, 2, 0], np.int16),
        swap=np.array([False, False, True]),
    )
    p_counts = np.array([[1, 10, 3], [2, 20, 4]], np.uint16)
    n_counts = np.array([[9, 9, 5], [9, 9, 6]], np.uint16)
    outputs = apply_nmpu(p_counts, n_counts, registers, NmpuFormat())
    assert outputs.dtype == np.int8
    assert outputs.tolist() == [[1, 6, -3], [2, 11, -4]]


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_every_format_agrees_with_the_oracle(data: st.DataObject) -> None:
    fmt = data.draw(nmpu_formats())
    codes = data.draw(columns_of(fmt))
    relu = data.draw(st.booleans())
    counts = st.one_of(st.integers(0, 2**fmt.in_bits), st.integers(0, 65535))
    pairs = data.draw(st.lists(st.tuples(counts, counts), min_size=1, max_size=12))
    readouts = np.minimum(np.array(pairs), 65535).astype(np.uint16)
    outputs = apply_nmpu(readouts[:, :1], readouts[:, 1:], codes.registers(), fmt, relu=relu)
    expected = [oracle_output(int(p), int(n), codes, fmt, relu=relu) for p, n in readouts]
    assert outputs[:, 0].tolist() == expected


TINY = {
    "in_bits": 2, "scale_int": 1, "scale_frac": 2, "off_int": 2, "off_frac": 1, "off_bits": 3,
    "acc_bits": 4, "out_bits": 3,
}  # fmt: skip


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize(
    "variant",
    [{"shift": 1}, {"merge": Merge.PER_BRANCH, "offset_at": OffsetAt.BEFORE_SHIFT, "cut_pre": 1}],
    ids=["default", "per-branch-before-shift"],
)
def test_a_tiny_unit_agrees_with_the_oracle_everywhere(
    rounding: Rounding, variant: dict[str, Any]
) -> None:
    fmt = NmpuFormat(**(TINY | {"rounding": rounding} | variant))
    cases = np.array(list(product(range(5), range(5), range(8), range(8), range(-4, 4))))
    p_counts, n_counts, scale_p, scale_n, offset = cases.T
    registers = NmpuRegisters(
        scale_p=scale_p.astype(np.uint8),
        scale_n=scale_n.astype(np.uint8),
        offset=offset.astype(np.int16),
        swap=np.zeros(len(cases), np.bool_),
    )
    outputs = apply_nmpu(
        p_counts.astype(np.uint16)[None], n_counts.astype(np.uint16)[None], registers, fmt
    )
    expected = [oracle_output(p, n, OneColumn(*codes), fmt) for p, n, *codes in cases.tolist()]
    assert outputs[0].tolist() == expected


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_output_rises_with_p_and_falls_with_n(data: st.DataObject) -> None:
    fmt = data.draw(nmpu_formats().filter(lambda fmt: fmt.saturate))
    codes = data.draw(columns_of(fmt))
    still = np.full((64, 1), data.draw(st.integers(0, 2**fmt.in_bits - 1)), np.uint16)
    steps = data.draw(st.lists(st.integers(0, 65535), min_size=64, max_size=64))
    rising = np.sort(np.array(steps, np.uint16))[:, None]
    over_p = apply_nmpu(rising, still, codes.registers(), fmt)[:, 0].astype(int)
    over_n = apply_nmpu(still, rising, codes.registers(), fmt)[:, 0].astype(int)
    sign = -1 if codes.swap else 1
    assert (sign * np.diff(over_p) >= 0).all()
    assert (sign * np.diff(over_n) <= 0).all()


@settings(max_examples=200, deadline=None)
@given(
    p_count=st.integers(0, 1023),
    n_count=st.integers(0, 1023),
    codes=st.builds(OneColumn, st.integers(0, 255), st.integers(0, 255), st.integers(-128, 127)),
    shift=st.integers(0, 15),
)
def test_rounding_costs_at_most_three_quarters_of_an_lsb(
    p_count: int, n_count: int, codes: OneColumn, shift: int
) -> None:
    fmt = NmpuFormat(shift=shift)
    exact = exact_affine(p_count, n_count, codes, fmt)
    # Where the exact value is in range with a margin, neither register of 12 and 8 bits saturates.
    if -127 <= exact <= 126:
        error = output_of(p_count, n_count, codes, fmt) - exact
        assert -Fraction(3, 4) <= error <= Fraction(3, 4)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        (Rounding.HALF_UP, 0.25),
        (Rounding.FLOOR, -0.5),
        (Rounding.HALF_EVEN, 0.0),
        (Rounding.HALF_AWAY, 0.25),
        (Rounding.TOWARD_ZERO, -0.5),
    ],
)
def test_two_roundings_move_the_mean_of_positive_outputs(
    rounding: Rounding, expected: float
) -> None:
    # 8 to 72 LSB in steps of 2**-4, each once: P * 8 / 128
    p_counts = np.arange(128, 1152, dtype=np.uint16)[:, None]
    fmt, codes = NmpuFormat(rounding=rounding, in_bits=12), OneColumn(8, 0, 0)
    outputs = apply_nmpu(p_counts, np.zeros_like(p_counts), codes.registers(), fmt)
    # Steps of 1/16 hit ties of their own, an eighth of the half-LSB ones: 1/32 of tolerance.
    assert np.mean(outputs - p_counts / 16) == pytest.approx(expected, abs=1 / 31)


def test_the_error_bound_is_reached() -> None:
    # 0.25 LSB rounds up to 0.5, and that up to 1.
    assert output_of(1, 0, OneColumn(32, 0, 0), NmpuFormat()) - Fraction(32, 128) == Fraction(3, 4)


@pytest.mark.parametrize(
    ("in_bits", "counter_bits", "expected"),
    [(10, 12, [2, 1]), (12, 12, [1, 0]), (10, 10, [3, 1]), (16, 16, [0, 0])],
    ids=["input-narrower", "overflow-code", "as-wide-as-the-counter", "wider-than-all"],
)
def test_saturated_counts_are_counted_per_column(
    in_bits: int, counter_bits: int, expected: list[int]
) -> None:
    counts = np.array([[[1023, 0], [4095, 1022]], [[1024, 4094], [7, 7]]], np.uint16)
    found = saturated_inputs(counts, in_bits=in_bits, counter_bits=counter_bits)
    assert found.tolist() == expected


GOOD = OneColumn(128, 128, 0)


@pytest.mark.parametrize(
    ("p_counts", "n_counts", "message"),
    [
        (np.zeros((1, 1), np.int64), np.zeros((1, 1), np.uint16), "p_counts: must be uint16"),
        (np.zeros((1, 1), np.uint16), np.zeros((1, 1), np.int16), "n_counts: must be uint16"),
        (np.zeros((2, 1), np.uint16), np.zeros((1, 1), np.uint16), "must share one shape"),
        (np.zeros(1, np.uint16), np.zeros(1, np.uint16), "must share one shape"),
        (np.zeros((1, 2), np.uint16), np.zeros((1, 2), np.uint16), "2 columns, registers 1"),
    ],
    ids=["p-dtype", "n-dtype", "shapes", "one-axis", "columns"],
)
def test_wrong_counts_are_refused(
    p_counts: np.ndarray[Any, Any], n_counts: np.ndarray[Any, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        apply_nmpu(p_counts, n_counts, GOOD.registers(), NmpuFormat())


def test_codes_that_do_not_fit_are_refused_not_cut() -> None:
    with pytest.raises(ValueError, match="scale_p of column 0 is 128: must be 0 to 127"):
        output_of(1, 1, GOOD, NmpuFormat(scale_int=0))
