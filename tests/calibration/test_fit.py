"""The closed-form fit against numpy.linalg.lstsq, column by column."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import CalibrationError
from hil_calibration.fit import (
    ColumnFits,
    fit_columns,
    fit_global_gain,
    without_loose_gains,
    without_mixed_signs,
)
from hil_calibration.moments import ColumnMoments
from synthetic_chip import synthetic_columns

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """What lstsq and the inverse of its normal matrix say about one column."""

    solution: Floats
    errors: Floats
    residual_rms: float
    r_squared: float


def least_squares(design: Floats, y: Floats) -> Reference:
    solution = np.asarray(np.linalg.lstsq(design, y, rcond=None)[0], dtype=np.float64)
    residual = y - design @ solution
    variance = residual @ residual / (len(y) - design.shape[1])
    covariance = variance * np.linalg.inv(design.T @ design)
    total = y - y.mean()
    return Reference(
        solution=solution,
        errors=np.sqrt(np.diag(covariance)),
        residual_rms=float(np.sqrt(variance)),
        r_squared=float(1 - residual @ residual / (total @ total)),
    )


def fit_one(p: Floats, n: Floats, y: Floats, *, one_scale: bool = False) -> ColumnFits:
    return fit_columns(moments_of_one(p, n, y), one_scale=one_scale)


def moments_of_one(p: Floats, n: Floats, y: Floats) -> ColumnMoments:
    counts = np.stack([p, n], axis=1)[:, :, None].astype(np.uint16)
    return ColumnMoments.of(counts, y[:, None])


def gains_of(fits: ColumnFits) -> list[float]:
    correction = fits.correction
    return [correction.a_p[0], correction.a_n[0], correction.b[0]]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    vectors=st.integers(6, 200),
    sign=st.sampled_from([-1, 1]),
    lowest=st.sampled_from([0, 3000]),
)
def test_two_scales_and_offset_agree_with_lstsq(
    seed: int, vectors: int, sign: int, lowest: int
) -> None:
    rng = np.random.default_rng(seed)
    p, n = rng.integers(lowest, lowest + 1000, (2, vectors)).astype(float)
    y = sign * (40 * p - 33 * n) + 500 + rng.normal(0, 300, vectors)
    fits = fit_one(p, n, y)
    reference = least_squares(np.column_stack([p, -n, np.ones(vectors)]), y)
    np.testing.assert_allclose(gains_of(fits), reference.solution, rtol=1e-7, atol=1e-5)
    found = [fits.a_p_se[0], fits.a_n_se[0], fits.b_se[0]]
    np.testing.assert_allclose(found, reference.errors, rtol=1e-6)
    assert fits.residual_rms[0] == pytest.approx(reference.residual_rms, rel=1e-7)
    assert fits.r_squared[0] == pytest.approx(reference.r_squared, rel=1e-7)


def test_columns_are_fitted_apart() -> None:
    columns = synthetic_columns(columns=5)
    fits = fit_columns(columns.moments())
    for column in range(5):
        p, n = columns.counts[:, :, column].T.astype(float)
        design = np.column_stack([p, -n, np.ones(len(p))])
        reference = least_squares(design, columns.expected[:, column].astype(float))
        correction = fits.correction
        found = [correction.a_p[column], correction.a_n[column], correction.b[column]]
        np.testing.assert_allclose(found, reference.solution, rtol=1e-9)


@pytest.mark.parametrize("silent", ["p", "n"])
@pytest.mark.parametrize("level", [0, 7])
def test_a_counter_that_never_moves_gets_gain_0(silent: str, level: int) -> None:
    rng = np.random.default_rng(5)
    moving, still = rng.integers(0, 1000, 50).astype(float), np.full(50, float(level))
    p, n = (still, moving) if silent == "p" else (moving, still)
    y = 3 * moving - 100 + rng.normal(0, 10, 50)
    fits = fit_one(p, n, y)
    sign = -1 if silent == "p" else 1
    reference = least_squares(np.column_stack([sign * moving, np.ones(50)]), y)
    gain, error = sign * reference.solution[0], reference.errors[0]
    expected = [0.0, sign * gain] if silent == "p" else [gain, 0.0]
    np.testing.assert_allclose(gains_of(fits), [*expected, reference.solution[1]], rtol=1e-9)
    errors = [fits.a_p_se[0], fits.a_n_se[0], fits.b_se[0]]
    moving_errors = [0.0, error] if silent == "p" else [error, 0.0]
    np.testing.assert_allclose(errors, [*moving_errors, reference.errors[1]], rtol=1e-9)
    assert [fits.moves_p[0], fits.moves_n[0]] == [silent != "p", silent != "n"]


def test_a_column_that_never_moves_gets_its_mean_as_offset() -> None:
    fits = fit_one(np.full(6, 3.0), np.zeros(6), np.array([1.0, 2, 3, 4, 5, 9]))
    assert gains_of(fits) == [0, 0, 4]
    assert (fits.r_squared[0], fits.residual_rms[0]) == (0, pytest.approx(np.sqrt(8)))


def test_a_constant_output_gives_no_gain_and_explains_nothing() -> None:
    fits = fit_one(np.arange(10.0), np.arange(10.0)[::-1] ** 2, np.full(10, 0.1))
    assert gains_of(fits) == [0, 0, pytest.approx(0.1)]
    assert (fits.r_squared[0], fits.residual_rms[0]) == (0, 0)


@pytest.mark.parametrize("blocks", [1, 7, 100])
def test_counters_that_move_together_share_one_gain(blocks: int) -> None:
    rng = np.random.default_rng(6)
    n = rng.integers(0, 1000, 700).astype(float)
    p = 3 * n + 40  # P - N = 2 N + 40
    y = 10 * (p - n) + rng.normal(0, 20, 700)
    parts = zip(*(np.split(values, blocks) for values in (p, n, y)), strict=True)
    moments = ColumnMoments.empty(1)
    for part in parts:
        moments = moments.merge(moments_of_one(*part))
    fits = fit_columns(moments)
    reference = least_squares(np.column_stack([p - n, np.ones(700)]), y)
    gain, offset = reference.solution
    np.testing.assert_allclose(gains_of(fits), [gain, gain, offset], rtol=1e-9)
    found = [fits.a_p_se[0], fits.a_n_se[0], fits.b_se[0], fits.residual_rms[0]]
    expected = [reference.errors[0], *reference.errors, reference.residual_rms]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_equal_counters_carry_no_signal() -> None:
    same = np.arange(20.0)
    assert gains_of(fit_one(same, same, 5 * same)) == [0, 0, pytest.approx(47.5)]


def test_one_scale_fits_the_difference() -> None:
    rng = np.random.default_rng(7)
    p, n = rng.integers(0, 1000, (2, 80)).astype(float)
    y = 40 * p - 33 * n + rng.normal(0, 30, 80)
    fits = fit_one(p, n, y, one_scale=True)
    reference = least_squares(np.column_stack([p - n, np.ones(80)]), y)
    gain, offset = reference.solution
    np.testing.assert_allclose(gains_of(fits), [gain, gain, offset], rtol=1e-9)
    assert fits.residual_rms[0] == pytest.approx(reference.residual_rms, rel=1e-9)


def test_a_perfect_line_leaves_no_residual() -> None:
    rng = np.random.default_rng(8)
    p, n = rng.integers(0, 4096, (2, 500)).astype(float)
    fits = fit_one(p, n, 37 * p - 41 * n + 1e6)
    np.testing.assert_allclose(gains_of(fits), [37, 41, 1e6], rtol=1e-9)
    assert (fits.residual_rms[0], fits.a_p_se[0], fits.r_squared[0]) == (0, 0, 1)


def test_a_residual_of_a_millionth_of_the_signal_is_measured() -> None:
    rng = np.random.default_rng(9)
    p, n = rng.integers(0, 4096, (2, 500)).astype(float)
    y = 37 * p - 41 * n + rng.normal(0, 1, 500)  # the signal's standard deviation: 65,000
    reference = least_squares(np.column_stack([p, -n, np.ones(500)]), y)
    assert fit_one(p, n, y).residual_rms[0] == pytest.approx(reference.residual_rms, rel=1e-3)


@pytest.mark.parametrize("vectors", [0, 3])
def test_too_few_vectors_are_refused(vectors: int) -> None:
    few = np.arange(float(vectors))
    with pytest.raises(CalibrationError, match=f"^{vectors} calibration vectors: .* at least 4"):
        fit_one(few, few**2, few)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mixed_signs_give_the_best_fit_that_has_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, n = rng.integers(0, 1000, (2, 60)).astype(float)
    p += rng.uniform(-0.8, 0.8) * n + 1000
    y = rng.normal() * p + rng.normal() * n + rng.normal(0, 100, 60)
    p = np.rint(p)
    moments = moments_of_one(p, n, y)
    fits, is_mixed = without_mixed_signs(fit_columns(moments), moments)
    a_p, a_n, _ = gains_of(fits)
    assert a_p * a_n >= 0
    ones = np.ones(60)
    full = least_squares(np.column_stack([p, -n, ones]), y)
    if full.solution[0] * full.solution[1] >= 0:
        best = full
    else:
        singles = [least_squares(np.column_stack([line, ones]), y) for line in (p, -n)]
        best = min(singles, key=lambda single: single.residual_rms)
    assert bool(is_mixed[0]) == (best is not full)
    assert fits.residual_rms[0] == pytest.approx(best.residual_rms, rel=1e-6)
    assert fits.r_squared[0] == pytest.approx(best.r_squared, rel=1e-6, abs=1e-9)
    assert fits.b_se[0] == pytest.approx(best.errors[-1], rel=1e-6)


def test_columns_without_mixed_signs_stay_as_they_are() -> None:
    rng = np.random.default_rng(10)
    counts = rng.integers(0, 1000, (60, 2, 2)).astype(np.uint16)
    p, n = counts[:, 0].astype(float), counts[:, 1].astype(float)
    y = np.array([4.0, 1.0]) * p - np.array([3.0, -5.0]) * n + rng.normal(0, 10, (60, 2))
    moments = ColumnMoments.of(counts, y)
    before = fit_columns(moments)
    after, is_mixed = without_mixed_signs(before, moments)
    assert is_mixed.tolist() == [False, True]
    assert after.correction.a_p[0] == before.correction.a_p[0]
    assert after.b_se[0] == before.b_se[0]
    assert (after.correction.a_p[1], after.a_p_se[1]) == (0, 0)
    reference = least_squares(np.column_stack([-n[:, 1], np.ones(60)]), y[:, 1])
    assert after.correction.a_n[1] == pytest.approx(reference.solution[0], rel=1e-9)
    assert after.a_n_se[1] == pytest.approx(reference.errors[0], rel=1e-9)


def test_global_gain_agrees_with_lstsq_over_the_chosen_columns() -> None:
    columns = synthetic_columns(columns=6)
    chosen = np.array([True, True, False, True, False, True])
    difference = columns.counts[:, 0].astype(float) - columns.counts[:, 1]
    reference = np.linalg.lstsq(
        difference[:, chosen].reshape(-1, 1), columns.expected[:, chosen].ravel(), rcond=None
    )[0]
    assert fit_global_gain(columns.moments(), chosen) == pytest.approx(reference[0], rel=1e-10)


def test_global_gain_has_no_offset() -> None:
    # y = 2 d + 30 at d = 1, 2, 3: sum(dy) / sum(dd) = (32 + 68 + 108) / 14
    moments = moments_of_one(np.array([5.0, 6, 7]), np.full(3, 4.0), np.array([32.0, 34, 36]))
    assert fit_global_gain(moments, np.array([True])) == pytest.approx(208 / 14)


def test_global_gain_of_silent_columns_is_0() -> None:
    moments = moments_of_one(np.zeros(4), np.zeros(4), np.arange(4.0))
    assert fit_global_gain(moments, np.array([True])) == 0.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), vectors=st.integers(6, 100))
def test_weighted_fit_agrees_with_lstsq_on_scaled_rows(seed: int, vectors: int) -> None:
    rng = np.random.default_rng(seed)
    p, n = rng.integers(0, 1000, (2, vectors)).astype(float)
    y = 40 * p - 33 * n + 500 + rng.normal(0, 300, vectors)
    weights = rng.uniform(0.1, 10, vectors)
    counts = np.stack([p, n], axis=1)[:, :, None].astype(np.uint16)
    fits = fit_columns(ColumnMoments.of(counts, y[:, None], weights=weights))
    root = np.sqrt(weights)
    design = np.column_stack([p, -n, np.ones(vectors)])
    reference = least_squares(design * root[:, None], y * root)
    np.testing.assert_allclose(gains_of(fits), reference.solution, rtol=1e-7, atol=1e-5)
    found = [fits.a_p_se[0], fits.a_n_se[0], fits.b_se[0], fits.residual_rms[0]]
    np.testing.assert_allclose(found, [*reference.errors, reference.residual_rms], rtol=1e-6)


@pytest.mark.parametrize("lowest", [0, 3000])
@pytest.mark.parametrize("spread", [1000, 50, 3])
def test_condition_is_that_of_the_centred_and_scaled_counts(lowest: int, spread: int) -> None:
    rng = np.random.default_rng(11)
    p = rng.integers(lowest, lowest + 1000, 300).astype(float)
    n = p + rng.integers(0, spread, 300).astype(float)
    design = np.column_stack([p - p.mean(), n - n.mean()])
    expected = np.linalg.cond(design / np.linalg.norm(design, axis=0))
    assert fit_one(p, n, p).condition[0] == pytest.approx(expected, rel=1e-5)


def test_condition_of_a_single_counter_is_1_and_of_twins_infinite() -> None:
    p = np.arange(20.0)
    assert fit_one(p, np.zeros(20), p).condition[0] == 1
    assert fit_one(p, 3 * p + 5, p).condition[0] == np.inf


def loose_counters(gain_n: float) -> tuple[ColumnMoments, Floats, Floats]:
    rng = np.random.default_rng(12)
    p = rng.integers(0, 1000, 300).astype(float)
    n = np.rint(p / 2) + rng.integers(0, 3, 300).astype(float)
    y = 40 * p - gain_n * n + rng.normal(0, 100, 300)
    return moments_of_one(p, n, y), p - n, y


def test_loose_gains_become_the_one_that_lstsq_finds() -> None:
    moments, difference, y = loose_counters(40.0)
    fits = without_loose_gains(fit_columns(moments), moments, largest_condition=30)
    gain, offset = least_squares(np.column_stack([difference, np.ones(300)]), y).solution
    np.testing.assert_allclose(gains_of(fits), [gain, gain, offset], rtol=1e-9)


@pytest.mark.parametrize(("gain_n", "limit"), [(-100.0, 30.0), (40.0, 1e6)], ids=["told", "limit"])
def test_gains_that_the_data_tell_apart_stay_two(gain_n: float, limit: float) -> None:
    moments, _, _ = loose_counters(gain_n)
    before = fit_columns(moments)
    after = without_loose_gains(before, moments, largest_condition=limit)
    assert gains_of(after) == gains_of(before)
