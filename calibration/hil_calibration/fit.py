"""Least-squares fit of every column: ``y ~ a_p * P - a_n * N + b``.

The normal equations of two regressors, solved in closed form for all columns at once from centred
sums. A regressor that never moves is left out with gain 0; two that move together (within
`_COLLINEAR`) share one gain. A column with fewer than `FEWEST_SAMPLES` samples keeps gain 0.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil_calibration.moments import ColumnMoments

FEWEST_SAMPLES = 4
"""Samples that a column needs: three unknowns leave no residual to judge by."""
_INSIGNIFICANT = 9.0
"""Square of the t value, 3, up to which two gains may be the same one."""
_COLLINEAR = 1e-9
"""Least share of the variance of P and N that must be independent, det / (var P * var N).

The sums are good to about 1e-13, so what passes is known to 4 digits, and the gains of two
counters that move together exactly are not taken from rounding errors.
"""
_ROUNDING = 1e-12
"""Share of the sum of squares of y below which a residual is the rounding of the sums.

The residual is a difference of sums; what is left of a perfect fit is some 1e-16 of them, of
either sign.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFits:
    """The fit of every column of a core, with its uncertainty; arrays of shape (column,)."""

    correction: Correction
    """The fitted numbers, in the unit of the expected outputs per count."""
    a_p_se: npt.NDArray[np.float64]
    """Standard error of ``a_p``."""
    a_n_se: npt.NDArray[np.float64]
    """Standard error of ``a_n``."""
    b_se: npt.NDArray[np.float64]
    """Standard error of ``b``."""
    residual_rms: npt.NDArray[np.float64]
    """Root of the residual sum of squares over the degrees of freedom, unit of ``y``."""
    r_squared: npt.NDArray[np.float64]
    """Share of the variance of y that the fit explains, 0 to 1; 0 where y is constant."""
    condition: npt.NDArray[np.float64]
    """Condition number of P and N, centred and scaled to unit length; 1 where one never moves,
    infinite where they move together."""
    moves_p: npt.NDArray[np.bool_]
    """Whether P moves at all."""
    moves_n: npt.NDArray[np.bool_]
    """Whether N moves at all."""

    def __post_init__(self) -> None:
        for name in self.names():
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arrays beside the correction."""
        return tuple(field.name for field in fields(cls) if field.name != "correction")

    def select(self, columns: npt.NDArray[np.intp]) -> "ColumnFits":
        """Return the fits of some columns, in the order of their numbers, shape (column,)."""
        gains = {name: getattr(self.correction, name)[columns] for name in ("a_p", "a_n", "b")}
        others = {name: getattr(self, name)[columns] for name in self.names()}
        return ColumnFits(correction=Correction(**gains), **others)

    def with_columns(self, columns: npt.NDArray[np.intp], refitted: "ColumnFits") -> "ColumnFits":
        """Return these fits with those of some columns replaced.

        Parameters
        ----------
        columns
            Numbers of the columns, shape (refitted column,).
        refitted
            Their new fits, in the same order.
        """

        def replaced(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> Any:
            result = old.copy()
            result[columns] = new
            return result

        gains = {
            name: replaced(getattr(self.correction, name), getattr(refitted.correction, name))
            for name in ("a_p", "a_n", "b")
        }
        others = {
            name: replaced(getattr(self, name), getattr(refitted, name)) for name in self.names()
        }
        return ColumnFits(correction=Correction(**gains), **others)


def fit_columns(moments: ColumnMoments, *, one_scale: bool = False) -> ColumnFits:
    """Fit gain of each polarity and offset of each column by least squares.

    Parameters
    ----------
    moments
        Running sums of counts and expected outputs.
    one_scale
        Whether P and N must share one gain: ``y ~ a * (P - N) + b``.

    Returns
    -------
    One fit per column, negative gains included. Standard errors hold for independent residuals.

    Raises
    ------
    CalibrationError
        If there are fewer than four vectors: three unknowns leave no residual to judge by.
    """
    uses_p, uses_n = _used_counters(moments)
    return _solve(moments, uses_p=uses_p, uses_n=uses_n, one_scale=one_scale)


def fit_lines(moments: ColumnMoments, *, one_scale: bool = False) -> Correction:
    """Return the numbers of `fit_columns` alone: a search makes a hundred fits and keeps one.

    Parameters
    ----------
    moments, one_scale
        As for `fit_columns`.

    Raises
    ------
    CalibrationError
        If there are fewer than four vectors.
    """
    uses_p, uses_n = _used_counters(moments)
    inv_pp, inv_nn, inv_pn, _ = _inverse(moments.products, uses_p, uses_n, one_scale=one_scale)
    return _line(moments, inv_pp, inv_nn, inv_pn)


def without_loose_gains(
    fits: ColumnFits, moments: ColumnMoments, *, largest_condition: float
) -> ColumnFits:
    """Let P and N share one gain where the data cannot tell two apart.

    Where the counters nearly move together, the difference of the two gains is taken from the
    little that does not, and may be far from any gain of the chip: wild as soon as other inputs
    move P and N apart. Such a column gets the one gain of ``a * (P - N)``, unless two gains
    explain significantly more (t above 3).

    Parameters
    ----------
    fits, moments
        The fit with two gains and the sums that it was made from.
    largest_condition
        Condition number up to which two gains are kept in any case.
    """
    loose = np.flatnonzero((fits.condition > largest_condition) & fits.moves_p & fits.moves_n)
    if not loose.size:
        return fits
    kept = moments.select(loose)
    shared = fit_columns(kept, one_scale=True)
    freedom = np.maximum(kept.samples - 3, 1)
    noise = fits.residual_rms[loose] ** 2
    worse = shared.residual_rms**2 * (freedom + 1) - noise * freedom
    is_same = worse <= _INSIGNIFICANT * noise
    same = kept.select(np.flatnonzero(is_same))
    return fits.with_columns(loose[is_same], fit_columns(same, one_scale=True))


def without_mixed_signs(
    fits: ColumnFits, moments: ColumnMoments
) -> tuple[ColumnFits, npt.NDArray[np.bool_]]:
    """Return a fit that two unsigned scales and a swap bit can hold.

    Where ``a_p`` and ``a_n`` differ in sign, the polarity that explains less of y is dropped
    and the other is fitted again by itself. That is the least-squares optimum among gains of one
    sign: the residual is convex, so it is least on an edge of that region, where one gain is 0.

    Returns
    -------
    The fit, uncertainties included, and which columns were changed, shape (column,).
    """
    is_mixed = fits.correction.a_p * fits.correction.a_n < 0
    if not is_mixed.any():
        return fits, is_mixed
    mixed = np.flatnonzero(is_mixed)
    kept = moments.select(mixed)
    explained_by_p = _ratio(kept.products[0, 2] ** 2, kept.products[0, 0])
    explained_by_n = _ratio(kept.products[1, 2] ** 2, kept.products[1, 1])
    keeps_p = explained_by_p >= explained_by_n
    refitted = _solve(kept, uses_p=keeps_p, uses_n=~keeps_p, one_scale=False)
    return fits.with_columns(mixed, refitted), is_mixed


def fit_global_gain(moments: ColumnMoments, columns: npt.NDArray[np.bool_]) -> float:
    """Fit the one gain of ``y ~ gain * (P - N)`` shared by the given columns.

    This is what a chip gives with no per-column correction at all: the best single number, and no
    offset. It is the baseline called *uncorrected*.

    Parameters
    ----------
    moments
        Running sums of counts and expected outputs.
    columns
        Which columns count, shape (column,).

    Returns
    -------
    Gain in the unit of y per count; 0 if P - N never differs from 0.
    """
    mean_d = moments.mean[0] - moments.mean[1]
    products = moments.products
    sum_dy = products[0, 2] - products[1, 2] + moments.weight * mean_d * moments.mean[2]
    sum_dd = products[0, 0] + products[1, 1] - 2 * products[0, 1] + moments.weight * mean_d**2
    total_dd = float(sum_dd[columns].sum())
    return float(sum_dy[columns].sum()) / total_dd if total_dd > 0 else 0.0


def _used_counters(
    moments: ColumnMoments,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tell where P and where N moves and there are enough samples, shape (column,) each."""
    if moments.vectors < FEWEST_SAMPLES:
        raise CalibrationError(
            f"{moments.vectors} calibration vectors: a fit of three numbers per column needs at "
            f"least {FEWEST_SAMPLES} (a useful one 256)"
        )
    has_enough = moments.samples >= FEWEST_SAMPLES
    return (moments.products[0, 0] > 0) & has_enough, (moments.products[1, 1] > 0) & has_enough


def _line(
    moments: ColumnMoments,
    inv_pp: npt.NDArray[np.float64],
    inv_nn: npt.NDArray[np.float64],
    inv_pn: npt.NDArray[np.float64],
) -> Correction:
    (mean_p, mean_n, mean_y), products = moments.mean, moments.products
    s_py, s_ny = products[0, 2], products[1, 2]
    a_p = inv_pp * s_py - inv_pn * s_ny
    a_n = inv_pn * s_py - inv_nn * s_ny
    return Correction(a_p=a_p, a_n=a_n, b=mean_y - a_p * mean_p + a_n * mean_n)


def _solve(
    moments: ColumnMoments,
    *,
    uses_p: npt.NDArray[np.bool_],
    uses_n: npt.NDArray[np.bool_],
    one_scale: bool,
) -> ColumnFits:
    """Fit every column to the counters that it uses."""
    products, (mean_p, mean_n, _) = moments.products, moments.mean
    s_py, s_ny, s_yy = products[0, 2], products[1, 2], products[2, 2]
    inv_pp, inv_nn, inv_pn, is_shared = _inverse(products, uses_p, uses_n, one_scale=one_scale)
    line = _line(moments, inv_pp, inv_nn, inv_pn)

    unknowns = 1 + uses_p.astype(int) + uses_n - is_shared
    residual_sum = s_yy - line.a_p * s_py + line.a_n * s_ny
    residual_sum = np.where(residual_sum > _ROUNDING * s_yy, residual_sum, 0.0)
    variance = residual_sum / np.maximum(moments.samples - unknowns, 1)
    b_variance = (
        _ratio(np.ones_like(mean_p), moments.weight)
        + mean_p**2 * inv_pp
        + mean_n**2 * inv_nn
        - 2 * mean_p * mean_n * inv_pn
    )
    return ColumnFits(
        correction=line,
        a_p_se=np.sqrt(variance * inv_pp),
        a_n_se=np.sqrt(variance * inv_nn),
        b_se=np.sqrt(variance * np.maximum(b_variance, 0.0)),
        residual_rms=np.sqrt(variance),
        r_squared=np.clip(_ratio(s_yy - residual_sum, s_yy), 0.0, 1.0),
        condition=_condition(products),
        moves_p=products[0, 0] > 0,
        moves_n=products[1, 1] > 0,
    )


def _inverse(
    products: npt.NDArray[np.float64],
    uses_p: npt.NDArray[np.bool_],
    uses_n: npt.NDArray[np.bool_],
    *,
    one_scale: bool,
) -> tuple[
    npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]
]:
    """Invert the 2 x 2 matrix of the regressors (P, -N), column by column.

    Returns
    -------
    Its elements PP, NN and PN, each 0 where a regressor is out, and which columns share one gain:
    there every element is that of the single regressor P - N.
    """
    s_pp, s_nn, s_pn = products[0, 0], products[1, 1], products[0, 1]
    uses_both = uses_p & uses_n
    determinant = s_pp * s_nn - s_pn * s_pn
    is_full = uses_both & (determinant > _COLLINEAR * s_pp * s_nn) & (not one_scale)
    is_shared = uses_both & ~is_full
    s_dd = s_pp + s_nn - 2 * s_pn
    shared = _ratio(is_shared & (s_dd > _COLLINEAR * (s_pp + s_nn)), s_dd)
    alone_p, alone_n = _ratio(uses_p, s_pp), _ratio(uses_n, s_nn)
    return (
        np.where(is_full, _ratio(s_nn, determinant), np.where(is_shared, shared, alone_p)),
        np.where(is_full, _ratio(s_pp, determinant), np.where(is_shared, shared, alone_n)),
        np.where(is_full, _ratio(s_pn, determinant), np.where(is_shared, shared, 0.0)),
        is_shared,
    )


def _condition(products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the condition number of two centred unit regressors, from their correlation r.

    Their matrix has the eigenvalues 1 + |r| and 1 - |r|, the square root of whose ratio it is.
    """
    s_pp, s_nn, s_pn = products[0, 0], products[1, 1], products[0, 1]
    independent = 1 - _ratio(np.abs(s_pn), np.sqrt(s_pp) * np.sqrt(s_nn))
    # 1 - |r| is half the independent share of the variance, where that is small.
    is_together = independent <= _COLLINEAR / 2
    return np.where(is_together, np.inf, np.sqrt(2 / np.where(is_together, 1.0, independent) - 1))


def _ratio(
    numerator: npt.NDArray[np.float64] | npt.NDArray[np.bool_],
    denominator: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Divide, giving 0 where the denominator is not positive."""
    result = np.zeros_like(denominator)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
