"""The compiled FP16 unit against the numpy one, bit for bit, which exact fractions hold."""

import math
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.ldpu import apply_ldpu_compiled
from hil_calibration.ldpu import LdpuCoefficients, apply_ldpu
from nmpu_oracle import round_to_half

pytestmark = pytest.mark.skipif(
    not numba_extra.is_installed(), reason="numba is not installed: pip install 'aimc-hil[fast]'"
)

Floats = npt.NDArray[np.float64]
EVERY_COUNT = np.arange(1 << 16, dtype=np.uint16)
ENDS = [0.0, 2.0**-24, 2.0**-14, 1 + 2.0**-10, 2047, 2048, 65504, math.inf, math.nan]


def elementwise(name: str, values: npt.NDArray[Any]) -> Floats:
    """Call one of the compiled functions of a single number for every number of an array."""
    function = getattr(import_module("hil_calibration.kernels.compiled_ldpu"), name)

    def loop(numbers: Any, results: Any) -> None:
        for index in range(numbers.size):
            results[index] = function(numbers[index])

    results = np.empty(values.size)
    compiled: Any = import_module("numba").njit(loop)
    compiled(values, results)
    return results


def unit_of(patterns: npt.NDArray[np.uint16]) -> LdpuCoefficients:
    """Return the unit whose FP16 numbers have the bit patterns (number, column)."""
    scale_p, scale_n, offset, bn_scale, bn_offset = patterns.view(np.float16)
    return LdpuCoefficients(
        scale_p=scale_p, scale_n=scale_n, offset=offset, bn_scale=bn_scale, bn_offset=bn_offset
    )


def ordinary_unit(rng: np.random.Generator, columns: int, *, bn: bool = True) -> LdpuCoefficients:
    drawn = [
        rng.uniform(0, 0.06, columns), rng.uniform(0, 0.06, columns), rng.normal(0, 20, columns),
        rng.normal(1, 0.5, columns) if bn else np.ones(columns),
        rng.normal(0, 5, columns) if bn else np.zeros(columns),
    ]  # fmt: skip
    return unit_of(np.stack(drawn).astype(np.float16).view(np.uint16))


def assert_same(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    unit: LdpuCoefficients,
    **options: Any,
) -> None:
    found = apply_ldpu_compiled(p_counts, n_counts, unit, **options)
    assert np.array_equal(found, apply_ldpu(p_counts, n_counts, unit, **options))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    any_pattern=st.booleans(),
    bn=st.booleans(),
    has_addend=st.booleans(),
    relus=st.tuples(st.booleans(), st.booleans()),
)
def test_compiled_unit_is_the_reference_bit_for_bit(
    seed: int, any_pattern: bool, bn: bool, has_addend: bool, relus: tuple[bool, bool]
) -> None:
    rng = np.random.default_rng(seed)
    unit = ordinary_unit(rng, 37, bn=bn)
    if any_pattern:
        unit = unit_of(rng.integers(0, 1 << 16, (5, 37), dtype=np.uint16))
    top = rng.choice([1024, 4096, 65536])
    counts = rng.integers(0, top, (20, 2, 37)).astype(np.uint16)
    addend = rng.integers(-128, 128, (20, 37)).astype(np.int8) if has_addend else None
    relu, after = relus
    assert_same(counts[:, 0], counts[:, 1], unit, relu=relu, addend=addend, relu_after_add=after)


def test_every_count_becomes_the_nearest_fp16_number() -> None:
    found = elementwise("count_to_half", EVERY_COUNT)
    assert found.tolist() == [round_to_half(Fraction(count)) for count in range(1 << 16)]


def halves_and_midpoints() -> Floats:
    """Return every FP16 number, the midpoints between neighbours, and what is next to both."""
    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    ladder = np.append(finite, 65536.0)
    places = np.concatenate([ladder, (ladder[1:] + ladder[:-1]) / 2])
    near = [np.nextafter(places, end) for end in (0.0, np.inf)]
    return np.concatenate([places, *near])


@pytest.mark.parametrize("case", ["midpoints", "any-pattern", "usual", "subnormal", "overflow"])
def test_float64_is_rounded_to_the_nearest_half(case: str) -> None:
    rng = np.random.default_rng(2)
    cases: dict[str, Callable[[], Floats]] = {
        "midpoints": halves_and_midpoints,
        "any-pattern": lambda: rng.integers(0, 1 << 64, 10**6, dtype=np.uint64).view(np.float64),
        "usual": lambda: rng.normal(0, 100, 10**6),
        "subnormal": lambda: rng.normal(0, 2.0**-14, 10**6),
        "overflow": lambda: rng.uniform(65000, 66000, 10**6),
    }
    values = cases[case]()
    both = np.concatenate([values, -values])
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        expected = both.astype(np.float16).astype(np.float64)
    assert np.array_equal(elementwise("round_to_half", both), expected, equal_nan=True)


def test_ends_of_the_range_are_those_of_the_reference() -> None:
    signed = np.array([*ENDS, *[-end for end in ENDS]], np.float16)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(signed, signed, signed)])
    for count in (0, 1, 2049, 65519, 65520, 65535):
        counts = np.full((1, grid.shape[1]), count, np.uint16)
        ones = np.ones((2, grid.shape[1]), np.float16)
        for numbers in (np.concatenate([grid, ones]), np.concatenate([ones, grid])):
            assert_same(counts, counts, unit_of(numbers.view(np.uint16)))


def test_roundings_that_tie_are_those_of_the_reference() -> None:
    # 683 * 3 = 2049 lies halfway; the addend, however small, decides. Clipping would hide it, so
    # the batch normalisation takes 2048 away: 2048, 2048, 2050 become 0, 0, 2.
    numbers = np.array([[3], [0], [0], [1], [-2048]], np.float16).repeat(3, axis=1)
    numbers[2] = [0, -(2.0**-24), 2.0**-24]
    counts = np.full((1, 3), 683, np.uint16)
    unit = unit_of(numbers.view(np.uint16))
    assert apply_ldpu_compiled(counts, 0 * counts, unit).tolist() == [[0, 0, 2]]


def test_millions_of_random_cases_are_the_reference() -> None:
    rng = np.random.default_rng(1)
    unit = unit_of(rng.integers(0, 1 << 16, (5, 40_000), dtype=np.uint16))
    usual = ordinary_unit(rng, 40_000)
    for numbers in (unit, usual):
        counts = rng.integers(0, 4096, (2, 25, 40_000)).astype(np.uint16)
        assert_same(counts[0], counts[1], numbers)


@pytest.mark.parametrize("layout", ["interleaved", "apart", "every-second-column", "reversed"])
def test_compiled_unit_takes_counts_of_any_layout(layout: str) -> None:
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 1024, (5000, 2, 64)).astype(np.uint16)
    p_counts, n_counts = counts[:, 0], counts[:, 1]
    if layout == "apart":
        p_counts, n_counts = p_counts.copy(), n_counts.copy()
    elif layout == "every-second-column":
        p_counts, n_counts = p_counts[:, ::2], n_counts[:, ::2]
    elif layout == "reversed":
        p_counts, n_counts = p_counts[::-1], n_counts[::-1]
    addend = rng.integers(-128, 128, p_counts.T.shape).astype(np.int8).T
    assert_same(p_counts, n_counts, ordinary_unit(rng, p_counts.shape[1]), addend=addend)


def test_compiled_unit_writes_where_it_is_told() -> None:
    rng = np.random.default_rng(5)
    unit, counts = ordinary_unit(rng, 16), rng.integers(0, 900, (30, 2, 16)).astype(np.uint16)
    out = np.zeros((30, 16), np.int8)
    assert apply_ldpu_compiled(counts[:, 0], counts[:, 1], unit, out=out) is out
    assert np.array_equal(out, apply_ldpu(counts[:, 0], counts[:, 1], unit))


def test_a_block_without_vectors_has_no_outputs() -> None:
    counts = np.zeros((0, 4), np.uint16)
    unit = ordinary_unit(np.random.default_rng(6), 4)
    assert apply_ldpu_compiled(counts, counts, unit).shape == (0, 4)


@pytest.mark.parametrize("apply", [apply_ldpu, apply_ldpu_compiled], ids=["numpy", "compiled"])
@pytest.mark.parametrize(
    ("shape", "dtype", "addend", "message"),
    [
        ((3, 4), np.int16, None, "counts must be uint16"),
        ((4,), np.uint16, None, "must share one shape"),
        ((3, 5), np.uint16, None, "scale_p: must be float16 of shape"),
        ((3, 4), np.uint16, np.zeros((2, 4), np.int8), "addend: must be int8 of shape"),
        ((3, 4), np.uint16, np.zeros((3, 4)), "addend: must be int8 of shape"),
    ],
    ids=["dtype", "one-axis", "columns", "addend-shape", "addend-dtype"],
)
def test_wrong_arrays_are_refused(
    apply: Any, shape: tuple[int, ...], dtype: Any, addend: Any, message: str
) -> None:
    unit = ordinary_unit(np.random.default_rng(7), 4)
    counts = np.zeros(shape, dtype)
    with pytest.raises(ValueError, match=message):
        apply(counts, counts, unit, addend=addend)


def test_an_output_array_of_another_shape_is_refused() -> None:
    unit, counts = ordinary_unit(np.random.default_rng(8), 4), np.zeros((3, 4), np.uint16)
    with pytest.raises(ValueError, match="out: must be int8 of shape"):
        apply_ldpu_compiled(counts, counts, unit, out=np.zeros((2, 4), np.int8))
