"""Which columns may hold glitches: a quick look that errs on the side of looking closer.

Three signs, any of which is enough:

1. A residual of the plain fit stands out. Of few glitches of any size.
2. A count lies far outside the others of its column. Glitches far out pull the plain fit to
   themselves and hide from its residuals.
3. The plain fit is far worse than a line that half of the samples are near to. From a tenth of the
   samples on, glitches of one side are no longer few: they widen what counts as the middle of the
   counts, and the plain fit's median residual with it, so that the first two signs miss them. A
   bent transfer looks the same, but the samples far off the line are then those of the smallest or
   largest outputs; glitches do not ask what the output is. A bent column is no suspect by this.
"""

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray
from hil.core.correction import Correction
from hil_calibration.robust_fit import REJECTED_SIGMAS, residual_scale
from hil_calibration.trimmed_start import quick_line

SUSPICIOUS_SIGMAS = 4.5
"""Residual of the plain fit, in standard deviations by the median, that asks for a closer look."""
SUSPICIOUS_SPREADS = 2.0
"""Distance of a count from the middle 80 % of its column, in widths of those, that does so too."""
SUSPICIOUS_RATIO = 1.5
"""So does the plain fit's residual rms in standard deviations about the quick line. Of Gaussian
noise it is 1; 5 % of glitches of 6 standard deviations make it 1.6."""
_OUTPUT_GROUPS = 8
"""Groups of equally many samples, by expected output, in which far samples are counted."""
_BENT_SHARE = 0.05
"""Share of the variance of "far above, near, far below" between these groups. Glitches: below 0.04
for 512 vectors; a bent transfer: mostly 0.1 to 0.9."""

Floats = npt.NDArray[np.float64]


def suspicious_columns(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    line: Correction,
    *,
    weights: FloatArray | None = None,
) -> npt.NDArray[np.intp]:
    """Find the columns that may hold glitches: the ones worth a robust fit.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    expected
        Expected outputs, shape (vector, column), unit of the line.
    line
        The plain fit.
    weights
        Samples that are left out already have weight 0, shape (vector, column).

    Returns
    -------
    Column numbers, ascending.
    """
    given = np.ones(expected.shape) if weights is None else np.asarray(weights, np.float64)
    residual = np.abs(expected - line.apply(counts))
    sigma = residual_scale(residual, np.ones(residual.shape, np.bool_), expected, line)
    stands_out = residual.max(axis=0, initial=0.0) > SUSPICIOUS_SIGMAS * sigma
    ordered = np.sort(counts, axis=0).astype(np.float64)
    tenth = len(ordered) // 10
    low, high = ordered[tenth], ordered[-1 - tenth]
    reach = np.maximum(low - ordered[0], ordered[-1] - high)
    is_far = (reach > SUSPICIOUS_SPREADS * (high - low)).any(axis=0)
    found = stands_out | is_far
    rest = np.flatnonzero(~found)
    squares = (given * residual**2).sum(axis=0) / np.maximum(given.sum(axis=0), 1.0)
    found[rest] = _hides_glitches(
        counts[:, :, rest], expected[:, rest], given[:, rest], np.sqrt(squares[rest])
    )
    return np.flatnonzero(found)


def _hides_glitches(
    counts: npt.NDArray[np.uint16],
    expected: FloatArray | IntArray,
    given: Floats,
    plain_rms: Floats,
) -> npt.NDArray[np.bool_]:
    """Tell where the plain fit is far worse than a line near half of the samples, (column,)."""
    found = np.zeros(expected.shape[1], dtype=np.bool_)
    if not found.size:
        return found
    line = quick_line(counts, expected, given)
    residual = expected - line.apply(counts)
    sigma = residual_scale(residual, given > 0, expected, line)
    worse = np.flatnonzero(plain_rms > SUSPICIOUS_RATIO * sigma)
    is_far = (np.abs(residual) > REJECTED_SIGMAS * sigma) & (given > 0)
    far = (np.sign(residual) * is_far)[:, worse]
    found[worse] = ~_is_a_matter_of_output(far, expected[:, worse])
    return found


def _is_a_matter_of_output(far: Floats, expected: FloatArray | IntArray) -> npt.NDArray[np.bool_]:
    """Tell where far samples keep to some outputs, as those of a bent transfer, (column,).

    By the share of the variance between groups of one size of output; chance leaves one less than
    the groups over the vectors.
    """
    size = max(len(far) // _OUTPUT_GROUPS, 1)
    groups = len(far) // size
    order = np.argsort(expected, axis=0, kind="stable")
    grouped = np.take_along_axis(far, order, axis=0)[: groups * size]
    between = grouped.reshape(groups, size, -1).mean(axis=1).var(axis=0)
    limit = _BENT_SHARE + 3 * (groups - 1) / max(len(far), 1)
    return np.asarray(between > limit * far.var(axis=0), dtype=np.bool_)
