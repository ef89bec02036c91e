"""Rescaling from probe vectors: what is exact stays exact, what cannot be told is named."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil_calibration.drift import estimate_drift, refit, rescale_columns, rescale_globally
from hil_calibration.moments import ColumnMoments

Counts = npt.NDArray[np.uint16]


def correction_of(columns: int, *, gain: float = 0.25, b: float = -3.0) -> Correction:
    ones = np.ones(columns)
    return Correction(a_p=gain * ones, a_n=2 * gain * ones, b=b * ones)


def halved(counts: Counts, offset: int) -> Counts:
    """Return counts whose part above the offset has fallen to a half: exact for even ones."""
    return ((counts - offset) // 2 + offset).astype(np.uint16)


def even_counts(*, vectors: int = 20, columns: int = 3, offset: int = 10, seed: int = 1) -> Counts:
    rng = np.random.default_rng(seed)
    return (2 * rng.integers(0, 500, (vectors, 2, columns)) + offset).astype(np.uint16)


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 40), st.integers(1, 5), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_common_decay_is_undone_exactly_whatever_the_offset_of_the_counters(
    vectors: int, columns: int, offset: int, seed: int
) -> None:
    then = even_counts(vectors=vectors, columns=columns, offset=offset, seed=seed)
    now, correction = halved(then, offset), correction_of(columns)
    estimate = estimate_drift(correction, reference_counts=then, present_counts=now)
    np.testing.assert_allclose(estimate.scale, 0.5, rtol=1e-12)
    np.testing.assert_allclose(estimate.dispersion, 0.0, atol=1e-7)
    assert estimate.global_scale == pytest.approx(0.5, rel=1e-12)
    outputs = rescale_columns(correction, estimate).apply(now)
    np.testing.assert_allclose(outputs, correction.apply(then), rtol=1e-9, atol=1e-9)


def test_each_column_has_its_own_scale_and_all_have_a_common_one() -> None:
    # Column 0 halves, column 1 stays; both swing by the same amount, so the whole keeps 3/4.
    swing = np.array([0, 400] * 10, np.uint16)
    then = np.zeros((20, 2, 2), np.uint16)
    then[:, 0] = swing[:, None]
    now = then.copy()
    now[:, 0, 0] //= 2
    estimate = estimate_drift(correction_of(2), reference_counts=then, present_counts=now)
    assert estimate.scale.tolist() == [0.5, 1.0]
    assert estimate.global_scale == 0.75
    assert estimate.vectors == 20


def test_global_rescale_divides_the_outputs_and_keeps_columns_apart() -> None:
    then = even_counts(offset=0)
    now = halved(then, 0)
    correction = correction_of(3)
    estimate = estimate_drift(correction, reference_counts=then, present_counts=now)
    rescaled = rescale_globally(correction, estimate)
    np.testing.assert_allclose(rescaled.apply(now), 2 * correction.apply(now), rtol=1e-12)


def test_dispersion_is_what_no_scale_explains() -> None:
    # 400 to either side of the mean, now 100 more or less: the scale stays 1, a quarter is left.
    then = np.zeros((8, 2, 1), np.uint16)
    now = then.copy()
    then[:, 0, 0] = [0, 800] * 4
    now[:, 0, 0] = [500, 1300, 300, 1100] * 2
    estimate = estimate_drift(correction_of(1, gain=1.0), reference_counts=then, present_counts=now)
    assert estimate.scale[0] == pytest.approx(1.0)
    assert estimate.dispersion[0] == pytest.approx(0.25)
    outputs = rescale_columns(correction_of(1, gain=1.0), estimate).apply(now)
    assert outputs.mean() == pytest.approx(400 - 3)


def test_standard_error_of_a_scale_covers_its_scatter() -> None:
    rng = np.random.default_rng(3)
    then = rng.normal(2000, 300, (50, 2, 2000))
    now = 2000 + 0.7 * (then - 2000) + rng.normal(0, 40, then.shape)
    estimate = estimate_drift(
        correction_of(2000),
        reference_counts=np.rint(then).astype(np.uint16),
        present_counts=np.rint(now).astype(np.uint16),
    )
    # Noise of 40 on a spread of 210 adds its part in the square to the present magnitude.
    true_scale = 0.7 * np.sqrt(1 + (40 / 210) ** 2)
    pull = (estimate.scale - true_scale) / estimate.scale_se
    assert np.std(pull) == pytest.approx(1.0, abs=0.1)
    assert abs(estimate.global_scale - true_scale) < 4 * estimate.global_scale_se
    assert estimate.global_scale_se < 0.1 * np.median(estimate.scale_se)


def test_dead_and_unused_columns_take_the_global_scale_and_stay_neutral() -> None:
    then = even_counts(vectors=64, columns=3)
    now = halved(then, 10)
    rng = np.random.default_rng(2)
    then[:, :, 1], now[:, :, 1] = rng.integers(9, 12, (2, 64, 2)).astype(np.uint16)
    then[:8, :, 1] = 10
    correction = Correction(
        a_p=np.array([0.25, 0.0, 0.25]), a_n=np.array([0.25, 0.0, 0.25]), b=np.zeros(3)
    )
    estimate = estimate_drift(correction, reference_counts=then, present_counts=now)
    assert estimate.is_measured.tolist() == [True, False, True]
    assert estimate.scale[1] == pytest.approx(0.5)
    assert estimate.scale_se[1] == np.inf
    assert estimate.dispersion[1] == 0.0
    for corrected in (
        rescale_columns(correction, estimate),
        rescale_globally(correction, estimate),
        refit(correction, ColumnMoments.of(now, correction.apply(then))),
    ):
        assert (corrected.a_p[1], corrected.a_n[1], corrected.b[1]) == (0.0, 0.0, 0.0)
        assert corrected.a_p[0] == pytest.approx(0.5, rel=1e-9)


def test_column_that_only_makes_noise_tells_nothing_although_it_makes_as_much_then_and_now() -> (
    None
):
    # A column that is dead but was given gains: its scale is near 1 and well known.
    rng = np.random.default_rng(4)
    then = even_counts(vectors=128)
    now = halved(then, 10)
    then[:, :, 1], now[:, :, 1] = rng.integers(5, 15, (2, 128, 2))
    estimate = estimate_drift(correction_of(3), reference_counts=then, present_counts=now)
    assert estimate.is_measured.tolist() == [True, False, True]
    np.testing.assert_allclose(estimate.scale, 0.5, rtol=1e-12)
    assert estimate.scale_se[1] == np.inf
    assert estimate.dispersion[1] == 0.0


def test_refit_agrees_with_lstsq() -> None:
    rng = np.random.default_rng(6)
    counts = rng.integers(0, 400, (200, 2, 1)).astype(np.uint16)
    p, n = counts[:, 0, 0].astype(float), counts[:, 1, 0].astype(float)
    y = 0.4 * p - 0.3 * n + 5 + rng.normal(0, 2, 200)
    fitted = refit(correction_of(1), ColumnMoments.of(counts, y[:, None]))
    reference = np.linalg.lstsq(np.column_stack([p, -n, np.ones(200)]), y, rcond=None)[0]
    found = [fitted.a_p[0], fitted.a_n[0], fitted.b[0]]
    np.testing.assert_allclose(found, reference, rtol=1e-7)


def test_readouts_of_different_shapes_are_refused() -> None:
    then = even_counts()
    with pytest.raises(CalibrationError, match=r"\(20, 2, 3\) and \(19, 2, 3\)"):
        estimate_drift(correction_of(3), reference_counts=then, present_counts=then[:19])


def test_too_few_probe_vectors_are_refused() -> None:
    then = even_counts(vectors=3)
    with pytest.raises(CalibrationError, match="3 probe vectors: drift needs at least 4"):
        estimate_drift(correction_of(3), reference_counts=then, present_counts=then)


def test_probes_that_move_nothing_are_refused() -> None:
    constant = np.full((20, 2, 3), 10, np.uint16)
    with pytest.raises(CalibrationError, match="no column responds"):
        estimate_drift(correction_of(3), reference_counts=constant, present_counts=constant)
