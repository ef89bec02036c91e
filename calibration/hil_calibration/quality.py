"""Which columns deserve a look, and the numbers behind it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.correction import NOT_CALIBRATED, ColumnFlag
from hil_calibration.fit import ColumnFits
from hil_calibration.moments import ColumnMoments


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """Where a column stops being like the others."""

    dead_r_squared: float = 0.1
    """A column whose fit explains less of its expected output than this share is dead."""
    poor_fit_ratio: float = 3.0
    """A residual this many times the median of the core's live columns is a poor fit."""
    saturated_share: float = 0.001
    """A column with more than this share of its counts clipped is saturated."""


def flag_columns(
    moments: ColumnMoments,
    fits: ColumnFits,
    saturated_counts: npt.NDArray[np.int64],
    limits: QualityLimits,
) -> npt.NDArray[np.uint16]:
    """Judge every column of a core.

    Parameters
    ----------
    moments, fits
        Running sums and the fit made from them.
    saturated_counts
        Clipped counts, shape (column,), P and N together.
    limits
        Where to draw the lines.

    Returns
    -------
    `ColumnFlag` bit fields, shape (column,).
    """
    expected_varies = moments.products[2, 2] > 0
    is_unexplained = expected_varies & (fits.r_squared < limits.dead_r_squared)
    is_live = expected_varies & ~is_unexplained
    is_saturated = saturated_counts > limits.saturated_share * 2 * moments.vectors
    typical = float(np.median(fits.residual_rms[is_live])) if is_live.any() else 0.0
    # A column that hardly has anything to show is no dead one: nobody can tell.
    spread = np.sqrt(moments.products[2, 2] / moments.vectors)
    is_weak = is_unexplained & (spread < typical)
    is_poor = fits.residual_rms > limits.poor_fit_ratio * typical
    correction = fits.correction
    is_negative = (correction.a_p < 0) & (correction.a_n <= 0) | (
        (correction.a_p <= 0) & (correction.a_n < 0)
    )
    flags = np.zeros(moments.mean.shape[1], dtype=np.uint16)
    for flag, is_set in (
        (ColumnFlag.UNUSED, ~expected_varies),
        (ColumnFlag.DEAD, is_unexplained & ~is_weak),
        (ColumnFlag.WEAK_SIGNAL, is_weak),
        (ColumnFlag.SATURATED, is_saturated & expected_varies),
        (ColumnFlag.POOR_FIT, is_poor & is_live),
        (ColumnFlag.SINGLE_POLARITY, is_live & (fits.moves_p != fits.moves_n)),
        (ColumnFlag.NEGATIVE_GAIN, is_live & is_negative),
    ):
        flags[is_set] |= np.uint16(flag)
    return flags


def is_calibrated(flags: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Return which columns carry a fitted correction, shape (column,)."""
    return np.asarray((flags & np.uint16(NOT_CALIBRATED)) == 0)
