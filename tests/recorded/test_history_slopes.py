"""Slopes of a chip's history against chips whose drift is known."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import example_steps as example
from calibrated_steps import calibration, concluded
from hil.recorded.history import HistoryPoint, point_of
from hil.recorded.history_slopes import Slopes, fit_slopes
from hil_calibration.drift import DriftEstimate
from hil_calibration.drift_model import fit_drift
from hil_datasets.run_directory import RunDirectory

COLUMNS = 64
ALPHA, NU = 0.0035, 0.05
RUN = RunDirectory(Path("run"))


def history(
    places: Sequence[tuple[float, float]], *, noise: float = 0.0, gain_error: float = 0.5
) -> list[HistoryPoint]:
    """Return calibrations at (temperature, age) of a chip that follows both laws."""
    rng = np.random.default_rng(7)
    fresh = rng.uniform(400, 600, COLUMNS)
    offsets = rng.normal(0, 1000, COLUMNS)
    points = []
    for celsius, age_s in places:
        counts = (1 + ALPHA * (celsius - 25)) * (age_s / 300) ** -NU
        shown = fresh / counts + noise * rng.standard_normal(COLUMNS)
        offset = offsets + 2.0 * (celsius - 25) - 30.0 * math.log(age_s / 300)
        conclusion = concluded(shown, shown, offset, gain_error=gain_error)
        points.append(point_of(RUN, calibration(conclusion, temperature_c=celsius, age_s=age_s)))
    return points


BOTH = [(25, 300), (40, 3e3), (10, 3e4), (25, 3e5), (60, 1e3)]


def test_temperature_and_age_are_told_apart() -> None:
    slopes = fit_slopes(history(BOTH), "gain_p")
    assert slopes.per_kelvin is not None
    assert slopes.per_log_age is not None
    # Relative to the first point, which is at 25 degrees, the law is exact.
    assert slopes.per_kelvin.value == pytest.approx(0.0035, abs=1e-9)
    assert slopes.per_log_age.value == pytest.approx(-0.05, abs=1e-9)
    assert (slopes.points, slopes.reason) == (5, "")


def test_offsets_follow_straight_lines() -> None:
    slopes = fit_slopes(history(BOTH), "offset")
    assert slopes.per_kelvin is not None
    assert slopes.per_log_age is not None
    assert slopes.per_kelvin.value == pytest.approx(2.0)
    assert slopes.per_log_age.value == pytest.approx(-30.0)


def test_errors_hold_the_truth_of_one_column() -> None:
    inside = 0
    for column in range(COLUMNS):
        slopes = fit_slopes(history(BOTH, noise=5.0, gain_error=5.0), "gain_n", column=column)
        assert slopes.per_kelvin is not None
        inside += abs(slopes.per_kelvin.value - ALPHA) <= 2 * slopes.per_kelvin.error
    assert inside >= 0.85 * COLUMNS  # 95 % of a normal law


def test_age_alone_gives_what_the_drift_model_gives() -> None:
    ages = [300, 3e3, 3e4, 3e5]
    points = history([(25, age_s) for age_s in ages])
    slopes = fit_slopes(points, "gain_p")
    assert slopes.per_log_age is not None
    scales = [points[0].values["gain_p"] / point.values["gain_p"] for point in points]
    model = fit_drift([_estimate(scale) for scale in scales], ages, reference_s=300)
    assert -slopes.per_log_age.value == pytest.approx(model.nu, rel=1e-6)
    assert slopes.per_kelvin is None
    assert slopes.reason == "temperatures span less than 1 K"


def _estimate(scale: np.ndarray) -> DriftEstimate:
    ones = np.ones(COLUMNS)
    return DriftEstimate(
        vectors=64,
        scale=scale,
        scale_se=0.01 * ones,
        is_measured=ones > 0,
        global_scale=float(scale.mean()),
        global_scale_se=0.001,
        dispersion=0.1 * ones,
        reference_mean=0 * ones,
        present_mean=0 * ones,
    )


def test_a_fresh_cores_own_age_can_be_said() -> None:
    shifted = [
        HistoryPoint(
            run=point.run,
            facts=calibration(
                point.facts.conclusion,
                temperature_c=point.temperature_c,
                age_s=point.age_s - 300,
            ),
            values=point.values,
            errors=point.errors,
        )
        for point in history(BOTH)
    ]
    slopes = fit_slopes(shifted, "gain_p", fresh_age_s=300)
    assert slopes.per_log_age is not None
    assert slopes.per_log_age.value == pytest.approx(-0.05, abs=1e-9)


def _untold(slopes: Slopes) -> str:
    assert slopes.per_kelvin is None
    assert slopes.per_log_age is None
    return slopes.reason


def test_what_the_points_cannot_tell_is_said() -> None:
    assert _untold(fit_slopes(history(BOTH[:2]), "gain_p")) == (
        "2 calibrations for 2 unknowns: more are needed"
    )
    together = history([(20, 300), (30, 3e3), (40, 3e4), (50, 3e5)])
    assert _untold(fit_slopes(together, "gain_p")) == (
        "temperature and age changed together: their effects cannot be told apart"
    )
    alike = history([(25, 300), (25.5, 310), (25.2, 320), (25, 330)])
    assert _untold(fit_slopes(alike, "gain_p")) == (
        "temperatures span less than 1 K; ages span less than a factor 1.5"
    )


def test_ages_that_nobody_knows_leave_the_temperature() -> None:
    points = [
        point_of(RUN, calibration(each.facts.conclusion, temperature_c=each.temperature_c))
        for each in history([(25, 300), (40, 300), (10, 300), (60, 300)])
    ]
    slopes = fit_slopes(points, "gain_p")
    assert slopes.per_kelvin is not None
    assert slopes.per_kelvin.value == pytest.approx(0.0035, abs=1e-9)
    assert slopes.reason == "ages are not known"


@pytest.mark.parametrize(
    ("ages", "reason"),
    [
        ([300, 3e3, math.nan, 3e4], "the age of 1 of 4 calibrations is not known"),
        ([0, 3e3, 3e4, 3e5], "an age is less than 10 s: say --fresh-age"),
    ],
    ids=["unknown", "fresh"],
)
def test_why_ages_tell_nothing_is_said_as_it_is(ages: list[float], reason: str) -> None:
    known = history([(kelvin, 300) for kelvin in (25, 40, 10, 60)])
    points = [
        point_of(
            RUN,
            calibration(
                each.facts.conclusion, temperature_c=each.temperature_c, age_s=float(age_s)
            ),
        )
        for each, age_s in zip(known, ages, strict=True)
    ]
    slopes = fit_slopes(points, "gain_p")
    assert slopes.per_log_age is None
    assert slopes.reason == reason


def test_median_and_spread_are_those_of_calibrated_columns() -> None:
    flags = np.array([0, 0, 0, 2], np.uint16)
    facts = calibration(concluded([1.0, 2.0, 4.0, 99.0], [1.0] * 4, [0.0] * 4, flags=flags))
    point = point_of(RUN, facts)
    assert point.median("gain_p") == 2.0
    assert point.spread("gain_p") == pytest.approx(1.4826)  # the median of 1, 0 and 2
    assert np.isnan(point.values["gain_p"][3])
    assert facts.origin.chip == example.CHIP
