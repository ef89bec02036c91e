"""The compiled sums of the robust fit against numpy's, and the fits that both lead to."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.correction import Correction
from hil_calibration.fit import ColumnFits
from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.robust_sums import CompiledSampleSums, SampleSums, lower_median
from hil_calibration.moments import ColumnMoments
from hil_calibration.robust_fit import fit_huber, fit_robust

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint16]
VECTORS, COLUMNS = 400, 20
TOP = 1023

needs_numba = pytest.mark.skipif(
    not numba_extra.is_installed(), reason="numba is not installed: pip install 'aimc-hil[fast]'"
)


def hard_columns(case: str) -> tuple[Counts, Floats]:
    """Return counts and expected outputs of columns that are hard in one way."""
    rng = np.random.default_rng(31)
    counts = rng.integers(0, 840, (VECTORS, 2, COLUMNS))
    if case == "collinear":
        counts[:, 1] = np.rint(0.7 * counts[:, 0] + rng.normal(0, 2, (VECTORS, COLUMNS))) + 20
    if case == "one-sided":
        counts[:, 1] = 0
    if case == "near-the-top":
        counts += 3200
    if case == "half-dead":
        counts[:, :, ::2] = 7
    y = 0.31 * counts[:, 0] - 0.27 * counts[:, 1] - 9
    y += rng.normal(0, 0 if case == "perfect" else 2, y.shape)
    hit = rng.random(y.shape) < 0.05
    if case == "glitches":
        counts[:, 0][hit] += 1000
    if case == "saturated":
        counts = np.minimum(counts, np.quantile(counts, 0.9, axis=0).astype(int))
    if case == "outliers-of-y":
        y[hit] += 300
    return np.maximum(counts, 0).astype(np.uint16), y


CASES = [
    "plain", "glitches", "saturated", "collinear", "one-sided", "near-the-top", "half-dead",
    "perfect", "outliers-of-y",
]  # fmt: skip


def assert_same_fits(found: ColumnFits, reference: ColumnFits, counts: Counts) -> None:
    for name in ("a_p", "a_n"):
        gains, known = (getattr(fits.correction, name) for fits in (found, reference))
        np.testing.assert_allclose(gains, known, rtol=1e-6, atol=1e-12)
    outputs, known = (fits.correction.apply(counts) for fits in (found, reference))
    np.testing.assert_allclose(outputs, known, rtol=1e-6, atol=1e-6)
    for name in ("a_p_se", "a_n_se", "b_se", "residual_rms", "r_squared"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(reference, name), rtol=1e-6, atol=1e-11
        )


@needs_numba
@pytest.mark.parametrize("one_scale", [False, True], ids=["two-scales", "one-scale"])
@pytest.mark.parametrize("case", CASES)
def test_compiled_robust_fit_is_the_reference_to_a_millionth(case: str, one_scale: bool) -> None:
    counts, y = hard_columns(case)
    reference = fit_robust(counts, y, one_scale=one_scale)
    found = fit_robust(counts, y, one_scale=one_scale, sums=CompiledSampleSums)
    assert np.array_equal(found.is_kept, reference.is_kept)
    np.testing.assert_allclose(found.scale, reference.scale, rtol=1e-6, atol=1e-10)
    assert_same_fits(found.fits, reference.fits, counts)


@needs_numba
@pytest.mark.parametrize("case", CASES)
def test_compiled_huber_fit_is_the_reference_to_a_millionth(case: str) -> None:
    counts, y = hard_columns(case)
    scale = np.full(COLUMNS, 2.0)
    reference = fit_huber(counts, y, scale=scale)
    found = fit_huber(counts, y, scale=scale, sums=CompiledSampleSums)
    assert_same_fits(found, reference, counts)


@needs_numba
def test_glitches_of_a_thousand_counts_are_found_by_the_compiled_fit() -> None:
    counts, y = hard_columns("glitches")
    correction = fit_robust(counts, y, sums=CompiledSampleSums).fits.correction
    # 380 good samples of sigma 2 on counts of sigma 242: a standard error of 0.0004 per count
    np.testing.assert_allclose(correction.a_p, 0.31, atol=0.002)
    np.testing.assert_allclose(correction.a_n, 0.27, atol=0.002)


def drawn(seed: int, vectors: int) -> tuple[Counts, Floats, Floats, Correction]:
    """Return a sample of three columns with weights, of which many are 0, and a line."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, rng.choice([1, 5, 900]), (vectors, 2, 3), endpoint=True)
    weights = rng.choice([0.0, 0.5, 1.0, 3.0], (vectors, 3))
    weights[:, 0] *= rng.integers(0, 2)
    y = np.round(rng.normal(0, 50, (vectors, 3)), rng.integers(0, 3))
    a_p, a_n, b = rng.normal(0, 0.3, (3, 3))
    return counts.astype(np.uint16), y, weights, Correction(a_p=a_p, a_n=a_n, b=b)


def assert_same_moments(found: ColumnMoments, reference: ColumnMoments) -> None:
    assert found.vectors == reference.vectors
    assert np.array_equal(found.samples, reference.samples)
    np.testing.assert_allclose(found.weight, reference.weight, rtol=1e-12)
    np.testing.assert_allclose(found.mean, reference.mean, rtol=1e-11, atol=1e-11)
    spread = np.sqrt(np.einsum("aac->ac", reference.products))
    error = np.abs(found.products - reference.products)
    assert (error <= 1e-11 * spread[:, None] * spread[None] + 1e-12).all()


@needs_numba
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), vectors=st.integers(1, 40))
def test_compiled_sums_are_those_of_the_reference(seed: int, vectors: int) -> None:
    counts, y, weights, line = drawn(seed, vectors)
    reference, found = SampleSums(counts, y, weights), CompiledSampleSums(counts, y, weights)
    assert_same_moments(found.half(line), reference.half(line))
    bound = np.array([0.5, 20.0, 1e9])
    assert_same_moments(found.huber(line, bound), reference.huber(line, bound))
    np.testing.assert_allclose(found.half_squares(line), reference.half_squares(line), rtol=1e-12)
    other = Correction(a_p=2 * line.a_p, a_n=line.a_n, b=line.b - 1)
    change, known = (sums.largest_change(other, line) for sums in (found, reference))
    np.testing.assert_allclose(change, known, rtol=1e-12)


@pytest.mark.parametrize("sums", [SampleSums, pytest.param(CompiledSampleSums, marks=needs_numba)])
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), vectors=st.integers(1, 40), is_even=st.booleans())
def test_halves_of_many_lines_are_those_of_each_line(
    sums: type[SampleSums], seed: int, vectors: int, is_even: bool
) -> None:
    counts, y, weights, line = drawn(seed, vectors)
    weights = np.ones_like(weights) if is_even else weights
    lines = [line, Correction(a_p=-line.a_p, a_n=0 * line.a_n, b=line.b + 3)]
    numbers = np.stack([[each.a_p, each.a_n, each.b] for each in lines], axis=1)
    together, reference = sums(counts, y, weights), SampleSums(counts, y, weights)
    found, squares = together.halves(numbers), together.halves_squares(numbers)
    whole = ColumnMoments.of(counts, y, weights=weights).products
    size = np.einsum("aac->ac", whole).max(axis=0) + 1.0
    for place, each in enumerate(lines):
        known, some = reference.half(each), found.select(3 * place + np.arange(3))
        assert some.vectors == known.vectors
        assert some.samples.tolist() == known.samples.tolist()
        np.testing.assert_allclose(some.weight, known.weight, rtol=1e-12)
        is_some = known.samples > 0
        np.testing.assert_allclose(
            some.mean[:, is_some], known.mean[:, is_some], rtol=1e-11, atol=1e-11
        )
        assert np.all(np.abs(some.products - known.products) <= 1e-11 * size)
        for counter in (0, 1):
            moves, known_moves = (m.products[counter, counter] > 0 for m in (some, known))
            assert moves.tolist() == known_moves.tolist()
        np.testing.assert_allclose(squares[place], reference.half_squares(each), rtol=1e-12)


@needs_numba
def test_sums_of_columns_that_never_move_are_exactly_zero() -> None:
    counts, y = np.full((30, 2, 4), 4095, np.uint16), np.full((30, 4), 0.1)
    line = Correction(a_p=np.zeros(4), a_n=np.zeros(4), b=np.zeros(4))
    sums = CompiledSampleSums(counts, y, np.full((30, 4), 0.3))
    assert not sums.half(line).products.any()


@pytest.mark.parametrize(
    ("values", "counted", "median"),
    [
        ([3.0, 1.0, 2.0], [1, 1, 1], 2.0),
        ([4.0, 1.0, 2.0, 3.0], [1, 1, 1, 1], 2.0),  # of two in the middle, the lower
        ([9.0, 1.0, 2.0], [1, 0, 0], 9.0),
        ([1.0, 2.0], [0, 0], np.inf),
        ([0.0, 0.0, 5.0], [1, 1, 1], 0.0),
    ],
)
def test_lower_median_is_the_hand_worked_one(
    values: list[float], counted: list[int], median: float
) -> None:
    is_counted = np.array(counted, np.bool_)[:, None]
    assert lower_median(np.array(values)[:, None], is_counted).tolist() == [median]


@needs_numba
@pytest.mark.parametrize("expected", [np.full((5, 1), np.nan), np.zeros((4, 1))], ids=str)
def test_bad_samples_are_refused_by_the_compiled_fit_too(expected: Any) -> None:
    counts = np.zeros((5, 2, 1), np.uint16)
    with pytest.raises(ValueError, match=r"not finite|counts must be"):
        fit_robust(counts, expected, weights=np.ones((5, 1)), sums=CompiledSampleSums)


def test_without_numba_the_compiled_sums_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_extra, "is_installed", lambda: False)
    with pytest.raises(ImportError, match=r"aimc-hil\[fast\]"):
        CompiledSampleSums(np.zeros((4, 2, 1), np.uint16), np.zeros((4, 1)), np.ones((4, 1)))
