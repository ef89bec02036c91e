"""Noise of the counts by code, from vectors that were driven more than once, and weights by it.

The spread of repeats is noise and nothing else: no error of weights or line is in it. Where it
grows with the code, samples at large codes know less, and a fit that weighs each sample by the
inverse of its variance errs less (Gauss and Markov; Aitken 1935 for unequal variances).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray, read_only
from hil.core.correction import Correction

Floats = npt.NDArray[np.float64]

FEWEST_PAIRS = 16
"""Pairs of repeats that a noise is taken from, which has a standard error of 18 % with so few
(1 / sqrt(2 * 16), for Gaussian noise)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeNoise:
    """Variance of a counter around its mean, by the code it stands at."""

    edges: Floats
    """Borders of the bins in counter codes, ascending, shape (bin + 1,)."""
    variance: Floats
    """Variance of one reading, counts squared, shape (bin, polarity, column)."""
    freedom: npt.NDArray[np.int64]
    """Degrees of freedom behind each variance, shape (bin, polarity, column); 0 in an empty bin,
    which has the variance of the whole counter."""

    def __post_init__(self) -> None:
        for name in ("edges", "variance", "freedom"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def rms(self) -> Floats:
        """Noise of each counter over all its readings, counts, shape (polarity, column)."""
        total = np.maximum(self.freedom.sum(axis=0), 1)
        return np.asarray(np.sqrt((self.variance * self.freedom).sum(axis=0) / total))

    def at(self, counts: IntArray) -> Floats:
        """Return the variance at each count, shape (vector, polarity, column), counts squared."""
        bins = np.clip(
            np.searchsorted(self.edges, counts, side="right") - 1, 0, len(self.edges) - 2
        )
        polarity = np.arange(2)[None, :, None]
        column = np.arange(counts.shape[2])[None, None, :]
        return np.asarray(self.variance[bins, polarity, column])


def measure_noise(repeats: IntArray, *, bins: int = 8) -> CodeNoise:
    """Measure the noise by code from repeated readouts.

    Parameters
    ----------
    repeats
        Counter codes, shape (vector, repeat, polarity, column), at least two repeats.
    bins
        Number of bins, of equal width from the lowest to the highest mean code, 1 <= bins.

    Raises
    ------
    ValueError
        If the shape is another, or there are fewer than two repeats or no vectors.
    """
    if repeats.ndim != 4 or repeats.shape[2] != 2:
        raise ValueError(f"repeats must be (vector, repeat, 2, column), got {repeats.shape}")
    vectors, times = repeats.shape[:2]
    if vectors < 1 or times < 2 or bins < 1:
        raise ValueError(
            f"{vectors} vectors read {times} times in {bins} bins: noise shows in at least 1 "
            "vector read twice, in at least 1 bin"
        )
    mean = repeats.mean(axis=1)
    squares = np.square(repeats - mean[:, None]).sum(axis=1)
    edges = np.linspace(mean.min(), max(mean.max(), mean.min() + 1), bins + 1)
    bin_of = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, bins - 1)
    summed = np.stack([np.where(bin_of == k, squares, 0.0).sum(axis=0) for k in range(bins)])
    freedom = np.stack([(bin_of == k).sum(axis=0) * (times - 1) for k in range(bins)])
    pooled = squares.sum(axis=0) / (vectors * (times - 1))
    variance = np.where(freedom > 0, summed / np.maximum(freedom, 1), pooled)
    return CodeNoise(edges=edges, variance=variance, freedom=freedom.astype(np.int64))


def find_repeats(inputs: IntArray, counts: IntArray) -> IntArray | None:
    """Pair up readouts of equal input vectors, for `measure_noise`.

    Parameters
    ----------
    inputs
        Input vectors, shape (vector, row).
    counts
        Their readouts, shape (vector, polarity, column).

    Returns
    -------
    Pairs of readouts, shape (pair, repeat, polarity, column), each readout in one pair at most;
    None with fewer than `FEWEST_PAIRS` pairs.
    """
    _, group = np.unique(inputs, axis=0, return_inverse=True)
    group = group.reshape(-1)  # numpy 2.0 alone gives it a second axis
    order = np.argsort(group, kind="stable")
    ranks = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    is_second = ranks % 2 == 1
    if is_second.sum() < FEWEST_PAIRS:
        return None
    second = np.flatnonzero(is_second)
    return np.stack([counts[order[second - 1]], counts[order[second]]], axis=1)


def noise_weights(
    counts: IntArray, noise: CodeNoise, line: Correction, *, other_rms: FloatArray
) -> Floats:
    """Return the weights of least error for readouts with noise that depends on the code.

    The variance of y at given counts is ``a_p**2 var(P) + a_n**2 var(N)`` of the noise and, for
    all samples alike, the square of whatever else keeps y off the line.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    noise
        Noise by code of the same columns.
    line
        A first fit, unweighted, unit of y.
    other_rms
        What is not noise of the counts: errors of the weights and of the line, shape (column,) or
        one number, unit of y; 0 <= other_rms. It may be 0 where the counts are all there is.

    Returns
    -------
    Weights for `ColumnMoments.of`, shape (vector, column), mean 1 in each column, so the residual
    of the weighted fit is that of a typical sample.
    """
    variance_p, variance_n = noise.at(counts).transpose(1, 0, 2)
    variance = line.a_p**2 * variance_p + line.a_n**2 * variance_n + np.square(other_rms)
    # Repeats that never differ would weigh infinitely much: a count is never known better than
    # its own rounding.
    rounding = (line.a_p**2 + line.a_n**2) / 12
    weights = 1 / np.maximum(variance, np.maximum(rounding, np.finfo(float).tiny))
    return np.asarray(weights / weights.mean(axis=0))


def other_than_noise(residual_rms: FloatArray, noise: CodeNoise, line: Correction) -> Floats:
    """Return what a fit's residual holds beside the noise of the counts, shape (column,).

    Parameters
    ----------
    residual_rms
        Residual of the unweighted fit, unit of y, shape (column,).
    noise, line
        Noise by code, and the fit.
    """
    rms_p, rms_n = noise.rms
    squares = np.square(residual_rms) - np.square(line.a_p * rms_p) - np.square(line.a_n * rms_n)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))
