"""The FP16 unit against integer arithmetic on bit patterns, on millions of cases.

The oracle never uses floating point: it takes FP16 numbers apart into sign, significand and
exponent, adds 64-bit integers, and rounds once. Where two addends lie more than 40 bits apart, the
smaller is less than one unit of the larger taken 18 bits further down, and its sign alone matters.
"""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.correction import Correction
from hil_calibration.ldpu import LdpuCoefficients, apply_ldpu, fused_multiply_add
from nmpu_oracle import round_to_half

Patterns = npt.NDArray[np.uint16]
Ints = npt.NDArray[np.int64]

INFINITE, NOT_A_NUMBER, SIGN = 0x7C00, 0x7E00, 0x8000
EVERY_PATTERN = np.arange(1 << 16, dtype=np.uint16)


def half(patterns: Patterns) -> npt.NDArray[np.float16]:
    viewed: npt.NDArray[np.float16] = patterns.view(np.float16)
    return viewed


def take_apart(patterns: Patterns) -> tuple[Ints, Ints]:
    """Return signed significand and exponent of its last bit, of finite FP16 numbers."""
    field = ((patterns >> 10) & 31).astype(np.int64)
    significand = (patterns & 1023).astype(np.int64) + np.where(field > 0, 1024, 0)
    sign = np.where(patterns & SIGN, -1, 1)
    return sign * significand, np.maximum(field, 1) - 25


def bit_length(magnitude: Ints) -> Ints:
    length = np.zeros_like(magnitude)
    for step in (32, 16, 8, 4, 2, 1):
        is_longer = magnitude >> (length + step) > 0
        length += np.where(is_longer, step, 0)
    return length + (magnitude > 0)


def rounded_once(value: Ints, exponent: Ints) -> Patterns:
    """Round ``value * 2**exponent`` to FP16, to nearest, ties to even; no sign for a zero."""
    magnitude = abs(value)
    last = np.maximum(exponent + bit_length(magnitude) - 11, -24)
    drop = np.clip(last - exponent, 0, 62)
    kept, rest = magnitude >> drop, magnitude & ((np.int64(1) << drop) - 1)
    kept = np.where(last < exponent, magnitude << np.clip(exponent - last, 0, 11), kept)
    tie = np.where(drop > 0, np.int64(1) << np.maximum(drop - 1, 0), np.int64(1) << 62)
    kept += (rest > tie) | ((rest == tie) & (kept & 1 == 1))
    # The implied leading one carries into the exponent field by itself, also out of rounding.
    patterns = np.where(kept < 1024, kept, ((last + 24) << 10) + kept)
    patterns = np.minimum(patterns, INFINITE)
    return np.asarray(patterns | np.where(value < 0, SIGN, 0), np.uint16)


def oracle_fma(a: Patterns, b: Patterns, c: Patterns) -> Patterns:
    """Compute ``a * b + c``, rounded once; NaN has one pattern."""
    (a_value, a_exp), (b_value, b_exp), (addend, c_exp) = map(take_apart, (a, b, c))
    product, p_exp = a_value * b_value, a_exp + b_exp
    gap = p_exp - c_exp
    low = np.minimum(p_exp, c_exp)
    near = (product << np.clip(gap, 0, 40)) + (addend << np.clip(-gap, 0, 40))
    above = (product << 18) + np.sign(addend)
    below = (addend << 18) + np.sign(product)
    # A zero has no distance: the other addend is the sum.
    is_near = (abs(gap) <= 40) | (product == 0) | (addend == 0)
    value = np.where(is_near, near, np.where(gap > 0, above, below))
    exponent = np.where(is_near, low, np.where(gap > 0, p_exp, c_exp) - 18)
    value = np.where(product == 0, addend, np.where(addend == 0, product, value))
    exponent = np.where(product == 0, c_exp, np.where(addend == 0, p_exp, exponent))
    result = rounded_once(value, exponent)
    p_sign = (a ^ b) & SIGN
    # An exact zero is +0, unless both addends are -0.
    minus_zero = np.where((product == 0) & (addend == 0), p_sign & c & SIGN, 0)
    result = np.where(value == 0, minus_zero, result)
    return with_specials(a, b, c, result)


def with_specials(
    a: Patterns, b: Patterns, c: Patterns, result: npt.NDArray[np.integer]
) -> Patterns:
    a_size, b_size, c_size = ((pattern & 0x7FFF) for pattern in (a, b, c))
    p_sign, c_sign = (a ^ b) & SIGN, c & SIGN
    p_infinite = (a_size == INFINITE) | (b_size == INFINITE)
    c_infinite = c_size == INFINITE
    result = np.where(c_infinite, INFINITE | c_sign, result)
    result = np.where(p_infinite, INFINITE | p_sign, result)
    is_nan = (a_size > INFINITE) | (b_size > INFINITE) | (c_size > INFINITE)
    is_nan |= p_infinite & ((a_size == 0) | (b_size == 0))
    is_nan |= p_infinite & c_infinite & (p_sign != c_sign)
    return np.where(is_nan, NOT_A_NUMBER, result).astype(np.uint16)


def assert_same(a: Patterns, b: Patterns, c: Patterns) -> None:
    found = fused_multiply_add(half(a), half(b), half(c)).view(np.uint16)
    found = np.where(found & 0x7FFF > INFINITE, NOT_A_NUMBER, found)
    expected = oracle_fma(a, b, c)
    wrong = np.flatnonzero(found != expected)[:4]
    cases = [[f"{int(x[k]):04x}" for x in (a, b, c, found, expected)] for k in wrong]
    assert not cases, f"a, b, c, found, expected: {cases}"


@pytest.mark.parametrize("seed", range(8))
def test_half_a_million_random_bit_patterns_match_the_oracle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = rng.integers(0, 1 << 16, (3, 500_000), dtype=np.uint16)
    assert_same(a, b, c)


@pytest.mark.parametrize("seed", range(4))
def test_addends_that_nearly_cancel_match_the_oracle(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    a, b = rng.integers(0, 1 << 16, (2, 250_000), dtype=np.uint16)
    zero = np.zeros_like(a)
    product = oracle_fma(a, b, zero)
    near = product.astype(np.int64) + rng.integers(-2, 3, product.shape)
    assert_same(a, b, (near.astype(np.uint16) ^ SIGN).astype(np.uint16))


@pytest.mark.parametrize("seed", range(2))
def test_products_on_ties_with_the_least_addends_match_the_oracle(seed: int) -> None:
    rng = np.random.default_rng(200 + seed)
    # 12-bit products of two short significands: many are odd, and so midway between two numbers.
    short = half(EVERY_PATTERN)[(EVERY_PATTERN & 15) == 0]
    a, b = (rng.choice(short, 250_000).view(np.uint16) for _ in range(2))
    c = rng.choice(np.array([0, 1, 2, 0x8000, 0x8001, 0x0400, 0x8400], np.uint16), 250_000)
    assert_same(a, b, c)


# Zero; subnormal: least, second, half, most; normal: least, next, one and its neighbours, ties at
# 2049 and 2051 (as 683 * 3 and so on), largest and its neighbour; infinity; NaN, two patterns.
MAGNITUDES = [
    0x0000, 0x0001, 0x0002, 0x0200, 0x03FF, 0x0400, 0x0401, 0x3800, 0x3BFF, 0x3C00, 0x3C01, 0x4200,
    0x6156, 0x6800, 0x6801, 0x7BFE, 0x7BFF, 0x7C00, 0x7C01, 0x7E00,
]  # fmt: skip


def test_every_combination_of_specials_matches_the_oracle() -> None:
    patterns = np.array([sign | size for sign in (0, SIGN) for size in MAGNITUDES], np.uint16)
    a, b, c = (np.ascontiguousarray(grid.ravel()) for grid in np.meshgrid(*[patterns] * 3))
    assert a.size == 64_000
    assert_same(a, b, c)


def test_the_oracle_itself_gives_hand_worked_sums() -> None:
    a = np.array([0x3C01, 0x7BFF, 0x0001, 0x6156, 0x8000], np.uint16)
    b = np.array([0x3BFE, 0x3C00, 0x3800, 0x4200, 0x3C00], np.uint16)
    c = np.array([0xBC00, 0x4C00, 0x0000, 0x0001, 0x8000], np.uint16)
    # (1 + 2**-10)(1 - 2**-10) - 1 = -2**-20; 65504 + 16 overflows; half the least: tie to 0;
    # 683 * 3 + 2**-24 lies above the tie 2049: 2050; -0 + -0
    assert oracle_fma(a, b, c).tolist() == [0x8010, 0x7C00, 0x0000, 0x6801, 0x8000]


def unit_of(offset: npt.NDArray[np.float16]) -> LdpuCoefficients:
    none, one = np.zeros_like(offset), np.ones_like(offset)
    return LdpuCoefficients(scale_p=none, scale_n=none, offset=offset, bn_scale=one, bn_offset=none)


def test_every_fp16_number_becomes_the_nearest_int8() -> None:
    counts = np.zeros((1, EVERY_PATTERN.size), np.uint16)
    found = apply_ldpu(counts, counts, unit_of(half(EVERY_PATTERN)))[0]
    expected = []
    for value in half(EVERY_PATTERN).tolist():
        if math.isnan(value):
            expected.append(0)
        elif math.isinf(value):
            expected.append(127 if value > 0 else -128)
        else:
            expected.append(max(-128, min(127, round(Fraction(value)))))
    assert found.tolist() == expected


def test_every_count_becomes_the_nearest_fp16_number() -> None:
    counts = EVERY_PATTERN[None, :]
    # A gain of 1 and the oracle's rounding as a negative offset: any difference would show.
    nearest = [round_to_half(Fraction(count)) for count in range(1 << 16)]
    finite = np.array(nearest) < math.inf
    unit = unit_of(np.where(finite, -np.array(nearest), 0).astype(np.float16))
    ones = LdpuCoefficients(
        scale_p=np.ones_like(unit.offset),
        scale_n=unit.scale_n,
        offset=unit.offset,
        bn_scale=unit.bn_scale,
        bn_offset=unit.bn_offset,
    )
    found = apply_ldpu(counts, np.zeros_like(counts), ones)[0]
    assert found.tolist() == np.where(finite, 0, 127).tolist()
    assert int(np.argmin(finite)) == 65520  # the first count beyond the largest number's half step


def as_coefficient(values: npt.NDArray[np.float64]) -> Patterns:
    correction = Correction(a_p=values, a_n=np.zeros_like(values), b=np.zeros_like(values))
    return LdpuCoefficients.from_correction(correction).scale_p.view(np.uint16)


def test_every_fp16_number_stays_itself_as_a_coefficient() -> None:
    values = half(EVERY_PATTERN).astype(np.float64)
    found = as_coefficient(values)
    is_nan = np.isnan(values)
    assert np.array_equal(found[~is_nan], EVERY_PATTERN[~is_nan])
    assert np.isnan(half(found[is_nan])).all()


def test_every_midpoint_rounds_to_even_and_its_neighbours_to_the_near_side() -> None:
    low = EVERY_PATTERN[:INFINITE]  # positive; the last one's upper neighbour is infinity
    value, exponent = take_apart(low)
    midpoint = np.ldexp(2.0 * value + 1, (exponent - 1).astype(np.int32))
    assert np.array_equal(as_coefficient(midpoint), low + (low & 1))
    assert np.array_equal(as_coefficient(np.nextafter(midpoint, 0)), low)
    assert np.array_equal(as_coefficient(np.nextafter(midpoint, np.inf)), low + 1)
    assert np.array_equal(as_coefficient(-midpoint), (low + (low & 1)) | SIGN)


def relu_of(patterns: Patterns) -> Patterns:
    is_negative = (patterns & SIGN != 0) & (patterns & 0x7FFF <= INFINITE)
    return np.where(is_negative, 0, patterns).astype(np.uint16)


def as_int8(patterns: Patterns) -> Ints:
    """Round to nearest, ties to even; clip; NaN is 0."""
    value, exponent = take_apart(patterns)
    drop = np.clip(-exponent, 0, 62)
    magnitude = abs(value) << np.maximum(exponent, 0)
    whole, rest = magnitude >> drop, magnitude & ((np.int64(1) << drop) - 1)
    double, unit = rest << 1, np.int64(1) << drop
    whole += (double > unit) | ((double == unit) & (drop > 0) & (whole & 1 == 1))
    size = patterns & 0x7FFF
    whole = np.where(size == INFINITE, 1000, np.where(size > INFINITE, 0, whole))
    return np.clip(np.where(patterns & SIGN, -whole, whole), -128, 127)


@pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])
@pytest.mark.parametrize("has_addend", [False, True], ids=["alone", "addend"])
@pytest.mark.parametrize("relu_after_add", [False, True], ids=["", "relu-after"])
def test_the_whole_unit_matches_the_oracle_chain(
    relu: bool, has_addend: bool, relu_after_add: bool
) -> None:
    rng = np.random.default_rng(5)
    size = 100_000
    counts = rng.integers(0, 4096, (2, 1, size)).astype(np.uint16)
    numbers = {
        "scale_p": rng.uniform(0, 0.06, size), "scale_n": rng.uniform(0, 0.06, size),
        "offset": rng.normal(0, 20, size), "bn_scale": rng.normal(0, 1, size),
        "bn_offset": rng.normal(0, 5, size),
    }  # fmt: skip
    unit = LdpuCoefficients(**{name: value.astype(np.float16) for name, value in numbers.items()})
    addend = rng.integers(-128, 128, (1, size)).astype(np.int8) if has_addend else None
    found = apply_ldpu(
        counts[0], counts[1], unit, relu=relu, addend=addend, relu_after_add=relu_after_add
    )
    pattern = {name: getattr(unit, name).view(np.uint16) for name in numbers}
    whole = np.zeros(size, np.int64)
    p_half, n_half = (rounded_once(count[0].astype(np.int64), whole) for count in counts)
    part = oracle_fma((n_half ^ SIGN).astype(np.uint16), pattern["scale_n"], pattern["offset"])
    value = oracle_fma(p_half, pattern["scale_p"], part)
    value = oracle_fma(value, pattern["bn_scale"], pattern["bn_offset"])
    value = relu_of(value) if relu else value
    if addend is not None:
        one = np.full(size, 0x3C00, np.uint16)
        value = oracle_fma(value, one, rounded_once(addend[0].astype(np.int64), whole))
    value = relu_of(value) if relu_after_add else value
    assert np.array_equal(found[0], as_int8(value))
