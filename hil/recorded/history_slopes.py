"""How gain and offset of a core follow temperature and age, over the calibrations of months.

The models are those of `hil_calibration.temperature` and `hil_calibration.drift_model`, which need
the same probe vectors at every point. Calibrations need not have them, and differ in temperature
and age at once, so both are fitted together. Counts at a temperature T and an age t are those at
the first point times ``(1 + alpha (T - T0)) * exp(-nu ln(t / t0))``, and a gain, in products per
count, is one over that:

``scale = gain_0 / gain = c (1 + alpha (T - T0)) exp(-nu ln(t / t0))``

An offset follows straight lines: ``offset = c + omega (T - T0) + lambda ln(t / t0)``.

A point's scale is the median over the columns of each column's own, so that what columns differ by
does not matter. Standard errors are those of the columns' medians, or of the column's fit, and are
enlarged by the scatter of the points round the model where that is larger (the Birge ratio: R. T.
Birge, Phys. Rev. 40, 207, 1932).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.recorded.compare_factor import FloatArray
from hil.recorded.history import HistoryPoint

_MEDIAN_ERROR = 1.2533
"""Standard error of a median over that of a mean, of normal numbers: the root of pi/2."""
_TO_SIGMA = 1.4826
_LEAST_KELVIN = 1.0
"""Temperatures that span less say nothing of a slope."""
_LEAST_LOG_AGE = math.log(1.5)
"""Ages that span less say nothing either."""
_LEAST_AGE_S = 10.0
"""Ages are told to a second, and a calibration takes seconds: the logarithm of less is nothing."""
_MOST_ALIKE = 0.98
"""Correlation of temperature and age beyond which their effects cannot be told apart."""
_ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """A coefficient with its standard error."""

    value: float
    """The coefficient."""
    error: float
    """Its standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """How one quantity follows temperature and age."""

    quantity: str
    """``gain_p``, ``gain_n`` or ``offset``."""
    points: int
    """Calibrations with a number to fit to."""
    per_kelvin: Slope | None
    """Of a gain alpha, the relative change of the counts, 1/K; of the offset omega, products/K."""
    per_log_age: Slope | None
    """Of a gain minus nu, the relative change of the counts per e-fold of the age; of the offset
    products per e-fold."""
    reason: str
    """Why a slope is not told; empty if both are."""


def fit_slopes(
    points: Sequence[HistoryPoint],
    quantity: str,
    *,
    column: int | None = None,
    fresh_age_s: float = 0.0,
) -> Slopes:
    """Fit how one quantity of a core follows temperature and age.

    Parameters
    ----------
    points
        Calibrations of one core and read mode.
    quantity
        ``gain_p``, ``gain_n`` or ``offset``.
    column
        Which column; None for the core as a whole.
    fresh_age_s
        How old a core that was just programmed is by its drift law: added to every age.

    Returns
    -------
    Slopes, each only where the points tell it: more points than unknowns, a span of 1 kelvin or of
    a factor 1.5 in age, no age unknown or below 10 s, and temperature and age not gone up together.
    """
    values, errors = _series(points, quantity, column)
    is_known = np.isfinite(values) & np.isfinite(errors)
    kelvin = np.array([point.temperature_c for point in points])[is_known]
    ages = np.array([point.age_s + fresh_age_s for point in points])[is_known]
    values, errors = values[is_known], errors[is_known]
    terms, reason = _terms(kelvin, ages)
    names = list(terms)
    unknowns = len(names) + 1
    if len(values) <= max(unknowns, 2):
        some = f"{len(values)} calibration{'s' * (len(values) != 1)}"
        few = f"{some} for {max(unknowns, 2)} unknowns: more are needed"
        return _untold(quantity, len(values), few)
    if not names:
        return _untold(quantity, len(values), reason)
    design = np.stack(list(terms.values()), axis=1)
    fitted = (_fit_offset if quantity == "offset" else _fit_scale)(design, names, values, errors)
    return Slopes(
        quantity=quantity,
        points=len(values),
        per_kelvin=fitted.get("kelvin"),
        per_log_age=fitted.get("age"),
        reason=reason,
    )


def _untold(quantity: str, points: int, reason: str) -> Slopes:
    return Slopes(
        quantity=quantity, points=points, per_kelvin=None, per_log_age=None, reason=reason
    )


def _series(
    points: Sequence[HistoryPoint], quantity: str, column: int | None
) -> tuple[FloatArray, FloatArray]:
    """Return scales, or offsets, of the points against the first one, and standard errors."""
    first = points[0].values[quantity]
    values, errors = [], []
    for point in points:
        present, error = point.values[quantity], point.errors[quantity]
        if len(present) != len(first):
            change = change_error = np.full(1, math.nan)
        elif quantity == "offset":
            change, change_error = present - first, error
        else:
            change, change_error = _ratio(first, present, error)
        if column is None:
            value, value_error = _median(change)
        else:
            value, value_error = float(change[column]), float(change_error[column])
        values.append(value)
        errors.append(value_error)
    floor = 1e-12 + (min((e for e in errors if e > 0), default=0.0))
    return np.array(values), np.maximum(errors, floor)


def _ratio(
    first: FloatArray, present: FloatArray, error: FloatArray
) -> tuple[FloatArray, FloatArray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = first / present
        is_known = np.isfinite(ratio) & (ratio > 0)
        return (
            np.where(is_known, ratio, np.nan),
            np.where(is_known, ratio * error / np.abs(present), np.nan),
        )


def _median(values: FloatArray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return math.nan, math.nan
    middle = float(np.median(known))
    spread = _TO_SIGMA * float(np.median(np.abs(known - middle)))
    return middle, _MEDIAN_ERROR * spread / math.sqrt(known.size)


def _terms(kelvin: FloatArray, ages: FloatArray) -> tuple[dict[str, FloatArray], str]:
    """Return what the points can tell of, and why not of the rest."""
    terms, reasons = {}, []
    if len(kelvin) and np.ptp(kelvin) >= _LEAST_KELVIN:
        terms["kelvin"] = kelvin - kelvin[0]
    else:
        reasons.append(f"temperatures span less than {_LEAST_KELVIN:g} K")
    why_not = _why_no_age(ages)
    if why_not:
        reasons.append(why_not)
    else:
        terms["age"] = np.log(ages / ages[0])
    if len(terms) == 2 and _are_alike(*terms.values()):
        return {}, "temperature and age changed together: their effects cannot be told apart"
    return terms, "; ".join(reasons)


def _why_no_age(ages: FloatArray) -> str:
    """Return why a slope over the age cannot be fitted; empty if it can."""
    unknown = int(np.sum(np.isnan(ages)))
    if unknown == len(ages):
        return "ages are not known"
    if unknown:
        return f"the age of {unknown} of {len(ages)} calibrations is not known"
    if np.min(ages) < _LEAST_AGE_S:
        return f"an age is less than {_LEAST_AGE_S:g} s: say --fresh-age"
    if np.ptp(np.log(ages)) < _LEAST_LOG_AGE:
        return "ages span less than a factor 1.5"
    return ""


def _are_alike(one: FloatArray, other: FloatArray) -> bool:
    return abs(float(np.corrcoef(one, other)[0, 1])) > _MOST_ALIKE


def _fit_offset(
    design: FloatArray, names: Sequence[str], values: FloatArray, errors: FloatArray
) -> dict[str, Slope]:
    full = np.column_stack([np.ones(len(values)), design])
    parameters, covariance = _least_squares(full, values, errors)
    return _named(names, parameters[1:], covariance[1:, 1:])


def _fit_scale(
    design: FloatArray, names: Sequence[str], values: FloatArray, errors: FloatArray
) -> dict[str, Slope]:
    """Fit ``c (1 + alpha d) exp(-nu L)`` by Gauss and Newton, from a start without either."""
    start, slopes = float(np.mean(values)), np.zeros(len(names))
    covariance = np.eye(len(names) + 1)
    for _ in range(_ROUNDS):
        factors = [
            1 + slope * term if name == "kelvin" else np.exp(slope * term)
            for name, slope, term in zip(names, slopes, design.T, strict=True)
        ]
        shape = np.prod(factors, axis=0)
        gradients = [
            start * shape * (term / factor if name == "kelvin" else term)
            for name, factor, term in zip(names, factors, design.T, strict=True)
        ]
        jacobian = np.column_stack([shape, *gradients])
        step, covariance = _least_squares(jacobian, values - start * shape, errors)
        start, slopes = start + float(step[0]), slopes + step[1:]
        if np.all(np.abs(step) < 1e-14):
            break
    return _named(names, slopes, covariance[1:, 1:])


def _least_squares(
    design: FloatArray, values: FloatArray, errors: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.float64]]:
    """Return the parameters and their covariance, enlarged by the scatter where that is larger."""
    weighted, wanted = design / errors[:, None], values / errors
    parameters, _, _, _ = np.linalg.lstsq(weighted, wanted, rcond=None)
    misfit = float(np.sum((wanted - weighted @ parameters) ** 2))
    scatter = misfit / (len(values) - design.shape[1])
    covariance = np.linalg.pinv(weighted.T @ weighted)
    return np.asarray(parameters), np.asarray(covariance * max(1.0, scatter))


def _named(
    names: Sequence[str], values: FloatArray, covariance: npt.NDArray[np.float64]
) -> dict[str, Slope]:
    return {
        name: Slope(value=float(value), error=float(math.sqrt(variance)))
        for name, value, variance in zip(names, values, np.diag(covariance), strict=True)
    }
