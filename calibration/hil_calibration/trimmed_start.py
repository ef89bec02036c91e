"""Where a robust fit starts: the line that the better half of the samples lie on.

Least trimmed squares (Rousseeuw and Van Driessen, "Computing LTS regression for large data sets",
Data Mining and Knowledge Discovery 12:29, 2006): fits to a few vectors drawn at random, each
concentrated twice on the half with the smallest residuals; the best one stays.

Counts are whole, and that needs care where they have no noise. A line that half of the samples lie
on exactly beats every other one, whatever the rest does ("exact fit property", Rousseeuw and Leroy,
"Robust Regression and Outlier Detection", Wiley 1987, chapter 3): in a one-phase read these may be
all samples of one polarity, and the other polarity would be left out as one large glitch. So
samples that are nearer to a line than rounding lets them be are dithered: a count stands for any
number half a count around it (L. Schuchman, "Dither signals and their effect on quantization
noise", IEEE Trans. Commun. Technol. 12:162, 1964), and no half of them is exact.
"""

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray
from hil.core.correction import Correction
from hil_calibration.fit import fit_columns
from hil_calibration.kernels.robust_sums import SampleSums, lower_median
from hil_calibration.moments import ColumnMoments

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation over median absolute deviation of a Gaussian: 1 / Phi^-1(3/4)."""
_STARTS = 24
"""Random starts: with 20 % glitches each misses all of them with 0.8**6, so all fail in 1 of 1,000
columns, and concentration mends most of those."""
_START_VECTORS = 6
"""Vectors of a start: enough that both polarities of a one-phase read are nearly always there."""
_CONCENTRATIONS = 2
_ROUNDING = 12**-0.5
"""Standard deviation of rounding to whole counts: that of a uniform error of one count (W. R.
Bennett, "Spectra of quantized signals", Bell Syst. Tech. J. 27:446, 1948)."""
_MOST_ROUNDINGS = 5.0
"""Standard deviations of rounding up to which a residual is nothing but rounding: with one counter
1.44 counts, half a count of the sample itself and as much of the line."""

Floats = npt.NDArray[np.float64]


def count_rounding(line: Correction) -> Floats:
    """Return what rounding both counters to whole counts leaves, rms, shape (column,).

    In the unit of the line's outputs: both gains, in outputs per count, times ``1 / sqrt(12)``
    counts. No residual of counts is smaller, but by chance or where a line fits whole counts.

    Examples
    --------
    >>> one = np.ones(1)
    >>> count_rounding(Correction(a_p=3.0 * one, a_n=4.0 * one, b=0.0 * one)).round(4)
    array([1.4434])
    """
    return np.asarray(_ROUNDING * np.hypot(line.a_p, line.a_n), dtype=np.float64)


def trimmed_start(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    given: Floats,
    *,
    one_scale: bool,
    seed: int,
    sums: type[SampleSums],
) -> Correction:
    """Return the line of each column from which the glitches are told.

    The plain fit, where all samples lie on it but for rounding; else that of least trimmed squares.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    expected
        Expected outputs, shape (vector, column), any unit.
    given
        Weights, shape (vector, column); 0 where there is no sample.
    one_scale, seed, sums
        As for `fit_robust`.
    """
    plain = fit_columns(ColumnMoments.of(counts, expected, weights=given), one_scale=one_scale)
    line = _least_trimmed(
        counts, expected, given, plain=plain.correction, one_scale=one_scale, seed=seed, sums=sums
    )
    residual = np.abs(expected - line.apply(counts))
    sigma = MAD_TO_SIGMA * lower_median(residual, given > 0)
    exact = np.flatnonzero(sigma < count_rounding(line))
    if not exact.size:
        return line
    found = _coefficients(line)
    few = _coefficients(plain.correction)[:, exact]
    few_counts, few_given = counts[:, :, exact], given[:, exact]
    width = count_rounding(line)[exact] / _ROUNDING
    dither = np.random.default_rng([seed, 1]).uniform(-0.5, 0.5, few_given.shape)
    dithered = _least_trimmed(
        few_counts, expected[:, exact] + width * dither, few_given,
        plain=_line(few), one_scale=one_scale, seed=seed, sums=sums,
    )  # fmt: skip
    off = np.abs(expected[:, exact] - _line(few).apply(few_counts)) * (few_given > 0)
    is_rounding = (off <= _MOST_ROUNDINGS * count_rounding(_line(few))).all(axis=0)
    found[:, exact] = np.where(is_rounding, few, _coefficients(dithered))
    return _line(found)


def _least_trimmed(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    given: Floats,
    *,
    plain: Correction,
    one_scale: bool,
    seed: int,
    sums: type[SampleSums],
) -> Correction:
    """Return per column the line with the least trimmed sum of squares among all starts."""
    rng = np.random.default_rng(seed)
    vectors = len(counts)
    sample = sums(counts, expected, given)
    best = _coefficients(plain)
    best_sum = np.full(expected.shape[1], np.inf)
    for start in range(_STARTS + 1):
        line = plain
        if start:
            drawn = rng.choice(vectors, size=min(_START_VECTORS, vectors), replace=False)
            few = ColumnMoments.of(counts[drawn], expected[drawn], weights=given[drawn])
            line = fit_columns(few, one_scale=one_scale).correction
        for _ in range(_CONCENTRATIONS):
            line = fit_columns(sample.half(line), one_scale=one_scale).correction
        trimmed_sum = sample.half_squares(line)
        is_better = trimmed_sum < best_sum
        best = np.where(is_better, _coefficients(line), best)
        best_sum = np.where(is_better, trimmed_sum, best_sum)
    return _line(best)


def _coefficients(line: Correction) -> Floats:
    return np.stack([line.a_p, line.a_n, line.b])


def _line(coefficients: Floats) -> Correction:
    return Correction(a_p=coefficients[0], a_n=coefficients[1], b=coefficients[2])
