"""A simulated month: what each compensation of drift is worth, on one small core."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.correction import Correction
from hil.core.readout import ReadMode
from hil_calibration.batch_norm_statistics import OutputStatistics, update_batch_norm
from hil_calibration.drift import (
    DriftEstimate,
    estimate_drift,
    refit,
    rescale_columns,
    rescale_globally,
)
from hil_calibration.drift_model import Compensation, DriftModel, fit_drift
from hil_calibration.expected import expected_outputs
from hil_calibration.fit import fit_columns
from hil_calibration.fold import BatchNorm
from hil_calibration.moments import ColumnMoments
from hil_calibration.stimulus import gaussian_weights, uniform_inputs
from hil_calibration.temperature import fit_temperature
from hil_calibration.verify import relative_l2
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.profile import ArrayProfile, CounterProfile, MockProfile

Codes = npt.NDArray[np.int8]

SIZE = 64
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
TIMES_S = (MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY)
REFERENCE_S = 300.0
BOTH = pytest.mark.parametrize("mode", list(ReadMode), ids=str)


class Bench:
    """A programmed core, calibrated at the reference age, and its vectors."""

    def __init__(self, mode: ReadMode) -> None:
        self.mode = mode
        rng = np.random.default_rng(11)
        self.weights = gaussian_weights(rng, rows=SIZE, columns=SIZE)
        self.probes, self.calibration, self.held_out, self.many = (
            uniform_inputs(rng, vectors=vectors, rows=SIZE, zeros=0.3)
            for vectors in (64, 512, 512, 8192)
        )
        self.chip = ChipModel(
            MockProfile(
                seed=5,
                array=ArrayProfile(rows=SIZE, columns=SIZE, dead_column_chance=0.0),
                counter=CounterProfile(full_scale_products=100_000.0),
            )
        )
        self.chip.program(0, self.weights)
        self.correction = fit_columns(self.moments(self.calibration)).correction
        self.reference = self.read(self.probes)
        self.baseline_error = self.error(self.correction, self.read(self.held_out))

    def read(self, inputs: Codes) -> npt.NDArray[np.uint16]:
        return self.chip.convert(0, self.mode, inputs)

    def moments(self, inputs: Codes) -> ColumnMoments:
        return ColumnMoments.of(self.read(inputs), expected_outputs(inputs, self.weights))

    def estimate(self) -> DriftEstimate:
        return estimate_drift(
            self.correction,
            reference_counts=self.reference,
            present_counts=self.read(self.probes),
        )

    def error(self, correction: Correction, counts: npt.NDArray[np.uint16]) -> float:
        expected = expected_outputs(self.held_out, self.weights)
        return relative_l2(correction.apply(counts), expected)


@dataclass(frozen=True)
class Month:
    """Relative L2 error by compensation, one for each of `TIMES_S`, and what was estimated."""

    baseline_error: float
    errors: dict[str, list[float]]
    estimates: list[DriftEstimate]


@cache
def month(mode: ReadMode) -> Month:
    bench = Bench(mode)
    errors: dict[str, list[float]] = {}
    estimates = []
    passed_s = 0.0
    for time_s in TIMES_S:
        bench.chip.advance_time(time_s - passed_s)
        passed_s = time_s
        estimates.append(bench.estimate())
        counts = bench.read(bench.held_out)
        for name, correction in {
            "none": bench.correction,
            "global": rescale_globally(bench.correction, estimates[-1]),
            "columns": rescale_columns(bench.correction, estimates[-1]),
            "refit": refit(bench.correction, bench.moments(bench.calibration)),
            "oracle": fit_columns(bench.moments(bench.many)).correction,
        }.items():
            errors.setdefault(name, []).append(bench.error(correction, counts))
    return Month(bench.baseline_error, errors, estimates)


@BOTH
@pytest.mark.parametrize(("name", "limit"), [("columns", 1.1), ("refit", 1.03)])
def test_compensation_stays_close_to_the_best_affine_one(
    mode: ReadMode, name: str, limit: float
) -> None:
    errors = month(mode).errors
    for reached, best in zip(errors[name], errors["oracle"], strict=True):
        assert reached <= limit * best


@BOTH
def test_no_compensation_is_far_worse_from_the_first_day_on(mode: ReadMode) -> None:
    errors = month(mode).errors
    assert errors["none"][2] > 1.7 * errors["oracle"][2]
    assert errors["none"][4] > 2.0 * errors["oracle"][4]
    assert errors["none"] == sorted(errors["none"])


@BOTH
def test_global_rescale_lies_between_nothing_and_the_columns(mode: ReadMode) -> None:
    errors = month(mode).errors
    assert errors["oracle"][4] < errors["global"][4] < 0.6 * errors["none"][4]


def first_passing(mode: ReadMode, compensation: Compensation, limit: float) -> float:
    """Return the age at which the measured error first passes a limit, at 6 readings a decade."""
    bench = Bench(mode)
    previous = (REFERENCE_S, bench.baseline_error)
    for age_s in REFERENCE_S * np.geomspace(1.0, 1e5, 31)[1:]:
        bench.chip.advance_time(float(age_s) - bench.chip.age_s(0))
        correction = bench.correction
        if compensation is Compensation.GLOBAL:
            correction = rescale_globally(correction, bench.estimate())
        if compensation is Compensation.COLUMNS:
            correction = rescale_columns(correction, bench.estimate())
        error = bench.error(correction, bench.read(bench.held_out))
        if error > limit:
            share = (limit - previous[1]) / (error - previous[1])
            return float(previous[0] * (age_s / previous[0]) ** share)
        previous = (float(age_s), error)
    pytest.fail(f"the error never passed {limit}")


def first_day_model(mode: ReadMode) -> tuple[DriftModel, float]:
    measured = month(mode)
    ages = [REFERENCE_S + time_s for time_s in TIMES_S[:3]]
    model = fit_drift(measured.estimates[:3], ages, reference_s=REFERENCE_S)
    return model, measured.baseline_error


@BOTH
@pytest.mark.parametrize(
    ("compensation", "limit"),
    [
        (Compensation.NONE, 0.15),
        (Compensation.NONE, 0.25),
        (Compensation.NONE, 0.35),
        (Compensation.GLOBAL, 0.17),
        (Compensation.COLUMNS, 0.15),
        (Compensation.COLUMNS, 0.17),
    ],
)
def test_prediction_from_the_first_day_is_within_a_factor_of_two_of_the_crossing(
    mode: ReadMode, compensation: Compensation, limit: float
) -> None:
    model, baseline_error = first_day_model(mode)
    predicted = model.valid_until(limit, baseline_error=baseline_error, compensation=compensation)
    true_s = first_passing(mode, compensation, limit)
    assert 0.5 < predicted.value / true_s < 2.0
    assert predicted.low < predicted.value < predicted.high
    assert predicted.low < true_s < predicted.high


@BOTH
def test_scale_after_a_month_is_predicted_from_the_first_day(mode: ReadMode) -> None:
    model, _ = first_day_model(mode)
    predicted = model.scale_at(REFERENCE_S + 30 * DAY)
    measured = month(mode).estimates[4].global_scale
    assert predicted.value == pytest.approx(measured, rel=0.04)


def test_errors_of_the_column_scales_are_as_large_as_their_standard_errors_say() -> None:
    bench = Bench(ReadMode.FOUR_PHASE)
    before = bench.read(bench.many)
    bench.chip.advance_time(7 * DAY)
    few = bench.estimate()
    truth = estimate_drift(
        bench.correction, reference_counts=before, present_counts=bench.read(bench.many)
    )
    pull = (few.scale - truth.scale) / few.scale_se
    # 64 columns; a normal distribution has 95 % within two.
    assert (np.abs(pull) < 2).mean() > 0.85
    assert 0.7 < np.std(pull) < 1.4
    assert abs(few.global_scale - truth.global_scale) < 4 * few.global_scale_se


@BOTH
def test_batch_norm_statistics_of_now_take_up_the_drift(mode: ReadMode) -> None:
    # Normalised outputs against those of an ideal chip: the reference is the exact product.
    bench = Bench(mode)
    expected = expected_outputs(bench.held_out, bench.weights)
    ideal = OutputStatistics.of(expected_outputs(bench.many, bench.weights))
    ones = np.ones(SIZE)
    norm = BatchNorm(gamma=ones, beta=0 * ones, mean=ideal.mean, variance=ideal.variance, eps=1.0)
    wanted = norm.apply(expected.astype(np.float64))
    bench.chip.advance_time(30 * DAY)
    outputs = bench.correction.apply(bench.read(bench.held_out))
    now = OutputStatistics.of(bench.correction.apply(bench.read(bench.calibration)))
    updated = update_batch_norm(norm, now)
    before = relative_l2(norm.apply(outputs), wanted)
    after = relative_l2(updated.apply(outputs), wanted)
    assert after < 0.55 * before
    assert after < 1.1 * month(mode).errors["oracle"][4]


@BOTH
def test_temperature_sweep_gives_back_the_error_of_the_reference_temperature(
    mode: ReadMode,
) -> None:
    bench = Bench(mode)
    probes = np.concatenate([bench.probes, np.zeros((16, SIZE), np.int8)])
    reference = bench.read(probes)
    temperatures = (5.0, 15.0, 35.0, 45.0)
    counts = []
    for celsius in temperatures:
        bench.chip.set_temperature(celsius)
        counts.append(bench.read(probes))
    model = fit_temperature(counts, temperatures, reference_counts=reference, reference_c=25.0)
    bench.chip.set_temperature(65.0)
    hot = bench.read(bench.held_out)
    assert bench.error(bench.correction, hot) > 1.3 * bench.baseline_error
    corrected = bench.error(model.correction_at(bench.correction, 65.0), hot)
    assert corrected < 1.02 * bench.baseline_error
