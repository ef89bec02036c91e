"""The compiled kernels against the plain numpy beside them, and against exact arithmetic."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.fit import fit_columns
from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.datapath import largest_magnitude
from hil_calibration.kernels.moments import sum_moments
from hil_calibration.kernels.nmpu import apply_nmpu_compiled
from hil_calibration.kernels.search import SearchStart, search_compiled, search_numpy
from hil_calibration.moments import ColumnMoments
from hil_calibration.nmpu import apply_nmpu
from nmpu_oracle import OneColumn, nmpu_formats, oracle_output

needs_numba = pytest.mark.skipif(
    not numba_extra.is_installed(), reason="numba is not installed: pip install 'aimc-hil[fast]'"
)


def drawn_registers(rng: np.random.Generator, fmt: NmpuFormat, columns: int) -> NmpuRegisters:
    scale_p, scale_n = rng.integers(0, fmt.scale_format.highest_code + 1, (2, columns))
    lowest, highest = fmt.offset_format.lowest_code, fmt.offset_format.highest_code
    return NmpuRegisters(
        scale_p=scale_p.astype(np.uint8),
        scale_n=(scale_p if fmt.shared_scale else scale_n).astype(np.uint8),
        offset=rng.integers(lowest, highest + 1, columns).astype(np.int16),
        swap=rng.random(columns) < 0.5,
    )


def drawn_counts(rng: np.random.Generator, fmt: NmpuFormat, *shape: int) -> npt.NDArray[np.uint16]:
    inside = rng.integers(0, 1 << fmt.in_bits, shape)
    return np.where(rng.random(shape) < 0.1, rng.integers(0, 65536, shape), inside).astype(
        np.uint16
    )


@given(fmt=nmpu_formats())
def test_32_bits_hold_every_intermediate_of_every_format(fmt: NmpuFormat) -> None:
    assert largest_magnitude(fmt) < 2**31


def test_the_bound_of_the_widest_product_is_known() -> None:
    # 65535 * 255 + 2**15 * 2**8 (the offset, aligned) + 2**22 of rounding at 23 bits cut
    widest = NmpuFormat(
        in_bits=16, scale_int=0, scale_frac=8, off_int=16, off_frac=0, off_bits=16, shift=15,
        offset_at=OffsetAt.BEFORE_SHIFT,
    )  # fmt: skip
    assert largest_magnitude(widest) >= 65535 * 255 + (1 << 23) + (1 << 22)


@needs_numba
@settings(max_examples=300, deadline=None)
@given(fmt=nmpu_formats(), seed=st.integers(0, 2**32 - 1), relu=st.booleans())
def test_compiled_nmpu_is_the_reference_bit_for_bit(fmt: NmpuFormat, seed: int, relu: bool) -> None:
    rng = np.random.default_rng(seed)
    registers = drawn_registers(rng, fmt, 37)
    counts = drawn_counts(rng, fmt, 20, 2, 37)
    found = apply_nmpu_compiled(counts[:, 0], counts[:, 1], registers, fmt, relu=relu)
    expected = apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt, relu=relu)
    assert np.array_equal(found, expected)


@needs_numba
@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("merge", Merge)
@pytest.mark.parametrize("saturate", [True, False], ids=["clips", "wraps"])
def test_compiled_nmpu_agrees_with_python_integers(
    rounding: Rounding, merge: Merge, saturate: bool
) -> None:
    fmt = NmpuFormat(rounding=rounding, merge=merge, saturate=saturate, shift=1, cut_pre=2)
    rng = np.random.default_rng(3)
    registers = drawn_registers(rng, fmt, 25)
    counts = drawn_counts(rng, fmt, 8, 2, 25)
    found = apply_nmpu_compiled(counts[:, 0], counts[:, 1], registers, fmt)
    for column, codes in enumerate(registers.to_codes().T.tolist()):
        one = OneColumn(codes[0], codes[1], codes[2], bool(codes[3]))
        expected = [oracle_output(int(p), int(n), one, fmt) for p, n in counts[:, :, column]]
        assert found[:, column].tolist() == expected


@needs_numba
@pytest.mark.parametrize("layout", ["interleaved", "apart", "every-second-column", "reversed"])
def test_compiled_nmpu_takes_counts_of_any_layout(layout: str) -> None:
    rng, fmt = np.random.default_rng(4), NmpuFormat()
    counts = drawn_counts(rng, fmt, 9000, 2, 64)
    p_counts, n_counts = counts[:, 0], counts[:, 1]
    if layout == "apart":
        p_counts, n_counts = p_counts.copy(), n_counts.copy()
    elif layout == "every-second-column":
        p_counts, n_counts = p_counts[:, ::2], n_counts[:, ::2]
    elif layout == "reversed":
        p_counts, n_counts = p_counts[::-1], n_counts[::-1]
    registers = drawn_registers(rng, fmt, p_counts.shape[1])
    found = apply_nmpu_compiled(p_counts, n_counts, registers, fmt, threads=2)
    assert np.array_equal(found, apply_nmpu(p_counts, n_counts, registers, fmt))


@needs_numba
def test_compiled_nmpu_writes_where_it_is_told() -> None:
    rng, fmt = np.random.default_rng(5), NmpuFormat()
    registers, counts = drawn_registers(rng, fmt, 16), drawn_counts(rng, fmt, 30, 2, 16)
    out = np.zeros((30, 16), np.int8)
    assert apply_nmpu_compiled(counts[:, 0], counts[:, 1], registers, fmt, out=out) is out
    assert np.array_equal(out, apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt))


@needs_numba
@pytest.mark.parametrize(
    ("shape", "dtype", "out_shape", "message"),
    [
        ((3, 4), np.int16, (3, 4), "counts must be uint16"),
        ((3, 5), np.uint16, (3, 5), "must share one shape"),
        ((4,), np.uint16, (4,), "must share one shape"),
        ((3, 4), np.uint16, (2, 4), "out: must be int8 of shape"),
    ],
    ids=["dtype", "columns", "one-axis", "out"],
)
def test_compiled_nmpu_refuses_wrong_arrays(
    shape: tuple[int, ...], dtype: Any, out_shape: tuple[int, ...], message: str
) -> None:
    registers = drawn_registers(np.random.default_rng(6), NmpuFormat(), 4)
    counts = np.zeros(shape, dtype)
    with pytest.raises(ValueError, match=message):
        apply_nmpu_compiled(
            counts, counts, registers, NmpuFormat(), out=np.zeros(out_shape, np.int8)
        )


def exact_products(
    counts: npt.NDArray[np.uint16], expected: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Sum centred products of whole numbers with Python's integers."""
    samples = np.stack([counts[:, 0], counts[:, 1], expected]).astype(np.int64).astype(object)
    vectors, sums = counts.shape[0], samples.sum(axis=1)
    raw = (samples[:, None] * samples[None]).sum(axis=2)
    return np.asarray((vectors * raw - sums[:, None] * sums[None]) / vectors, np.float64)


def glitchy(rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return counts of 100 +- 2 whose first vector, and some others, are far off."""
    counts = rng.integers(98, 103, (700, 2, 23))
    counts[[0, 128, 300]] = 4095
    return counts.astype(np.uint16)


def jumping(rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return counts that go from the bottom of the range to its top, P before N."""
    counts = rng.integers(0, 4, (700, 2, 23))
    counts[200:, 0] += 4090
    counts[450:, 1] += 4090
    return counts.astype(np.uint16)


HARD: dict[str, Any] = {
    "ordinary": lambda rng: rng.integers(0, 900, (700, 2, 23)).astype(np.uint16),
    "near-the-top": lambda rng: rng.integers(65530, 65536, (700, 2, 23)).astype(np.uint16),
    "glitches": glitchy,
    "one-jump": jumping,
    "one-vector": lambda rng: rng.integers(0, 900, (1, 2, 23)).astype(np.uint16),
    "one-run-and-one": lambda rng: rng.integers(0, 900, (129, 2, 23)).astype(np.uint16),
    "two-pieces": lambda rng: rng.integers(0, 900, (16390, 2, 16)).astype(np.uint16),
}


@needs_numba
@pytest.mark.parametrize("case", HARD)
def test_compiled_moments_are_good_to_a_millionth(case: str) -> None:
    rng = np.random.default_rng(7)
    counts = HARD[case](rng)
    # Half of it is noise: columns that the counts explain well are summed in float64.
    noise = rng.integers(-2000, 2000, counts[:, 0].shape)
    expected = (3.0 * counts[:, 0] - 2.0 * counts[:, 1] + noise).astype(np.float32)
    found, exact = sum_moments(counts, expected), exact_products(counts, expected)
    spread = np.sqrt(np.einsum("aac->ac", exact))
    error = np.abs(found.products - exact)
    assert found.vectors == len(counts)
    assert (error <= 1e-6 * spread[:, None] * spread[None]).all()
    np.testing.assert_allclose(found.mean[2], expected.astype(np.float64).mean(axis=0), rtol=1e-6)


@needs_numba
def test_a_fit_from_compiled_moments_is_that_of_lstsq() -> None:
    rng = np.random.default_rng(8)
    counts = rng.integers(300, 900, (5000, 2, 40)).astype(np.uint16)
    clean = 0.31 * counts[:, 0] - 0.27 * counts[:, 1] - 9.0
    expected = (clean + rng.normal(0, 2, clean.shape)).astype(np.float32)
    correction = fit_columns(sum_moments(counts, expected)).correction
    for column in range(40):
        p, n = counts[:, :, column].astype(np.float64).T
        matrix = np.stack([p, -n, np.ones(5000)], axis=1)
        solved = np.linalg.lstsq(matrix, expected[:, column].astype(np.float64), rcond=None)[0]
        found = [correction.a_p[column], correction.a_n[column], correction.b[column]]
        # b is what remains of terms near 200: it is good to a millionth of those.
        np.testing.assert_allclose(found[:2], solved[:2], rtol=1e-6)
        np.testing.assert_allclose(found[2], solved[2], rtol=0, atol=1e-6 * 200)


@needs_numba
def test_compiled_moments_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(9)
    counts = rng.integers(0, 900, (40_000, 2, 16)).astype(np.uint16)
    expected = rng.normal(0, 100, (40_000, 16)).astype(np.float32)
    one, three = (sum_moments(counts, expected, threads=threads) for threads in (1, 3))
    assert np.array_equal(one.mean, three.mean)
    assert np.array_equal(one.products, three.products)


@needs_numba
def test_columns_that_never_move_have_compiled_sums_of_exactly_zero() -> None:
    counts = np.full((1000, 2, 16), 4095, np.uint16)
    moments = sum_moments(counts, np.full((1000, 16), 0.1, np.float32))
    assert not moments.products.any()


@needs_numba
@pytest.mark.parametrize("case", ["collinear", "explained"])
def test_columns_that_need_every_digit_are_summed_in_float64(case: str) -> None:
    counts = np.random.default_rng(14).integers(0, 900, (3000, 2, 16)).astype(np.uint16)
    if case == "collinear":
        counts[:, 1, 5] = 3 * counts[:, 0, 5] + 1
    expected = np.random.default_rng(15).normal(0, 100, (3000, 16)).astype(np.float32)
    if case == "explained":
        expected[:, 5] = counts[:, 0, 5] / 4 - counts[:, 1, 5] / 2
    found, reference = sum_moments(counts, expected), ColumnMoments.of(counts, expected)
    np.testing.assert_allclose(found.products[:, :, 5], reference.products[:, :, 5], rtol=1e-12)
    fits, exact = fit_columns(found), fit_columns(reference)
    for name in ("a_p", "a_n", "b"):
        gains, exact_gains = (getattr(fit.correction, name)[5] for fit in (fits, exact))
        np.testing.assert_allclose(gains, exact_gains, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fits.residual_rms[5], exact.residual_rms[5], rtol=1e-9)


WHOLE = np.int32(1 << 25)


@needs_numba
@pytest.mark.parametrize(
    "expected",
    [
        np.arange(320.0).reshape(20, 16) + 1e12,
        (WHOLE + np.arange(320, dtype=np.int32)).reshape(20, 16),
        np.float32(3e30) * np.arange(320, dtype=np.float32).reshape(20, 16),
    ],
    ids=["float64", "beyond-24-bits", "overflowing-squares"],
)
def test_what_float32_cannot_hold_is_summed_in_float64(expected: npt.NDArray[Any]) -> None:
    counts = np.random.default_rng(10).integers(0, 900, (20, 2, 16)).astype(np.uint16)
    found, reference = sum_moments(counts, expected), ColumnMoments.of(counts, expected)
    assert np.array_equal(found.products, reference.products)


@needs_numba
def test_whole_expected_outputs_are_summed_as_they_are() -> None:
    counts = np.random.default_rng(11).integers(0, 900, (300, 2, 16)).astype(np.uint16)
    expected = 3 * counts[:, 0].astype(np.int32) - counts[:, 1]
    np.testing.assert_allclose(
        sum_moments(counts, expected).products,
        exact_products(counts, expected.astype(np.float32)),
        rtol=1e-6,
    )


@needs_numba
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_expected_outputs_that_are_not_finite_are_refused_by_the_kernel(value: float) -> None:
    expected = np.zeros((20, 16), np.float32)
    expected[7, 3] = value
    with pytest.raises(ValueError, match="not finite"):
        sum_moments(np.zeros((20, 2, 16), np.uint16), expected)


def drawn_start(rng: np.random.Generator, fmt: NmpuFormat, *, noise: float) -> SearchStart:
    """Return a search that begins near registers that made the expected outputs."""
    columns = 9
    registers = drawn_registers(rng, fmt, columns)
    counts = drawn_counts(rng, fmt, 33, 2, columns)
    outputs = apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)
    off = rng.integers(-2, 3, (3, columns)) if not fmt.shared_scale else np.zeros((3, columns), int)
    highest = fmt.scale_format.highest_code
    lowest_offset, highest_offset = fmt.offset_format.lowest_code, fmt.offset_format.highest_code
    return SearchStart(
        fmt=fmt,
        scale_p=np.clip(registers.scale_p + off[0], 0, highest).astype(np.int64),
        scale_n=np.clip(registers.scale_n + off[1], 0, highest).astype(np.int64),
        offset=np.clip(registers.offset + off[2], lowest_offset, highest_offset).astype(np.int64),
        swap=registers.swap,
        counts=counts,
        expected=outputs + noise * rng.standard_normal(outputs.shape),
    )


@needs_numba
@settings(max_examples=150, deadline=None)
@given(
    fmt=nmpu_formats(),
    seed=st.integers(0, 2**32 - 1),
    noise=st.sampled_from([0.0, 0.4, 30.0, 1e9]),
)
def test_compiled_search_finds_the_codes_of_the_reference(
    fmt: NmpuFormat, seed: int, noise: float
) -> None:
    start = drawn_start(np.random.default_rng(seed), fmt, noise=noise)
    assert np.array_equal(search_compiled(start, threads=2), search_numpy(start))


@pytest.mark.parametrize(("largest", "fine"), [(128.0, 2.0**28), (1000.0, 2.0**25)])
def test_expected_outputs_are_rounded_as_finely_as_sums_stay_exact(
    largest: float, fine: float
) -> None:
    # 512 * 128 * (128 + 2 * largest + 1) * fine must stay below 2**53.
    rng = np.random.default_rng(12)
    start = drawn_start(rng, NmpuFormat(), noise=0.0)
    expected = np.zeros((512, 9))
    expected[3, 4] = -largest
    sized = SearchStart(
        fmt=start.fmt, scale_p=start.scale_p, scale_n=start.scale_n, offset=start.offset,
        swap=start.swap, counts=np.zeros((512, 2, 9), np.uint16), expected=expected,
    )  # fmt: skip
    assert sized.fine == fine


def test_a_search_without_finite_expected_outputs_is_refused() -> None:
    start = drawn_start(np.random.default_rng(13), NmpuFormat(), noise=0.0)
    with pytest.raises(ValueError, match="not finite"):
        SearchStart(
            fmt=start.fmt, scale_p=start.scale_p, scale_n=start.scale_n, offset=start.offset,
            swap=start.swap, counts=start.counts, expected=start.expected * np.nan,
        )  # fmt: skip
