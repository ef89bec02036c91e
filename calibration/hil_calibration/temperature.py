"""How the counts of each column follow the temperature, and a correction for another one.

Over a moderate range the counts at a temperature T are an affine function of those at the
reference T0, for each column and polarity: ``counts(T) = counts(T0) * (1 + alpha d) + omega d``,
``d = T - T0``. A sweep reads the same probe vectors at several temperatures. With some zero vectors
among them the offset is measured where it stands, not extrapolated from the mean count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.correction import Correction
from hil.core.errors import CalibrationError

Coefficients = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureModel:
    """Temperature coefficients of a core; arrays of shape (polarity, column), polarity = P, N."""

    reference_c: float
    """Temperature T0 of the correction in use, degrees Celsius."""
    gain_per_k: Coefficients
    """alpha: relative change of a count per kelvin; 0 where the counter never moves."""
    gain_per_k_se: Coefficients
    """Its standard error; infinite where the counter never moves."""
    offset_per_k: Coefficients
    """omega: change per kelvin of the count that is 0 at T0, counts per kelvin. A counter with the
    offset C drifts by omega + alpha C at no current."""
    offset_per_k_se: Coefficients
    """Its standard error."""

    def __post_init__(self) -> None:
        for name in ("gain_per_k", "gain_per_k_se", "offset_per_k", "offset_per_k_se"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def correction_at(self, correction: Correction, celsius: float) -> Correction:
        """Return the correction for counts read at another temperature.

        Parameters
        ----------
        correction
            Correction for counts at the reference temperature.
        celsius
            Temperature of the counts, degrees Celsius.

        Raises
        ------
        CalibrationError
            If a gain would fall to 0 or below there: the straight line does not reach so far.
        """
        kelvin = celsius - self.reference_c
        factor = 1 + self.gain_per_k * kelvin
        if (factor <= 0).any():
            polarity, column = np.argwhere(factor <= 0)[0]
            raise CalibrationError(
                f"{celsius:g} degrees Celsius: the gain of {'PN'[polarity]} in column {column} "
                "would not be positive; measure the sweep round this temperature"
            )
        a_p, a_n = correction.a_p / factor[0], correction.a_n / factor[1]
        shift = self.offset_per_k * kelvin
        return Correction(a_p=a_p, a_n=a_n, b=correction.b - a_p * shift[0] + a_n * shift[1])


def fit_temperature(
    counts: Sequence[npt.NDArray[np.uint16]],
    temperatures_c: Sequence[float],
    *,
    reference_counts: npt.NDArray[np.uint16],
    reference_c: float,
) -> TemperatureModel:
    """Fit the temperature coefficients of every column and polarity to a sweep.

    At each temperature the counts are regressed on the reference ones; slope and intercept are then
    each fitted by a straight line in the temperature. That line has an intercept of its own, which
    takes up what the noise of the reference readout does to every slope alike.

    Parameters
    ----------
    counts
        One readout of the probe vectors per temperature, each (vector, polarity, column).
    temperatures_c
        Temperature of each, degrees Celsius, at least two different ones.
    reference_counts
        A further readout of the same vectors, at `reference_c`.
    reference_c
        Temperature of that readout and of the correction in use, degrees Celsius.

    Raises
    ------
    CalibrationError
        If shapes and numbers do not match, or there are fewer than two temperatures or three
        vectors.
    """
    shapes = {part.shape for part in counts} | {reference_counts.shape}
    if len(shapes) != 1 or reference_counts.ndim != 3 or len(counts) != len(temperatures_c):
        raise CalibrationError(
            f"{len(counts)} readouts of shapes {sorted(shapes)} at {len(temperatures_c)} "
            "temperatures: all must be (vector, polarity, column), one for each temperature"
        )
    kelvin = np.asarray(temperatures_c, dtype=np.float64) - reference_c
    if len(np.unique(kelvin)) < 2 or len(reference_counts) < 3:
        raise CalibrationError(
            f"{len(np.unique(kelvin))} temperatures and {len(reference_counts)} probe vectors: a "
            "sweep needs at least 2 and 3"
        )
    lines = [_regress(reference_counts, part) for part in counts]
    slope, slope_se, intercept, intercept_se = (
        np.stack([line[part] for line in lines]) for part in range(4)
    )
    gain_change, gain_se, gain_start = _fit_line(kelvin, slope, slope_se)
    offset_change, offset_se, _ = _fit_line(kelvin, intercept, intercept_se)
    moves = gain_start > 0
    safe = np.where(moves, gain_start, 1.0)
    return TemperatureModel(
        reference_c=reference_c,
        gain_per_k=np.where(moves, gain_change / safe, 0.0),
        gain_per_k_se=np.where(moves, gain_se / safe, np.inf),
        offset_per_k=offset_change,
        offset_per_k_se=offset_se,
    )


def _regress(
    reference: npt.NDArray[np.uint16], present: npt.NDArray[np.uint16]
) -> tuple[Coefficients, Coefficients, Coefficients, Coefficients]:
    """Return slope and intercept of present on reference counts, each with its standard error."""
    x, y = reference.astype(np.float64), present.astype(np.float64)
    vectors = len(x)
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    power = np.sum(x * x, axis=0)
    safe = np.where(power > 0, power, np.inf)
    slope = np.sum(x * y, axis=0) / safe
    variance = np.sum((y - slope * x) ** 2, axis=0) / (vectors - 2)
    intercept_se = np.sqrt(variance * (1 / vectors + x_mean**2 / safe))
    return slope, np.sqrt(variance / safe), y_mean - slope * x_mean, intercept_se


def _fit_line(
    kelvin: npt.NDArray[np.float64], values: Coefficients, errors: Coefficients
) -> tuple[Coefficients, Coefficients, Coefficients]:
    """Return slope, its standard error and the value at 0 kelvin of (temperature, ...) values."""
    step = kelvin - kelvin.mean()
    power = float(step @ step)
    slope = np.tensordot(step, values, axes=1) / power
    slope_se = np.sqrt(np.tensordot(step**2, errors**2, axes=1)) / power
    return slope, slope_se, values.mean(axis=0) - slope * kelvin.mean()
