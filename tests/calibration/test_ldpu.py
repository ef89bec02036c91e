"""The FP16 unit against exact fractions rounded once."""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.correction import Correction
from hil_calibration.ldpu import LdpuCoefficients, apply_ldpu, fused_multiply_add
from nmpu_oracle import oracle_fma, round_to_half

Half = npt.NDArray[np.float16]


def half(*values: float) -> Half:
    return np.array(values, np.float16)


def one_fma(a: float, b: float, c: float) -> float:
    return float(fused_multiply_add(half(a), half(b), half(c))[0])


def assert_matches_oracle(a: Half, b: Half, c: Half) -> None:
    found = fused_multiply_add(a, b, c).astype(np.float64)
    triples = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    expected = np.array([oracle_fma(*triple) for triple in triples])
    is_same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    wrong = np.flatnonzero(~is_same)[:5]
    assert is_same.all(), [
        (float(a[index]), float(b[index]), float(c[index]), found[index], expected[index])
        for index in wrong
    ]


def random_halves(rng: np.random.Generator, size: int) -> Half:
    return rng.integers(0, 1 << 16, size, dtype=np.uint16).view(np.float16)


def test_any_bit_patterns_match_the_oracle() -> None:
    rng = np.random.default_rng(1)
    assert_matches_oracle(*(random_halves(rng, 8000) for _ in range(3)))


def test_near_cancellation_matches_the_oracle() -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=4000).astype(np.float16) for _ in range(2))
    c = (-(a.astype(np.float64) * b)).astype(np.float16)
    assert_matches_oracle(a, b, c)


def test_subnormal_results_match_the_oracle() -> None:
    rng = np.random.default_rng(3)
    a, b = ((rng.normal(size=4000) * 2.0**-8).astype(np.float16) for _ in range(2))
    c = rng.integers(-2000, 2000, 4000) * 2.0**-24
    assert_matches_oracle(a, b, c.astype(np.float16))


def test_products_on_midpoints_with_the_least_addend_match_the_oracle() -> None:
    # (2**11 + 1) * 2**k lies between two FP16 numbers; the addend decides, however small.
    a, b = half(*[683] * 3), half(*[3] * 3)  # 2049
    least = 2.0**-24
    assert fused_multiply_add(a, b, half(0, least, -least)).tolist() == [2048, 2050, 2048]
    a, b = half(*[1023] * 3), half(*[5.00390625] * 3)
    assert_matches_oracle(a, b, half(0, least, -least))


def test_ends_of_the_range_match_the_oracle() -> None:
    ends = [0.0, 2.0**-24, 2.0**-14, 1 + 2.0**-10, 2047, 2048, 65504, math.inf, math.nan]
    signed = half(*ends, *[-end for end in ends])
    a, b, c = (grid.ravel() for grid in np.meshgrid(signed, signed, signed))
    assert_matches_oracle(a, b, c)


@pytest.mark.parametrize(
    ("a", "b", "c", "expected"),
    [
        (1 + 2**-10, 1 - 2**-10, -1, -(2.0**-20)),
        (2048, 1, 1, 2048),  # tie to even
        (2050, 1, 1, 2052),  # tie to even, upwards
        (65504, 1, 15, 65504),
        (65504, 1, 16, math.inf),
        (255, 257, -16, 65504),  # 65519, short of the halfway 65520
        (65504, 65504, -65504, math.inf),
        (2.0**-24, 0.5, 0, 0),  # half of the least subnormal: tie to even
        (2.0**-24, 0.75, 0, 2.0**-24),
        (2.0**-24, 0.5, 2.0**-24, 2.0**-23),
    ],
)
def test_hand_worked_sums_round_once(a: float, b: float, c: float, expected: float) -> None:
    assert one_fma(a, b, c) == expected


@pytest.mark.parametrize(
    ("a", "b", "c"), [(math.inf, 0, 1), (math.inf, 1, -math.inf), (math.nan, 1, 1)]
)
def test_undefined_sums_are_nan(a: float, b: float, c: float) -> None:
    assert math.isnan(one_fma(a, b, c))


def coefficients(
    scale_p: float, scale_n: float, offset: float, bn_scale: float = 1, bn_offset: float = 0
) -> LdpuCoefficients:
    return LdpuCoefficients(
        scale_p=half(scale_p),
        scale_n=half(scale_n),
        offset=half(offset),
        bn_scale=half(bn_scale),
        bn_offset=half(bn_offset),
    )


def one_output(p_count: int, n_count: int, unit: LdpuCoefficients, **options: object) -> int:
    p_counts, n_counts = np.array([[p_count]], np.uint16), np.array([[n_count]], np.uint16)
    return int(apply_ldpu(p_counts, n_counts, unit, **options)[0, 0])  # type: ignore[arg-type]


ADDEND = np.array([[30]], np.int8)


@pytest.mark.parametrize(
    ("p_count", "n_count", "unit", "options", "expected"),
    [
        (100, 7, coefficients(1, 0.5, -1.5), {}, 95),
        (5, 0, coefficients(0.5, 0, 0), {}, 2),  # 2.5: tie to even
        (7, 0, coefficients(0.5, 0, 0), {}, 4),  # 3.5: tie to even
        (2049, 0, coefficients(1, 0, -2040), {}, 8),  # 2049 is 2048 in FP16
        (2051, 0, coefficients(1, 0, -2040), {}, 12),  # 2051 is 2052 in FP16
        (300, 0, coefficients(1, 0, 0), {}, 127),
        (0, 300, coefficients(0, 1, 0), {}, -128),
        (10, 0, coefficients(1, 0, 0, 2, -5), {}, 15),
        (0, 10, coefficients(0, 1, 0, -2, 5), {}, 25),
        (0, 10, coefficients(0, 1, 0), {"relu": True}, 0),
        (0, 10, coefficients(0, 1, 0), {"addend": ADDEND}, 20),
        (0, 10, coefficients(0, 1, 0), {"relu": True, "addend": ADDEND}, 30),
        (0, 40, coefficients(0, 1, 0), {"addend": ADDEND}, -10),
        (0, 40, coefficients(0, 1, 0), {"addend": ADDEND, "relu_after_add": True}, 0),
        (65504, 0, coefficients(1, 0, 0), {"addend": ADDEND}, 127),  # 65534 overflows
        (65535, 65535, coefficients(1, 1, 0), {}, 0),  # inf - inf is NaN, which becomes 0
        (0, 65535, coefficients(0, 1, 0), {}, -128),
    ],
)
def test_output_is_the_hand_worked_code(
    p_count: int,
    n_count: int,
    unit: LdpuCoefficients,
    options: dict[str, object],
    expected: int,
) -> None:
    assert one_output(p_count, n_count, unit, **options) == expected


def test_random_columns_match_the_oracle_chain() -> None:
    rng = np.random.default_rng(4)
    size = 3000
    p_counts, n_counts = (rng.integers(0, 4096, (1, size)).astype(np.uint16) for _ in range(2))
    unit = LdpuCoefficients(
        scale_p=rng.uniform(0, 0.06, size).astype(np.float16),
        scale_n=rng.uniform(0, 0.06, size).astype(np.float16),
        offset=rng.normal(0, 20, size).astype(np.float16),
        bn_scale=rng.normal(1, 0.5, size).astype(np.float16),
        bn_offset=rng.normal(0, 5, size).astype(np.float16),
    )
    addend = rng.integers(-128, 128, (1, size)).astype(np.int8)
    found = apply_ldpu(p_counts, n_counts, unit, relu=True, addend=addend)[0]
    expected = []
    for column in range(size):
        p_half = round_to_half(Fraction(int(p_counts[0, column])))
        n_half = round_to_half(Fraction(int(n_counts[0, column])))
        part = oracle_fma(-n_half, float(unit.scale_n[column]), float(unit.offset[column]))
        merged = oracle_fma(p_half, float(unit.scale_p[column]), part)
        value = oracle_fma(merged, float(unit.bn_scale[column]), float(unit.bn_offset[column]))
        added = round_to_half(Fraction(max(value, 0.0)) + int(addend[0, column]))
        expected.append(max(-128, min(127, round(Fraction(added)))))
    assert found.tolist() == expected


def test_a_correction_becomes_the_nearest_fp16_numbers() -> None:
    correction = Correction(a_p=np.array([0.1]), a_n=np.array([-0.3]), b=np.array([1e6]))
    unit = LdpuCoefficients.from_correction(correction)
    # 0.1 and 0.3 in binary16: 1638 / 2**14 and 1229 / 2**12; 1e6 overflows.
    assert unit.scale_p.tolist() == [1638 / 2**14]
    assert unit.scale_n.tolist() == [-1229 / 2**12]
    assert unit.offset.tolist() == [math.inf]
    assert (unit.bn_scale.tolist(), unit.bn_offset.tolist()) == ([1.0], [0.0])
