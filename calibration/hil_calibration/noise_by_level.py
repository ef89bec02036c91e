"""How much more the readouts scatter where outputs are large.

Noise of cells and converters grows with what they carry, and a bent transfer leaves its largest
residuals at its ends. Where input vectors differ in size, as the activations of networks do, one
standard deviation for all vectors takes the far tail of the large ones for glitches.
"""

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray
from hil_calibration.trimmed_start import MAD_TO_SIGMA

_MOST_LEVELS = 8
"""Groups of vectors, by level; finer ones would hold too few samples of a core with one column."""
_FEWEST_OF_A_LEVEL = 32
"""Vectors of a group: the median of 32 residuals is good to a sixth."""

Floats = npt.NDArray[np.float64]


def noise_by_level(
    residual: Floats,
    scale: Floats,
    expected: FloatArray | IntArray,
    given: npt.NDArray[np.bool_],
) -> Floats:
    """Return by how much the scatter of each vector exceeds that of all vectors, at least 1.

    A vector's level is the rms of its expected outputs. Vectors are grouped by level, and the
    median residual of a group, over all columns, says how much it scatters. So neither glitches of
    a few columns nor vectors that were misread as a whole make room for themselves, unless they are
    half of a group: expected outputs know nothing of counts.

    Parameters
    ----------
    residual
        From the lines of the columns, shape (vector, column), any unit.
    scale
        Standard deviation of each column's residuals by their median, shape (column,), same unit.
    expected
        Expected outputs, shape (vector, column), any unit.
    given
        Which samples count, shape (vector, column).

    Returns
    -------
    Shape (vector,), 1 <= factor.

    Examples
    --------
    Noise of 1 below a level and 3 above it. The scale of all is between the two:

    >>> rng = np.random.default_rng(0)
    >>> level = np.repeat([10.0, 1000.0], 128)
    >>> residual = rng.normal(0, np.repeat([1.0, 3.0], 128)[:, None], (256, 64))
    >>> scale = 1.4826 * np.median(np.abs(residual), axis=0)
    >>> expected = level[:, None] * np.ones(64)
    >>> noise_by_level(residual, scale, expected, expected > 0)[[0, -1]].round(1)
    array([1. , 1.8])
    """
    factors = np.ones(len(residual))
    speaks = (scale > 0) & (np.ptp(expected, axis=0) > 0)
    groups = min(_MOST_LEVELS, len(residual) // _FEWEST_OF_A_LEVEL)
    if groups < 2 or not speaks.any():
        return factors
    level = np.square(expected[:, speaks], dtype=np.float64).mean(axis=1)
    relative = np.abs(residual[:, speaks]) / scale[speaks]
    for vectors in np.array_split(np.argsort(level, kind="stable"), groups):
        seen = relative[vectors][given[vectors][:, speaks]]
        if seen.size:
            factors[vectors] = max(1.0, MAD_TO_SIGMA * float(np.median(seen)))
    return factors
