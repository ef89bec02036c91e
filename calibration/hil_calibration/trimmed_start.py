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
from hil_calibration.fit import fit_columns, fit_lines
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
_QUICK_VECTORS = 128
"""Vectors of the sample for `quick_line`, evenly spread: nested, as for large data sets in the
paper above."""
_QUICK_STARTS = 40
"""Random starts there: with 40 % glitches all fail in 1 of 250 columns, before concentration."""
_QUICK_START_VECTORS = 4
"""Vectors of such a start: one more than there are unknowns, so that few hold a glitch."""
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


def quick_line(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    given: Floats,
    *,
    one_scale: bool = False,
    seed: int = 0,
    sums: type[SampleSums] = SampleSums,
) -> Correction:
    """Return a line of each column that glitches on one side do not move either.

    The best of many small starts in a part of the vectors: rough, a fifth of the time of
    `trimmed_start` for 512 vectors, and less often wrong where a quarter of the samples or more
    are glitches.

    Parameters
    ----------
    counts, expected, given, one_scale, seed, sums
        As for `trimmed_start`.
    """
    few = np.unique(np.linspace(0, len(counts) - 1, _QUICK_VECTORS).round().astype(int))
    counts, expected, given = counts[few], expected[few], given[few]
    plain = fit_columns(ColumnMoments.of(counts, expected, weights=given), one_scale=one_scale)
    drawn = _drawn_lines(
        counts, expected, given,
        starts=_QUICK_STARTS, start_vectors=_QUICK_START_VECTORS, one_scale=one_scale, seed=seed,
    )  # fmt: skip
    lines = np.concatenate([_coefficients(plain.correction)[:, None], drawn], axis=1)
    return _best_concentrated(sums(counts, expected, given), lines, one_scale=one_scale)


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
    drawn = _drawn_lines(
        counts, expected, given,
        starts=_STARTS, start_vectors=_START_VECTORS, one_scale=one_scale, seed=seed,
    )  # fmt: skip
    quick = quick_line(counts, expected, given, one_scale=one_scale, seed=seed, sums=sums)
    lines = np.concatenate(
        [_coefficients(plain)[:, None], drawn, _coefficients(quick)[:, None]], axis=1
    )
    return _best_concentrated(sums(counts, expected, given), lines, one_scale=one_scale)


def _drawn_lines(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    given: Floats,
    *,
    starts: int,
    start_vectors: int,
    one_scale: bool,
    seed: int,
) -> Floats:
    """Return lines through a few vectors, drawn for each start, shape (number, start, column)."""
    rng = np.random.default_rng(seed)
    vectors, _, columns = counts.shape
    size = min(start_vectors, vectors)
    drawn = np.stack([rng.choice(vectors, size=size, replace=False) for _ in range(starts)], axis=1)
    # As if every start had columns of its own: one fit for all.
    few = ColumnMoments.of(
        counts[drawn].swapaxes(1, 2).reshape(size, 2, -1),
        expected[drawn].reshape(size, -1),
        weights=given[drawn].reshape(size, -1),
    )
    return _coefficients(fit_lines(few, one_scale=one_scale)).reshape(3, starts, columns)


def _best_concentrated(sample: SampleSums, lines: Floats, *, one_scale: bool) -> Correction:
    """Concentrate lines (number, line, column), and return the best of each column."""
    for _ in range(_CONCENTRATIONS):
        fitted = fit_lines(sample.halves(lines), one_scale=one_scale)
        lines = _coefficients(fitted).reshape(lines.shape)
    best = sample.halves_squares(lines).argmin(axis=0)
    return _line(np.take_along_axis(lines, best[None, None], axis=1)[:, 0])


def _coefficients(line: Correction) -> Floats:
    return np.stack([line.a_p, line.a_n, line.b])


def _line(coefficients: Floats) -> Correction:
    return Correction(a_p=coefficients[0], a_n=coefficients[1], b=coefficients[2])
