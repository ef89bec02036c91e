"""A fit that glitches do not move: a start that withstands them, rejection, then Huber.

A glitch is a count that is far off, by a spike on the counter or a bit lost on the way. It stands
in a regressor, and far out, so Huber's weights alone do not hold it: they bound the residual, not
the lever it pulls at. Strategy, per column:

1. Start: least trimmed squares, see `trimmed_start`.
2. Rejection: samples more than `REJECTED_SIGMAS` from that line are glitches and are left out. The
   scale is that of the median residual, and no less than what rounding to whole counts leaves
   (`count_rounding`): where half of the samples are exactly on a line, as in counts without noise
   whose slope is nearly 1, the median says 0, and the next whole count is no glitch.
3. Huber's M-estimate of the rest, by iteratively reweighted least squares.

All columns are worked at once, as weighted `ColumnMoments` of a sample that is held in memory.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray, read_only
from hil.core.correction import Correction
from hil_calibration.fit import ColumnFits, fit_columns
from hil_calibration.kernels.robust_sums import SampleSums, lower_median
from hil_calibration.moments import ColumnMoments
from hil_calibration.trimmed_start import MAD_TO_SIGMA, count_rounding, trimmed_start

HUBER_TUNING = 1.345
"""Huber's k in standard deviations: 95 % efficient on Gaussian residuals (Holland and Welsch,
"Robust regression using iteratively reweighted least-squares", Comm. Statist. A6:813, 1977)."""
REJECTED_SIGMAS = 5.0
"""Residual from which a sample is a glitch: one Gaussian sample in 1.7 million lies beyond."""
_ROUNDS = 60
"""Most rounds of reweighting."""
_SETTLED = 1e-10
"""Relative change of the fitted outputs at which the reweighting stops."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustFits:
    """The robust fit of every column, and what it left out."""

    fits: ColumnFits
    """The fit; residual, share explained and condition are those of the samples kept."""
    scale: Floats
    """Standard deviation of the residuals by their median, at least that of rounding to whole
    counts, shape (column,), unit of ``y``."""
    is_kept: npt.NDArray[np.bool_]
    """Samples that are no glitches, shape (vector, column)."""

    def __post_init__(self) -> None:
        for name in ("scale", "is_kept"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def outlier_share(self) -> Floats:
        """Share of the samples that were rejected, shape (column,)."""
        return np.asarray(1.0 - self.is_kept.mean(axis=0), dtype=np.float64)


def fit_robust(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    *,
    weights: FloatArray | None = None,
    one_scale: bool = False,
    tuning: float = HUBER_TUNING,
    seed: int = 0,
    sums: type[SampleSums] = SampleSums,
) -> RobustFits:
    """Fit every column so that glitches do not matter.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column); a few hundred vectors are a good sample.
    expected
        Expected outputs, shape (vector, column), any unit.
    weights
        Samples to leave out from the beginning have weight 0, shape (vector, column).
    one_scale
        Whether P and N must share one gain.
    tuning
        Huber's k in standard deviations, 0 < k.
    seed
        Of the random starts: one input gives one result.
    sums
        What takes the sums; `CompiledSampleSums` is the faster, and agrees to the last few digits.

    Raises
    ------
    CalibrationError
        If there are fewer than four vectors.
    ValueError
        If the shapes do not match or a value is not finite.

    Examples
    --------
    y = 2 P, with one count of 60 read as 1060:

    >>> p = np.arange(0, 200, 10)
    >>> counts = np.stack([p, 0 * p], axis=1)[:, :, None]
    >>> counts[6, 0] += 1000
    >>> robust = fit_robust(counts, 2.0 * p[:, None])
    >>> robust.fits.correction.a_p.round(9), np.flatnonzero(~robust.is_kept)
    (array([2.]), array([6]))
    """
    given = np.ones(expected.shape) if weights is None else np.asarray(weights, np.float64)
    line = trimmed_start(counts, expected, given, one_scale=one_scale, seed=seed, sums=sums)
    is_kept = given > 0
    for _ in range(2):  # the second time with the scale of a fit to all that is kept
        residual = expected - line.apply(counts)
        scale = residual_scale(residual, given > 0, expected, line)
        is_kept = (np.abs(residual) <= REJECTED_SIGMAS * scale) & (given > 0)
        kept = ColumnMoments.of(counts, expected, weights=given * is_kept)
        line = fit_columns(kept, one_scale=one_scale).correction
    scale = residual_scale(expected - line.apply(counts), is_kept, expected, line)
    fits = fit_huber(
        counts,
        expected,
        scale=scale,
        weights=given * is_kept,
        one_scale=one_scale,
        tuning=tuning,
        sums=sums,
    )
    # What was never a sample is not rejected either.
    return RobustFits(fits=fits, scale=scale, is_kept=is_kept | (given == 0))


def fit_huber(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    *,
    scale: Floats,
    weights: FloatArray | None = None,
    one_scale: bool = False,
    tuning: float = HUBER_TUNING,
    sums: type[SampleSums] = SampleSums,
) -> ColumnFits:
    """Minimise Huber's loss of the residuals, each column with a scale that is given.

    Quadratic up to ``tuning * scale`` and linear beyond: robust against outliers of y, and of the
    counts where these are no further out than the others.

    Parameters
    ----------
    counts, expected, weights, one_scale, tuning, sums
        As for `fit_robust`.
    scale
        Standard deviation of the good residuals, shape (column,), unit of ``y``, 0 < scale.

    Returns
    -------
    The fit. Standard errors are the asymptotic ones with the correction for few samples.

    Source
    ------
    Huber, "Robust Statistics", Wiley 1981, chapter 7: the loss, and the covariance with its
    correction for few samples.
    """
    given = np.ones(expected.shape) if weights is None else np.asarray(weights, np.float64)
    bound = tuning * scale
    plain = ColumnMoments.of(counts, expected, weights=given)
    fits = fit_columns(plain, one_scale=one_scale)
    sample, correction = sums(counts, expected, given), fits.correction
    size = np.maximum(np.abs(expected).max(axis=0, initial=0.0), np.finfo(float).tiny)
    for _ in range(_ROUNDS):
        previous = correction
        correction = fit_columns(sample.huber(previous, bound), one_scale=one_scale).correction
        if np.all(sample.largest_change(correction, previous) <= _SETTLED * size):
            break
    residual = expected - correction.apply(counts)
    return _with_huber_errors(fits, correction, residual=residual, given=given, bound=bound)


def _with_huber_errors(
    plain: ColumnFits, correction: Correction, *, residual: Floats, given: Floats, bound: Floats
) -> ColumnFits:
    """Return the M-estimate with its own residuals and errors, from the plain fit's geometry."""
    samples = np.maximum((given > 0).sum(axis=0), 1)
    unknowns = 1 + plain.moves_p.astype(int) + plain.moves_n
    freedom = np.maximum(samples - unknowns, 1)
    is_inside = (np.abs(residual) <= bound) & (given > 0)
    inside = np.maximum(is_inside.sum(axis=0) / samples, 1 / samples)
    psi_squares = (given * np.clip(residual, -bound, bound) ** 2).sum(axis=0)
    few = 1 + unknowns / samples * (1 - inside) / inside
    sigma = few * np.sqrt(psi_squares / freedom) / inside
    # The plain fit's errors are its residual times a factor that depends on the counts only.
    ratio = np.divide(
        sigma, plain.residual_rms, out=np.zeros_like(sigma), where=plain.residual_rms > 0
    )
    squares = (given * residual**2).sum(axis=0)
    plain_squares = plain.residual_rms**2 * freedom
    unexplained = np.divide(
        squares * (1 - plain.r_squared),
        plain_squares,
        out=np.zeros_like(squares),
        where=plain_squares > 0,
    )
    return ColumnFits(
        correction=correction,
        a_p_se=plain.a_p_se * ratio,
        a_n_se=plain.a_n_se * ratio,
        b_se=plain.b_se * ratio,
        residual_rms=np.sqrt(squares / freedom),
        r_squared=np.clip(np.where(plain_squares > 0, 1 - unexplained, plain.r_squared), 0.0, 1.0),
        condition=plain.condition,
        moves_p=plain.moves_p,
        moves_n=plain.moves_n,
    )


def residual_scale(
    residual: Floats,
    counted: npt.NDArray[np.bool_],
    expected: FloatArray | IntArray,
    line: Correction,
) -> Floats:
    """Return the standard deviation by the median; at least that of rounding, in counts or here."""
    rounding = 1e-12 * np.abs(expected).max(axis=0, initial=0.0) + np.finfo(float).tiny
    sigma = MAD_TO_SIGMA * lower_median(np.abs(residual), counted)
    return np.asarray(np.maximum.reduce([sigma, count_rounding(line), rounding]), np.float64)
