"""Drift against time: exact on exact power laws, honest about the rest."""

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.errors import CalibrationError
from hil_calibration.drift import DriftEstimate
from hil_calibration.drift_model import Compensation, DriftModel, fit_drift

Floats = npt.NDArray[np.float64]

REFERENCE_S = 300.0
AGES_S = (360.0, 3900.0, 86_700.0)


def estimate_of(
    scale: Floats, *, se: float = 0.001, global_scale: float | None = None, dispersion: float = 0.0
) -> DriftEstimate:
    ones = np.ones(len(scale))
    return DriftEstimate(
        vectors=64,
        scale=scale,
        scale_se=se * scale,
        is_measured=np.isfinite(se * ones),
        global_scale=float(np.mean(scale)) if global_scale is None else global_scale,
        global_scale_se=0.001,
        dispersion=dispersion * ones,
        reference_mean=0 * ones,
        present_mean=0 * ones,
    )


def power_law(
    nu: Floats, *, delta: float = 0.0, noise: float = 0.0, ages_s: tuple[float, ...] = AGES_S
) -> list[DriftEstimate]:
    logs = [np.log(age / REFERENCE_S) for age in ages_s]
    return [
        estimate_of(
            np.exp(-nu * log),
            global_scale=float(np.exp(-np.mean(nu) * log)),
            dispersion=float(np.hypot(noise, delta * log)),
        )
        for log in logs
    ]


def model_of(
    *, nu: float = 0.05, tau: float = 0.0, delta: float = 0.0, nu_se: float = 0.0
) -> DriftModel:
    return DriftModel(
        reference_s=REFERENCE_S,
        nu=nu,
        nu_se=nu_se,
        column_nu=np.array([nu]),
        column_nu_se=np.array([0.001]),
        column_spread=tau,
        cell_spread=delta,
        cell_spread_se=0.0,
    )


def test_exact_power_laws_are_found_again() -> None:
    nu = np.array([0.04, 0.05, 0.06])
    model = fit_drift(power_law(nu, delta=0.017, noise=0.03), AGES_S, reference_s=REFERENCE_S)
    np.testing.assert_allclose(model.column_nu, nu, rtol=1e-9)
    assert model.nu == pytest.approx(0.05, rel=1e-9)
    assert model.cell_spread == pytest.approx(0.017, rel=1e-6)
    # Population spread of the three exponents, less a little for their errors.
    assert model.column_spread == pytest.approx(np.sqrt(2 / 3) * 0.01, rel=0.01)


def test_order_of_the_ages_does_not_matter() -> None:
    estimates = power_law(np.array([0.04, 0.06]), delta=0.02)
    forward = fit_drift(estimates, AGES_S, reference_s=REFERENCE_S)
    backward = fit_drift(estimates[::-1], AGES_S[::-1], reference_s=REFERENCE_S)
    assert backward.nu == pytest.approx(forward.nu, rel=1e-12)
    assert backward.cell_spread == pytest.approx(forward.cell_spread, rel=1e-9)


def test_one_wild_age_hardly_moves_the_exponent() -> None:
    ages = (400.0, 1000.0, 4000.0, 20_000.0, 86_700.0)
    estimates = power_law(np.array([0.05]), ages_s=ages)
    estimates[2] = estimate_of(np.array([0.4]), se=0.001)
    model = fit_drift(estimates, ages, reference_s=REFERENCE_S)
    # Least squares would give 0.085.
    assert model.column_nu[0] == pytest.approx(0.05, abs=0.002)
    assert model.nu == pytest.approx(0.05, abs=0.002)


def test_errors_of_the_same_vectors_do_not_average_out_over_the_ages() -> None:
    log = np.log(86_700.0 / REFERENCE_S)
    once = fit_drift(power_law(np.array([0.05]))[2:], AGES_S[2:], reference_s=REFERENCE_S)
    often = fit_drift(
        power_law(np.array([0.05]), ages_s=(86_700.0,) * 9), (86_700.0,) * 9,
        reference_s=REFERENCE_S,
    )  # fmt: skip
    assert once.column_nu_se[0] == pytest.approx(0.001 / log, rel=1e-6)
    assert often.column_nu_se[0] == pytest.approx(once.column_nu_se[0], rel=1e-6)


def test_scatter_round_the_power_law_widens_the_interval() -> None:
    estimates = power_law(np.array([0.05]))
    estimates[1] = estimate_of(np.array([0.95]))
    exact = fit_drift(power_law(np.array([0.05])), AGES_S, reference_s=REFERENCE_S)
    scattered = fit_drift(estimates, AGES_S, reference_s=REFERENCE_S)
    assert scattered.nu_se > 3 * exact.nu_se


def test_column_that_was_never_measured_has_no_exponent() -> None:
    estimates = [
        DriftEstimate(
            vectors=64,
            scale=np.array([0.9, 0.9]),
            scale_se=np.array([0.001, np.inf]),
            is_measured=np.array([True, False]),
            global_scale=0.9,
            global_scale_se=0.001,
            dispersion=np.zeros(2),
            reference_mean=np.zeros(2),
            present_mean=np.zeros(2),
        )
    ]
    model = fit_drift(estimates, [3000.0], reference_s=REFERENCE_S)
    assert model.column_nu[0] == pytest.approx(-np.log(0.9) / np.log(10))
    assert np.isnan(model.column_nu[1])
    assert model.column_nu_se[1] == np.inf


def test_predicted_scales_follow_the_power_law() -> None:
    model = model_of(nu=0.05, nu_se=0.005)
    predicted = model.scale_at(300_000.0)
    # 1000**-0.05; at both ends 1000**-(0.05 +- 0.0098).
    assert predicted.value == pytest.approx(0.70795, rel=1e-4)
    assert predicted.low == pytest.approx(0.66160, rel=1e-4)
    assert predicted.high == pytest.approx(0.75754, rel=1e-4)
    scales, errors = model.column_scales_at(300_000.0)
    assert scales[0] == pytest.approx(0.70795, rel=1e-4)
    assert errors[0] == pytest.approx(0.70795 * 0.001 * 6.90776, rel=1e-4)


def test_age_at_a_scale_is_where_the_scale_is_reached() -> None:
    # 0.5 = (t/300)**-0.05: t = 300 * 2**20.
    found = model_of(nu=0.05, nu_se=0.001).age_at_scale(0.5)
    assert found.value == pytest.approx(300 * 2**20, rel=1e-9)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("compensation", "error"),
    [
        # s = 1/2, tau L = 0.2, delta L = 0.1 at L = 20 ln 2; E0 = 0.6, so 0.64 of the power.
        (Compensation.NONE, np.sqrt(0.36 + 0.64 * (0.25 + 0.25 * (0.04 + 0.01)))),
        (Compensation.GLOBAL, np.sqrt(0.36 + 0.64 * (0.04 + 0.01))),
        (Compensation.COLUMNS, np.sqrt(0.36 + 0.64 * 0.01)),
    ],
    ids=str,
)
def test_predicted_error_adds_the_parts_in_quadrature(
    compensation: Compensation, error: float
) -> None:
    log = 20 * np.log(2)
    model = model_of(nu=0.05, tau=0.2 / log, delta=0.1 / log)
    found = model.error_at(300.0 * 2**20, baseline_error=0.6, compensation=compensation)
    assert found.value == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("delta", [0.0, 0.02])
def test_error_formula_is_that_of_a_simulated_ensemble(delta: float) -> None:
    # Independent of the formula: outputs made of a signal, an orthogonal baseline error, columns
    # with drawn scales and drawn dispersion.
    rng = np.random.default_rng(8)
    tau, log = 0.01, np.log(10_000.0)
    corrected = rng.normal(0, 1, (4000, 200))
    expected = np.sqrt(0.99) * corrected + 0.1 * rng.normal(0, 1, corrected.shape)
    corrected = np.sqrt(0.99) * corrected
    scale = np.exp(-0.05 * log) * (1 + tau * log * rng.normal(0, 1, 200))
    drifted = scale * (corrected + delta * log * rng.normal(0, 0.995, corrected.shape))
    error = np.linalg.norm(drifted - expected) / np.linalg.norm(expected)
    predicted = model_of(nu=0.05, tau=tau, delta=delta).error_at(3e6, baseline_error=0.1)
    assert predicted.value == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("compensation", list(Compensation), ids=str)
def test_error_at_the_predicted_age_is_the_limit(compensation: Compensation) -> None:
    model = model_of(nu=0.05, tau=0.002, delta=0.017)
    until = model.valid_until(0.15, baseline_error=0.12, compensation=compensation)
    found = model.error_at(until.value, baseline_error=0.12, compensation=compensation)
    assert found.value == pytest.approx(0.15, rel=2e-3)


def test_rescaled_correction_stays_valid_longer_than_a_fresh_one() -> None:
    # The same factor in age: a rescale at 10 t0 lasts as long again, times ten.
    model = model_of(nu=0.05)
    fresh = model.valid_until(0.15, baseline_error=0.1)
    rescaled = model.valid_until(0.15, baseline_error=0.1, rescaled_s=3000.0)
    assert rescaled.value == pytest.approx(10 * fresh.value, rel=5e-3)


def test_limit_that_is_never_passed_is_valid_for_ever() -> None:
    until = model_of(delta=0.0).valid_until(
        0.2, baseline_error=0.1, compensation=Compensation.COLUMNS
    )
    assert (until.value, until.low, until.high) == (np.inf, np.inf, np.inf)


def test_limit_below_the_error_at_the_start_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"limit of 0\.1 is not above the error of 0\.12"):
        model_of().valid_until(0.1, baseline_error=0.12)


def test_age_before_the_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="before the reference age of 300 s"):
        model_of().scale_at(299.0)


@pytest.mark.parametrize(
    ("ages_s", "message"),
    [
        ([3600.0], "each needs one age"),
        ([3600.0, 200.0], "not before the reference readout at 300 s"),
        ([300.0, 300.0], "no drift to fit"),
    ],
    ids=["too few", "too early", "no drift"],
)
def test_ages_that_do_not_fit_are_refused(ages_s: list[float], message: str) -> None:
    estimates = power_law(np.array([0.05]))[:2]
    with pytest.raises(CalibrationError, match=message):
        fit_drift(estimates, ages_s, reference_s=REFERENCE_S)


def test_interval_allows_for_a_baseline_error_that_drifts_with_its_own_cells() -> None:
    # Nothing but delta = 0.02 and L = 10: 0.3 exp(+- 1.96 * 0.15 * 0.2) = 0.3182, 0.2829, in
    # quadrature with sqrt(0.91) * 0.2 = 0.19079.
    found = model_of(nu=0.0, delta=0.02).error_at(
        300.0 * float(np.exp(10.0)), baseline_error=0.3, compensation=Compensation.COLUMNS
    )
    assert found.value == pytest.approx(np.hypot(0.3, 0.19079), rel=1e-4)
    assert found.high == pytest.approx(np.hypot(0.31816, 0.19079), rel=1e-4)
    assert found.low == pytest.approx(np.hypot(0.28287, 0.19079), rel=1e-4)
