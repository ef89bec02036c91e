"""Fitting a column some of whose counts are clipped.

A clipped sample is dropped, not modelled. The fit predicts y *from* the counts, so leaving samples
out because of their counts leaves the line where it is: the mean of y at given counts does not
depend on which counts are looked at. A model of what the clipped counts would have been
(Tobin, "Estimation of relationships for limited dependent variables", Econometrica 26:24, 1958)
gains the little that those samples know and needs the shape of the noise, which nobody has
measured there. Nothing is lost that the NMPU could use: its input clips the same counts.

A count of 0 is a clipped one only where the counter always runs. In a one-phase read the silent
polarity reads 0 and means it, so zeros are dropped on request only.
"""

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray
from hil_calibration.fit import ColumnFits, fit_columns
from hil_calibration.moments import ColumnMoments


def unclipped_weights(
    counts: IntArray, *, clip_code: int, drops_zeros: bool = False
) -> npt.NDArray[np.float64]:
    """Return weights that leave out samples with a clipped count, for `ColumnMoments.of`.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    clip_code
        Lowest code that is a clipped one: ``2**in_bits`` for the NMPU's input, the highest code of
        the counter for its overflow, the smaller of both for a column behind both.
    drops_zeros
        Whether 0 is a clipped code as well: where a converter's offset is negative and both
        polarities are driven in each vector (four-phase read).

    Returns
    -------
    1 where both counts are whole and 0 elsewhere, shape (vector, column).

    Raises
    ------
    ValueError
        If the clip code is below 1: nothing would be left.

    Examples
    --------
    >>> counts = np.array([[[1023], [5]], [[1024], [5]], [[7], [0]]], dtype=np.uint16)
    >>> unclipped_weights(counts, clip_code=1024).ravel()
    array([1., 0., 1.])
    >>> unclipped_weights(counts, clip_code=1024, drops_zeros=True).ravel()
    array([1., 0., 0.])
    """
    if clip_code < 1:
        raise ValueError(f"clip_code = {clip_code}: must be at least 1")
    is_whole = counts < clip_code
    if drops_zeros:
        is_whole &= counts > 0
    return np.asarray(is_whole.all(axis=1), dtype=np.float64)


def fit_unclipped(
    counts: IntArray,
    expected: FloatArray | IntArray,
    *,
    clip_code: int,
    drops_zeros: bool = False,
    one_scale: bool = False,
) -> tuple[ColumnFits, ColumnMoments]:
    """Fit every column to its samples without clipped counts.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    expected
        Expected outputs, shape (vector, column), any unit.
    clip_code, drops_zeros
        Which counts are clipped, as in `unclipped_weights`.
    one_scale
        Whether P and N must share one gain.

    Returns
    -------
    The fit, and the sums of the samples it was made from. A column with fewer than four whole
    samples has gain 0 and explains nothing, so it is flagged dead.

    Raises
    ------
    CalibrationError
        If there are fewer than four vectors.
    """
    weights = unclipped_weights(counts, clip_code=clip_code, drops_zeros=drops_zeros)
    moments = ColumnMoments.of(counts, expected, weights=weights)
    return fit_columns(moments, one_scale=one_scale), moments
