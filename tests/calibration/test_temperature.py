"""Temperature coefficients from a sweep, against made-up counters that follow them."""

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil_calibration.temperature import TemperatureModel, fit_temperature

COLUMNS = 500
TEMPERATURES_C = (5.0, 15.0, 35.0, 45.0)


class Sweep:
    """Counters with drawn coefficients, read at several temperatures."""

    def __init__(self, *, noise: float, seed: int = 1) -> None:
        self._rng = np.random.default_rng(seed)
        self._noise = noise
        self.gain_per_k = self._rng.normal(0.0035, 0.0005, (2, COLUMNS))
        self.offset_per_k = self._rng.normal(0.0, 0.05, (2, COLUMNS))
        self.currents = self._rng.uniform(0, 400, (64, 2, COLUMNS))
        self.currents[:16] = 0.0

    def read(self, celsius: float) -> npt.NDArray[np.uint16]:
        kelvin = celsius - 25.0
        counts = self.currents * (1 + self.gain_per_k * kelvin) + 50 + self.offset_per_k * kelvin
        return np.rint(counts + self._rng.normal(0, self._noise, counts.shape)).astype(np.uint16)

    def fit(self) -> TemperatureModel:
        return fit_temperature(
            [self.read(celsius) for celsius in TEMPERATURES_C],
            TEMPERATURES_C,
            reference_counts=self.read(25.0),
            reference_c=25.0,
        )


def test_coefficients_are_recovered_within_their_standard_errors() -> None:
    sweep = Sweep(noise=1.0)
    model = sweep.fit()
    gain_pull = (model.gain_per_k - sweep.gain_per_k) / model.gain_per_k_se
    # A count of 50 at no current grows with the gain as well in the affine form.
    offset = sweep.offset_per_k - 50 * sweep.gain_per_k
    offset_pull = (model.offset_per_k - offset) / model.offset_per_k_se
    for pull in (gain_pull, offset_pull):
        assert (np.abs(pull) < 3).mean() > 0.99
        # The errors count the noise of the reference readout for every temperature.
        assert 0.5 < np.std(pull) < 1.1
    assert np.median(model.gain_per_k_se) < 0.0002


def test_corrected_outputs_at_another_temperature_are_those_of_the_reference() -> None:
    sweep = Sweep(noise=0.0)
    ones = np.ones(COLUMNS)
    correction = Correction(a_p=0.5 * ones, a_n=0.25 * ones, b=-7.0 * ones)
    reference = correction.apply(sweep.read(25.0))
    hot = sweep.read(45.0)
    corrected = sweep.fit().correction_at(correction, 45.0).apply(hot)
    assert np.abs(correction.apply(hot) - reference).max() > 10
    # Counts are rounded: half a count of P and of N, twice.
    assert np.abs(corrected - reference).max() < 1.0


def test_correction_at_the_reference_temperature_is_the_same() -> None:
    correction = Correction(a_p=np.array([0.5]), a_n=np.array([0.25]), b=np.array([-7.0]))
    same = model_of(0.004).correction_at(correction, 25.0)
    assert (same.a_p[0], same.a_n[0], same.b[0]) == (0.5, 0.25, -7.0)


def model_of(gain_per_k: float) -> TemperatureModel:
    return TemperatureModel(
        reference_c=25.0,
        gain_per_k=np.array([[gain_per_k], [0.0]]),
        gain_per_k_se=np.zeros((2, 1)),
        offset_per_k=np.array([[0.1], [-0.2]]),
        offset_per_k_se=np.zeros((2, 1)),
    )


def test_worked_example_of_another_temperature() -> None:
    # P = 100 at 25 degrees reads 100 * 1.25 + 5 = 130 at 75, N = 40 reads 40 - 10 = 30.
    correction = Correction(a_p=np.array([0.5]), a_n=np.array([0.25]), b=np.array([-7.0]))
    hot = model_of(0.005).correction_at(correction, 75.0)
    counts = np.array([[[130], [30]]], np.uint16)
    assert hot.apply(counts)[0, 0] == pytest.approx(0.5 * 100 - 0.25 * 40 - 7)


def test_gain_that_would_vanish_is_refused_with_its_column() -> None:
    correction = Correction(a_p=np.array([0.5]), a_n=np.array([0.25]), b=np.array([-7.0]))
    with pytest.raises(CalibrationError, match="-75 degrees Celsius: the gain of P in column 0"):
        model_of(0.01).correction_at(correction, -75.0)


def test_counter_that_never_moves_has_no_coefficient() -> None:
    still = np.full((10, 2, 1), 12, np.uint16)
    model = fit_temperature([still, still], [5.0, 45.0], reference_counts=still, reference_c=25.0)
    assert model.gain_per_k.tolist() == [[0.0], [0.0]]
    assert model.gain_per_k_se.tolist() == [[np.inf], [np.inf]]
    assert model.offset_per_k.tolist() == [[0.0], [0.0]]


COUNTS = np.arange(40, dtype=np.uint16).reshape(10, 2, 2)


@pytest.mark.parametrize(
    ("counts", "temperatures", "message"),
    [
        ([COUNTS], [5.0, 45.0], "1 readouts of shapes"),
        ([COUNTS, COUNTS[:9]], [5.0, 45.0], r"\[\(9, 2, 2\), \(10, 2, 2\)\]"),
        ([COUNTS, COUNTS], [5.0, 5.0], "1 temperatures and 10 probe vectors"),
    ],
    ids=["number", "shape", "one temperature"],
)
def test_sweep_that_cannot_be_fitted_is_refused(
    counts: list[npt.NDArray[np.uint16]], temperatures: list[float], message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        fit_temperature(counts, temperatures, reference_counts=COUNTS, reference_c=25.0)
