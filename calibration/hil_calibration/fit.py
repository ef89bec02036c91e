"""Least-squares fit of every column: ``y ~ a_p * P - a_n * N + b``.

The normal equations of two regressors, solved in closed form for all columns at once from centred
sums. A regressor that never moves is left out with gain 0; two that move together (within
`_COLLINEAR`) share one gain.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil_calibration.moments import ColumnMoments

_COLLINEAR = 1e-9
"""Least share of the variance of P and N that must be independent, det / (var P * var N)."""


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
    moves_p: npt.NDArray[np.bool_]
    """Whether P moves at all."""
    moves_n: npt.NDArray[np.bool_]
    """Whether N moves at all."""

    def __post_init__(self) -> None:
        for name in ("a_p_se", "a_n_se", "b_se", "residual_rms", "r_squared", "moves_p", "moves_n"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


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
    if moments.vectors < 4:
        raise CalibrationError(
            f"{moments.vectors} calibration vectors: a fit of three numbers per column needs at "
            "least 4 (a useful one 256)"
        )
    products = moments.products
    s_pp, s_nn, s_pn = products[0, 0], products[1, 1], products[0, 1]
    s_py, s_ny, s_yy = products[0, 2], products[1, 2], products[2, 2]
    moves_p, moves_n = s_pp > 0, s_nn > 0
    determinant = s_pp * s_nn - s_pn * s_pn
    is_full = (determinant > _COLLINEAR * s_pp * s_nn) & (not one_scale)
    is_shared = moves_p & moves_n & ~is_full

    # Inverse of the 2 x 2 matrix of (P, -N), column by column; zeros where a regressor is out.
    inv_pp = np.where(is_full, _ratio(s_nn, determinant), _ratio(moves_p, s_pp))
    inv_nn = np.where(is_full, _ratio(s_pp, determinant), _ratio(moves_n, s_nn))
    inv_pn = np.where(is_full, _ratio(s_pn, determinant), 0.0)
    # Collinear columns: one gain for the single regressor P - N.
    s_dd = s_pp + s_nn - 2 * s_pn
    shared = _ratio(is_shared & (s_dd > _COLLINEAR * (s_pp + s_nn)), s_dd)
    inv_pp, inv_nn, inv_pn = (
        np.where(is_shared, shared, inverse) for inverse in (inv_pp, inv_nn, inv_pn)
    )
    a_p = np.where(is_shared, shared * (s_py - s_ny), inv_pp * s_py - inv_pn * s_ny)
    a_n = np.where(is_shared, shared * (s_py - s_ny), inv_pn * s_py - inv_nn * s_ny)

    mean_p, mean_n, mean_y = moments.mean
    unknowns = 1 + moves_p.astype(int) + moves_n - is_shared
    residual_sum = np.maximum(s_yy - a_p * s_py + a_n * s_ny, 0.0)
    variance = residual_sum / (moments.vectors - unknowns)
    b_variance = (
        1 / moments.vectors + mean_p**2 * inv_pp + mean_n**2 * inv_nn - 2 * mean_p * mean_n * inv_pn
    )
    return ColumnFits(
        correction=Correction(a_p=a_p, a_n=a_n, b=mean_y - a_p * mean_p + a_n * mean_n),
        a_p_se=np.sqrt(variance * inv_pp),
        a_n_se=np.sqrt(variance * inv_nn),
        b_se=np.sqrt(variance * np.maximum(b_variance, 0.0)),
        residual_rms=np.sqrt(variance),
        r_squared=np.clip(_ratio(s_yy - residual_sum, s_yy), 0.0, 1.0),
        moves_p=moves_p,
        moves_n=moves_n,
    )


def without_mixed_signs(
    fits: ColumnFits, moments: ColumnMoments
) -> tuple[Correction, npt.NDArray[np.bool_]]:
    """Return a correction that two unsigned scales and a swap bit can hold.

    Where ``a_p`` and ``a_n`` differ in sign, the polarity that explains less of y is dropped
    and the other is fitted again by itself.

    Returns
    -------
    The correction, and which columns were changed, shape (column,).
    """
    correction = fits.correction
    is_mixed = correction.a_p * correction.a_n < 0
    products, (mean_p, mean_n, mean_y) = moments.products, moments.mean
    only_p = _ratio(products[0, 2], products[0, 0])
    only_n = -_ratio(products[1, 2], products[1, 1])
    keeps_p = np.abs(only_p * products[0, 2]) >= np.abs(only_n * products[1, 2])
    a_p = np.where(is_mixed, np.where(keeps_p, only_p, 0.0), correction.a_p)
    a_n = np.where(is_mixed, np.where(keeps_p, 0.0, only_n), correction.a_n)
    return Correction(a_p=a_p, a_n=a_n, b=mean_y - a_p * mean_p + a_n * mean_n), is_mixed


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
    sum_dy = products[0, 2] - products[1, 2] + moments.vectors * mean_d * moments.mean[2]
    sum_dd = products[0, 0] + products[1, 1] - 2 * products[0, 1] + moments.vectors * mean_d**2
    total_dd = float(sum_dd[columns].sum())
    return float(sum_dy[columns].sum()) / total_dd if total_dd > 0 else 0.0


def _ratio(
    numerator: npt.NDArray[np.float64] | npt.NDArray[np.bool_],
    denominator: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Divide, giving 0 where the denominator is not positive."""
    result = np.zeros_like(denominator)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
