"""Conductance drift: what becomes of a programmed array as it ages.

Each cell decays by a power law of its own, ``G(t) = G(t0) * (t / t0)**-nu``, where t is the time
since programming. The exponents are drawn once per programming, from a stream of their own.
"""

import numpy as np
import numpy.typing as npt

from hil_mock_device.crossbar import LARGEST_CODE, FloatMatrix
from hil_mock_device.profile import DriftProfile

_CONDUCTANCE = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
_EXPONENT_MEAN = (0.130, 0.130, 0.098, 0.072, 0.068, 0.056, 0.040, 0.017)
_EXPONENT_SIGMA = {
    1: (0.040, 0.040, 0.034, 0.025, 0.014, 0.012, 0.010, 0.006),
    2: (0.040, 0.040, 0.029, 0.021, 0.010, 0.009, 0.008, 0.005),
}
"""Mean and spread of nu at `_CONDUCTANCE`, the latter by devices per cell.

Source: the HERMES noise model of aihwkit, ``generate_drift_coefficients``, evaluated there
(docs/reference/mock-profile.md)."""


def draw_exponents(
    weights: npt.NDArray[np.int8],
    drift: DriftProfile,
    *,
    devices_per_cell: int,
    rng: np.random.Generator,
) -> FloatMatrix:
    """Draw the drift exponent of every cell.

    Parameters
    ----------
    weights
        Wanted weight codes, shape (row, column): the exponent follows the wanted conductance.
    drift
        How strongly the chip drifts.
    devices_per_cell
        1 or 2: with two, the exponents of a cell spread less.
    rng
        Randomness of this programming.

    Returns
    -------
    Exponents nu, shape (row, column), 0 <= nu.
    """
    wanted = np.abs(weights.astype(np.float64)) / LARGEST_CODE
    mean = np.interp(wanted, _CONDUCTANCE, _EXPONENT_MEAN)
    sigma = np.interp(wanted, _CONDUCTANCE, _EXPONENT_SIGMA[devices_per_cell])
    drawn = mean + sigma * rng.standard_normal(weights.shape)
    return np.asarray(drift.factor * np.maximum(drawn, 0.0), dtype=np.float64)


def drifted_weights(held: FloatMatrix, exponents: FloatMatrix, *, age_ratio: float) -> FloatMatrix:
    """Return the weights that an array holds at an age.

    Parameters
    ----------
    held
        Weights at the reference age t0, shape (row, column), codes.
    exponents
        Exponents nu, shape (row, column).
    age_ratio
        ``t / t0``, 1 <= age_ratio.

    Returns
    -------
    Shape (row, column), in weight codes: `held` itself for a ratio of 1.
    """
    if age_ratio == 1.0:
        return held
    return np.asarray(held * age_ratio**-exponents)
