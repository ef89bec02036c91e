"""Which columns deserve a look, and the numbers behind it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.correction import NOT_CALIBRATED, ColumnFlag, ColumnQuality, Correction
from hil_calibration.fit import ColumnFits
from hil_calibration.linearity import effective_bits, inl_curves
from hil_calibration.moments import ColumnMoments
from hil_calibration.noise import CodeNoise
from hil_calibration.robust_fit import REJECTED_SIGMAS, RobustFits
from hil_calibration.trimmed_start import MAD_TO_SIGMA, count_rounding

_CHANCE = 1e-6
"""Chance that a column of pure noise passes as alive: once in 4,000 cores of 256 columns."""

_MANY_HOPELESS = 0.25
"""Share of the live columns too glitchy to be fitted, from which these say what is typical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """Where a column stops being like the others."""

    dead_r_squared: float = 0.1
    """A column whose fit explains less of its expected output than this share is dead; with few
    vectors more is asked, see `chance_r_squared`."""
    poor_fit_ratio: float = 3.0
    """A residual this many times the median of the core's live columns is a poor fit."""
    saturated_share: float = 0.001
    """A column with more than this share of its counts clipped is saturated."""
    largest_condition: float = 30.0
    """A column whose P and N have a larger condition number than this is ill-conditioned (Belsley,
    Kuh and Welsch, "Regression Diagnostics", Wiley 1980: moderate to strong relations from 30)."""
    glitch_share: float = 0.005
    """A column with more than this share of its samples far off the line is glitchy."""
    glitch_sigmas: float = 5.0
    """So is one whose gains or offset the samples far off move by this many standard errors."""


def chance_r_squared(vectors: int) -> float:
    """Return the share that a fit of two gains and an offset to pure noise rarely explains.

    For Gaussian noise R^2 follows a Beta(1, (n - 3) / 2) distribution, so it passes x with
    probability ``(1 - x)**((n - 3) / 2)``; here that is `_CHANCE`.

    Examples
    --------
    >>> [round(chance_r_squared(vectors), 3) for vectors in (32, 64, 128, 512)]
    [0.614, 0.364, 0.198, 0.053]
    """
    return float(1 - _CHANCE ** (2 / max(vectors - 3, 1)))


def flag_columns(
    moments: ColumnMoments,
    fits: ColumnFits,
    saturated_counts: npt.NDArray[np.int64],
    limits: QualityLimits,
    *,
    hopeless_rms: npt.NDArray[np.float64] | None = None,
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
    hopeless_rms
        Residual of the better samples of columns too glitchy to be fitted, shape (column,), unit
        of the fit; NaN in all others. Where there are many of them, the typical residual is no
        more than their median: the others' may be as bad, and each as typical as the next.

    Returns
    -------
    `ColumnFlag` bit fields, shape (column,).
    """
    expected_varies = moments.products[2, 2] > 0
    least_r_squared = max(limits.dead_r_squared, chance_r_squared(moments.vectors))
    is_unexplained = expected_varies & (fits.r_squared < least_r_squared)
    is_live = expected_varies & ~is_unexplained
    is_saturated = saturated_counts > limits.saturated_share * 2 * moments.vectors
    typical = float(np.median(fits.residual_rms[is_live])) if is_live.any() else 0.0
    if hopeless_rms is not None:
        hopeless = hopeless_rms[is_live & ~np.isnan(hopeless_rms)]
        if hopeless.size > _MANY_HOPELESS * is_live.sum():
            typical = min(typical, float(np.median(hopeless)))
    # A column that hardly has anything to show is no dead one: nobody can tell.
    spread = np.sqrt(moments.products[2, 2] / moments.vectors)
    is_weak = is_unexplained & (spread < typical)
    is_stuck = is_unexplained & ~fits.moves_p & ~fits.moves_n
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
        (ColumnFlag.STUCK, is_stuck),
        (ColumnFlag.ILL_CONDITIONED, is_live & (fits.condition > limits.largest_condition)),
    ):
        flags[is_set] |= np.uint16(flag)
    return flags


def is_calibrated(flags: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Return which columns carry a fitted correction, shape (column,)."""
    return np.asarray((flags & np.uint16(NOT_CALIBRATED)) == 0)


def is_glitchy_fit(
    plain: ColumnFits, robust: RobustFits, limits: QualityLimits
) -> npt.NDArray[np.bool_]:
    """Tell which columns need the robust fit, shape (column,).

    Those with many samples far off the line, or with few that move the plain fit by more than
    its uncertainty explains.

    Parameters
    ----------
    plain, robust
        Both fits of the same columns.
    limits
        Where to draw the line.
    """
    is_moved = np.zeros(robust.scale.shape, dtype=np.bool_)
    for name in ("a_p", "a_n", "b"):
        found = getattr(robust.fits.correction, name)
        error = getattr(robust.fits, f"{name}_se")
        is_moved |= np.abs(found - getattr(plain.correction, name)) > limits.glitch_sigmas * error
    share = robust.outlier_share
    return np.asarray((share > limits.glitch_share) | (share > 0) & is_moved)


def measure_quality(
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.float64],
    correction: Correction,
    *,
    clip_code: int,
    noise: CodeNoise | None = None,
    condition: npt.NDArray[np.float64] | None = None,
    glitch_share: npt.NDArray[np.float64] | None = None,
) -> ColumnQuality:
    """Measure every column with its correction.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column), at least one vector.
    expected
        Expected outputs, shape (vector, column), output LSB.
    correction
        The correction to judge, output LSB.
    clip_code
        Lowest code that is a clipped one.
    noise
        Noise by code from repeats of the same columns.
    condition, glitch_share
        What the fit found, shape (column,); passed on, NaN where None.
    """
    residual = correction.apply(counts) - expected
    rms = np.sqrt(np.mean(np.square(residual), axis=0))
    sigma = np.maximum(
        MAD_TO_SIGMA * np.median(np.abs(residual), axis=0), count_rounding(correction)
    )
    curves = inl_curves(counts, expected, correction)
    unknown = np.full(rms.shape, np.nan)
    noise_rms = unknown
    if noise is not None:
        rms_p, rms_n = noise.rms
        noise_rms = np.hypot(correction.a_p * rms_p, correction.a_n * rms_n)
    return ColumnQuality(
        inl=curves.largest,
        inl_edges=curves.edges,
        inl_curve=curves.residual,
        effective_bits=effective_bits(np.ptp(expected, axis=0), rms),
        residual_rms=rms,
        noise_rms=noise_rms,
        saturated_share=(counts >= clip_code).mean(axis=(0, 1)),
        outlier_share=(np.abs(residual) > REJECTED_SIGMAS * sigma).mean(axis=0),
        condition=unknown if condition is None else condition,
        glitch_share=unknown if glitch_share is None else glitch_share,
    )
