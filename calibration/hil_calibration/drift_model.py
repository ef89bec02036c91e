"""Drift against time: how the scale will go on, and until when a correction is good enough.

With ``L = ln(t / t0)``, t the time since programming and t0 that of the reference readout:

- the scale falls as ``s = exp(-nu L)``, because every conductance follows a power law;
- the exponents of the columns spread by tau, so the scales do by ``tau L``, relative to s;
- the exponents of a column's cells spread too, so its outputs are off by ``delta L`` rms, relative
  to s, in a way that no correction of the column undoes.

The relative L2 error of a correction that was good to E0 then follows. Least squares leaves E0
orthogonal to the corrected outputs, which therefore hold ``1 - E0**2`` of the signal's power, and
the three deviations above are independent of each other:

``E**2 = E0**2 + (1 - E0**2) * ((1 - q)**2 + q**2 * ((tau M)**2 + (delta L)**2))``

where the correction was last rescaled at tc, ``M = ln(t / tc)`` and ``q = exp(-nu M)``. One factor
for all columns, measured at t itself, leaves ``tau L`` and ``delta L``; one of each column leaves
``delta L``.

E0 itself does not keep its size beside the signal: the part of it that stands in cells with other
exponents than the signal's, as ``exp(-kappa L)``. Stuck cells do not decay, the noise of small
weights decays faster; which prevails is not seen in probe readouts. The prediction takes kappa as
0, its interval as 0 give or take `BASELINE_SHARE` of delta.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.errors import CalibrationError
from hil_calibration.drift import DriftEstimate

FloatColumns = npt.NDArray[np.float64]

QUANTILE = 1.96
"""Standard errors to either side of an interval: 95 % of a normal distribution."""
BASELINE_SHARE = 0.15
"""Standard deviation of kappa over delta: chosen on 22 cores of the mock so that intervals, which
the errors of nu and delta widen in the same direction, hold at least 95 % of the true ages."""
_HUBER = 1.345
"""Residual, in standard errors, from which an age counts less: 95 % efficient on normal errors
(P. J. Huber, "Robust Statistics", 1981)."""
_ROUNDS = 20
"""Rounds of re-weighting; with one unknown the weights settle in fewer than ten."""
_LOG_TIMES = np.linspace(0.0, 40.0, 40_001)
"""Where a crossing is looked for: up to 2e17 times the reference age, in steps of 0.1 %."""


class Compensation(StrEnum):
    """What is done against drift when a core is used."""

    NONE = "none"
    """Nothing since the correction was last rescaled."""
    GLOBAL = "global"
    """One factor for all columns, measured now."""
    COLUMNS = "columns"
    """One factor for each column, measured now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A predicted value between the ends of its 95 % interval."""

    value: float
    """Prediction."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftModel:
    """Power-law drift of a core, fitted to estimates at several ages."""

    reference_s: float
    """Age t0 of the reference readout, seconds since programming."""
    nu: float
    """Exponent of the core's scale."""
    nu_se: float
    """Its standard error."""
    column_nu: FloatColumns
    """Exponent of each column's scale, shape (column,); NaN where no estimate measured it."""
    column_nu_se: FloatColumns
    """Standard errors, shape (column,)."""
    column_spread: float
    """tau: spread of the columns' exponents, without that of their estimates."""
    cell_spread: float
    """delta: dispersion of a column's outputs per unit of log time."""
    cell_spread_se: float
    """Its standard error."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "column_nu", read_only(self.column_nu))
        object.__setattr__(self, "column_nu_se", read_only(self.column_nu_se))

    def scale_at(self, age_s: float) -> Interval:
        """Predict the core's scale at an age, in seconds since programming."""
        log_time = self._log_time(age_s)
        low, value, high = (
            float(np.exp(-(self.nu + step * self.nu_se) * log_time))
            for step in (QUANTILE, 0.0, -QUANTILE)
        )
        return Interval(value=value, low=low, high=high)

    def column_scales_at(self, age_s: float) -> tuple[FloatColumns, FloatColumns]:
        """Predict each column's scale at an age, with its standard error, shape (column,)."""
        log_time = self._log_time(age_s)
        scale = np.exp(-self.column_nu * log_time)
        return scale, scale * self.column_nu_se * log_time

    def age_at_scale(self, scale: float) -> Interval:
        """Predict the age at which the core's scale has fallen to `scale`, 0 < scale < 1.

        A scale of ``1 / headroom`` is where rescaled gains no longer fit registers that were
        quantised with that head-room.
        """
        fall = -np.log(scale)
        value, low, high = (
            self._age(float(fall / max(self.nu + step * self.nu_se, 1e-12)))
            for step in (0.0, QUANTILE, -QUANTILE)
        )
        return Interval(value=value, low=low, high=high)

    def error_at(
        self,
        age_s: float,
        *,
        baseline_error: float,
        compensation: Compensation = Compensation.NONE,
        rescaled_s: float | None = None,
    ) -> Interval:
        """Predict the relative L2 error at an age.

        Parameters
        ----------
        age_s
            Seconds since programming, not before `rescaled_s`.
        baseline_error
            E0: error of the correction at the reference age, as verified.
        compensation
            What is done at that age.
        rescaled_s
            Age at which each column was last rescaled; None for never, that is the reference age.
        """
        log_time = np.array([self._log_time(age_s)])
        since = self._log_time(rescaled_s or self.reference_s)
        value, low, high = (
            float(self._errors(log_time, since, baseline_error, compensation, step)[0])
            for step in (0.0, -QUANTILE, QUANTILE)
        )
        return Interval(value=value, low=low, high=high)

    def valid_until(
        self,
        limit: float,
        *,
        baseline_error: float,
        compensation: Compensation = Compensation.NONE,
        rescaled_s: float | None = None,
    ) -> Interval:
        """Predict the age at which the relative L2 error passes a limit.

        With a compensation, it is the age at which even that, done then, leaves more.

        Parameters
        ----------
        limit
            Largest relative L2 error.
        baseline_error, compensation, rescaled_s
            As for `error_at`.

        Returns
        -------
        Seconds since programming; infinite where the error stays below the limit for 1e17
        reference ages.

        Raises
        ------
        CalibrationError
            If the error is above the limit from the start.
        """
        since = self._log_time(rescaled_s or self.reference_s)
        log_times = _LOG_TIMES[np.searchsorted(_LOG_TIMES, since) :]
        start = self._errors(log_times[:1], since, baseline_error, compensation, 0.0)[0]
        if limit <= start:
            raise CalibrationError(
                f"a limit of {limit:.4g} is not above the error of {start:.4g} at the start: "
                "program or fit again, or allow more"
            )
        ages = []
        for step in (0.0, QUANTILE, -QUANTILE):
            errors = self._errors(log_times, since, baseline_error, compensation, step)
            beyond = np.flatnonzero(errors > limit)
            ages.append(self._age(float(log_times[beyond[0]])) if beyond.size else float("inf"))
        return Interval(value=ages[0], low=ages[1], high=ages[2])

    def _errors(
        self,
        log_times: FloatColumns,
        since: float,
        baseline_error: float,
        compensation: Compensation,
        step: float,
    ) -> FloatColumns:
        """Return the errors, with nu, delta and -kappa `step` standard errors above estimates."""
        nu = max(self.nu + step * self.nu_se, 0.0)
        cells = max(self.cell_spread + step * self.cell_spread_se, 0.0) * log_times
        lag = log_times - since
        left, columns = 1.0 - np.exp(-nu * lag), self.column_spread * lag
        if compensation is not Compensation.NONE:
            left = np.zeros_like(lag)
            columns = self.column_spread * log_times
        if compensation is Compensation.COLUMNS:
            columns = np.zeros_like(lag)
        drifted = left**2 + (1 - left) ** 2 * (columns**2 + cells**2)
        baseline = baseline_error * np.exp(step * BASELINE_SHARE * self.cell_spread * log_times)
        return np.asarray(np.sqrt(baseline**2 + (1 - baseline_error**2) * drifted))

    def _log_time(self, age_s: float) -> float:
        if not age_s >= self.reference_s:
            raise ValueError(f"{age_s} s: before the reference age of {self.reference_s:g} s")
        return float(np.log(age_s / self.reference_s))

    def _age(self, log_time: float) -> float:
        return self.reference_s * float(np.exp(log_time)) if log_time < 40 else float("inf")


def fit_drift(
    estimates: Sequence[DriftEstimate], ages_s: Sequence[float], *, reference_s: float
) -> DriftModel:
    """Fit ``ln s = -nu ln(t / t0)`` to the scales at several ages, robustly.

    The same probe vectors see the same cells at every age, so the errors of the scales do not
    average out over the ages: the variance of nu is that of one age, plus the scatter round the
    power law.

    Parameters
    ----------
    estimates
        Estimates against one reference readout, in any order.
    ages_s
        Seconds since programming of each, at least one after `reference_s` and none before.
    reference_s
        Seconds since programming of the reference readout, 0 < reference_s.

    Raises
    ------
    CalibrationError
        If the ages do not match the estimates, or none lies after the reference readout.
    """
    ages = np.asarray(ages_s, dtype=np.float64)
    if not (len(ages) == len(estimates) and reference_s > 0 and (ages >= reference_s).all()):
        raise CalibrationError(
            f"{len(estimates)} estimates at the ages {list(ages_s)} s: each needs one age, not "
            f"before the reference readout at {reference_s:g} s"
        )
    log_times = np.log(ages / reference_s)
    is_later = log_times > 0
    later = [part for part, counts in zip(estimates, is_later, strict=True) if counts]
    if not later:
        raise CalibrationError("no estimate after the reference readout: there is no drift to fit")
    nu, nu_se = _fit_exponents(
        log_times[is_later],
        np.array([[part.global_scale] for part in later]),
        np.array([[part.global_scale_se] for part in later]),
    )
    column_nu, column_nu_se = _fit_exponents(
        log_times[is_later],
        np.stack([part.scale for part in later]),
        np.stack([part.scale_se for part in later]),
    )
    is_known = np.isfinite(column_nu)
    excess = float(np.var(column_nu[is_known]) - np.mean(column_nu_se[is_known] ** 2))
    cell_spread, cell_spread_se = _fit_cell_spread(log_times, estimates)
    return DriftModel(
        reference_s=reference_s,
        nu=float(nu[0]),
        nu_se=float(nu_se[0]),
        column_nu=column_nu,
        column_nu_se=column_nu_se,
        column_spread=float(np.sqrt(max(excess, 0.0))),
        cell_spread=cell_spread,
        cell_spread_se=cell_spread_se,
    )


def _fit_exponents(
    log_times: FloatColumns, scales: FloatColumns, scale_se: FloatColumns
) -> tuple[FloatColumns, FloatColumns]:
    """Fit one line through the origin per column to (age, column) arrays, by Huber's weights."""
    log_scales = np.log(scales)
    error = np.maximum(scale_se / scales, 1e-12)
    precision = (log_times[:, None] / error) ** 2  # 0 where the column was not measured
    slopes = -log_scales / log_times[:, None]
    is_known = precision.sum(axis=0) > 0
    weights = np.where(is_known, precision, 1.0)
    nu = np.average(slopes, axis=0, weights=weights)
    for _ in range(_ROUNDS):
        misfit = np.abs(slopes - nu) * np.sqrt(precision)
        weights = np.where(is_known, precision * _HUBER / np.maximum(misfit, _HUBER), 1.0)
        nu = np.average(slopes, axis=0, weights=weights)
    used = np.maximum((precision > 0).sum(axis=0), 1)
    scatter = np.average((slopes - nu) ** 2, axis=0, weights=weights)
    variance = used / np.where(is_known, precision.sum(axis=0), 1.0) + scatter
    return np.where(is_known, nu, np.nan), np.where(is_known, np.sqrt(variance), np.inf)


def _fit_cell_spread(
    log_times: FloatColumns, estimates: Sequence[DriftEstimate]
) -> tuple[float, float]:
    """Fit delta and its error in ``dispersion**2 = noise**2 + (delta L)**2``, neither negative.

    With one age only, all of the dispersion is taken for drift, which errs on the safe side.
    """
    squares = [estimate.dispersion[estimate.is_measured] ** 2 for estimate in estimates]
    mean = np.array([part.mean() for part in squares])
    error = np.array([part.std() / np.sqrt(part.size) for part in squares])
    weight = 1 / np.maximum(error, 1e-12) ** 2
    square_times = log_times**2
    total = weight.sum()
    time_mean, square_mean = (float((weight * part).sum() / total) for part in (square_times, mean))
    spread = float((weight * (square_times - time_mean) ** 2).sum())
    slope = 0.0
    if spread > 1e-9 * total:
        slope = float((weight * (square_times - time_mean) * mean).sum() / spread)
    if spread <= 1e-9 * total or square_mean < slope * time_mean:
        spread = float((weight * square_times**2).sum())
        slope = float((weight * square_times * mean).sum() / spread)
    delta = float(np.sqrt(max(slope, 0.0)))
    # The cells are the same at each age: as for nu, their errors do not average out.
    slope_se = float(np.sqrt(len(estimates) / spread))
    return delta, slope_se / (2 * delta) if delta > 0 else float(np.sqrt(slope_se))
