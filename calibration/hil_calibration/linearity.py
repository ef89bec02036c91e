"""How straight a column is, and how many bits its errors leave of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray, read_only
from hil.core.correction import Correction

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class InlCurves:
    """Mean residual of a correction against the count, for both counters of every column."""

    edges: Floats
    """Borders of the bins in counter codes, shape (bin + 1, polarity, column)."""
    residual: Floats
    """Mean of corrected minus expected output in each bin, unit of the correction (output LSB),
    shape (bin, polarity, column); 0 in an empty bin."""
    standard_error: Floats
    """Standard error of those means, same shape; infinite with fewer than two samples."""
    gain: Floats
    """Gain of each counter, unit of the correction per count, shape (polarity, column)."""

    def __post_init__(self) -> None:
        for name in ("edges", "residual", "standard_error", "gain"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def residual_counts(self) -> Floats:
        """The curve in counter codes, (bin, polarity, column); 0 where the gain is 0."""
        gain = np.abs(self.gain)
        out = np.zeros_like(self.residual)
        return np.divide(self.residual, gain, out=out, where=gain > 0)

    @property
    def largest(self) -> Floats:
        """Largest magnitude of the curve over both counters, shape (column,), output LSB.

        Bins that stand less than three standard errors from 0 do not count: they are noise.
        """
        is_certain = np.abs(self.residual) > 3 * self.standard_error
        return np.asarray(np.where(is_certain, np.abs(self.residual), 0.0).max(axis=(0, 1)))


def inl_curves(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    correction: Correction,
    *,
    bins: int = 16,
) -> InlCurves:
    """Bin the residual of every column by its counts.

    A straight column leaves noise around 0 at every code; a curved one a bow, a clipped one a hook
    at its end. Bins are of equal width from each counter's lowest to its highest count.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    expected
        Expected outputs, shape (vector, column), output LSB.
    correction
        The correction whose residual it is, output LSB.
    bins
        Number of bins, 1 <= bins.

    Raises
    ------
    ValueError
        If there are no vectors or bins, or the shapes do not match.

    Examples
    --------
    A counter that reads 2 too many at the top, on a line of slope 0.5:

    >>> p = np.array([0, 10, 20, 30, 42])
    >>> counts = np.stack([p, 0 * p], axis=1)[:, :, None]
    >>> line = Correction(a_p=np.array([0.5]), a_n=np.zeros(1), b=np.zeros(1))
    >>> curves = inl_curves(counts, 0.5 * np.array([[0], [10], [20], [30], [40]]), line, bins=4)
    >>> curves.residual[:, 0, 0], curves.residual_counts[-1, 0, 0].item()
    (array([0., 0., 0., 1.]), 2.0)
    """
    if bins < 1 or not len(counts) or expected.shape != (len(counts), counts.shape[2]):
        raise ValueError(
            f"counts of shape {counts.shape}, expected outputs of {expected.shape} in {bins} bins: "
            "must be (vector, 2, column) and (vector, column), at least 1 vector and 1 bin"
        )
    residual = correction.apply(counts) - expected
    lowest, highest = counts.min(axis=0).astype(float), counts.max(axis=0).astype(float)
    edges = lowest + np.linspace(0, 1, bins + 1)[:, None, None] * (highest - lowest)
    width = np.maximum((highest - lowest) / bins, np.finfo(float).tiny)
    bin_of = np.minimum(((counts - lowest) / width).astype(np.int64), bins - 1)
    mean, error = _mean_by_bin(residual, bin_of, bins)
    return InlCurves(
        edges=edges,
        residual=mean,
        standard_error=error,
        gain=np.stack([correction.a_p, correction.a_n]),
    )


def _mean_by_bin(
    residual: Floats, bin_of: npt.NDArray[np.int64], bins: int
) -> tuple[Floats, Floats]:
    """Return mean and standard error of (vector, column) in bins of (vector, polarity, column)."""
    shape = (bins, *bin_of.shape[1:])
    counters = shape[1] * shape[2]
    place = (bin_of * counters + np.arange(counters).reshape(shape[1:])).ravel()

    def total(values: Floats) -> Floats:
        weights = np.broadcast_to(values, bin_of.shape).ravel()
        return np.bincount(place, weights=weights, minlength=bins * counters).reshape(shape)

    samples = np.bincount(place, minlength=bins * counters).reshape(shape)
    mean = total(residual[:, None]) / np.maximum(samples, 1)
    squares = total(np.square(residual[:, None] - np.take_along_axis(mean, bin_of, axis=0)))
    variance = squares / np.maximum(samples - 1, 1) / np.maximum(samples, 1)
    return mean, np.where(samples >= 2, np.sqrt(variance), np.inf)


def effective_bits(full_scale: FloatArray | float, error_rms: FloatArray) -> Floats:
    """Compute the effective number of bits: those of an ideal converter with the same error.

    An ideal converter of N bits has an error of its full scale over ``2**N * sqrt(12)``.

    Parameters
    ----------
    full_scale
        Width of the output range, from the lowest to the highest expected output.
    error_rms
        Root mean square of noise and distortion, same unit.

    Returns
    -------
    Bits, shape of `error_rms`; infinite without any error, 0 where the error is larger than the
    range allows, or there is no range.

    Source
    ------
    IEEE Std 1241-2010, "Terminology and Test Methods for Analog-to-Digital Converters": effective
    number of bits from noise and distortion, ``log2(full scale / (NAD * sqrt(12)))``.

    Examples
    --------
    >>> effective_bits(256.0, np.array([1 / np.sqrt(12), 2 / np.sqrt(12)]))
    array([8., 7.])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.log2(np.divide(full_scale, np.sqrt(12) * np.asarray(error_rms, np.float64)))
    return np.asarray(np.where(np.asarray(full_scale) > 0, np.maximum(bits, 0.0), 0.0))
