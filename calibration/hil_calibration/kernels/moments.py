"""Moments of large blocks; the reference is `hil_calibration.moments.ColumnMoments.of`."""

from functools import reduce

import numpy as np
import numpy.typing as npt

from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.threads import over_chunks
from hil_calibration.moments import ColumnMoments

_CHUNK_VECTORS = 16384
"""Vectors in one piece of work; fixed, so that the sums do not depend on the number of threads."""
_FEWEST_COLUMNS = 16
"""Columns that the compiled loop takes together."""
_EXACT_FLOAT32 = 1 << 24
"""Largest magnitude up to which float32 holds every whole number."""
_INDEPENDENT = 1e-4
"""Least determinant of the correlations of (P, N, y) that sums good to 1e-6 are good enough for.

It is the share of P that N does not explain, times the share of y that both do not. Where either
is nearly nothing, a fit takes it from the last digits of the sums.
"""


def sum_moments(
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.float32] | npt.NDArray[np.int32],
    *,
    threads: int | None = None,
) -> ColumnMoments:
    """Sum one block as `ColumnMoments.of` does, to 1e-6, at the speed of memory.

    Runs of 64 vectors are summed in float32 about the mean so far, and the runs in float64. What
    float32 cannot hold goes to `ColumnMoments.of`: expected outputs in float64 or whole ones
    beyond 2**24, fewer than 16 columns, sums that overflow, and columns whose P, N and y are so
    nearly dependent (`_INDEPENDENT`) that a fit needs every digit.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column), polarity = P, N.
    expected
        Expected outputs, shape (vector, column), any unit.
    threads
        How many run at once; all usable cores if None.

    Raises
    ------
    ImportError
        If numba is not installed.
    ValueError
        If the shapes do not match, or an expected output is not finite.
    """
    numba_extra.require()
    if not _is_for_the_kernel(counts, expected):
        return ColumnMoments.of(counts, expected)
    from hil_calibration.kernels import compiled_moments  # noqa: PLC0415 - numba costs 0.4 s

    vectors, _, columns = counts.shape
    flat_counts = np.ascontiguousarray(counts).reshape(-1)
    flat_expected = np.ascontiguousarray(expected, dtype=np.float32).reshape(-1)
    words = flat_counts.view(np.int32)

    def run(first: int, stop: int) -> ColumnMoments:
        mean, pairs = np.zeros((3, columns)), np.zeros((6, columns))
        compiled_moments.sum_vectors(flat_counts, words, flat_expected, first, stop, mean, pairs)
        order = [[0, 2, 3], [2, 1, 4], [3, 4, 5]]
        return ColumnMoments(vectors=stop - first, mean=mean, products=pairs[order])

    parts = over_chunks(run, vectors, size=_CHUNK_VECTORS, threads=threads)
    moments = reduce(ColumnMoments.merge, parts)
    if not np.isfinite(moments.products).all():
        return ColumnMoments.of(counts, expected)
    return _with_dependent_columns_in_float64(moments, counts, expected)


def _with_dependent_columns_in_float64(
    moments: ColumnMoments,
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.float32] | npt.NDArray[np.int32],
) -> ColumnMoments:
    spread = np.sqrt(np.einsum("aac->ac", moments.products))
    scale = np.where(spread > 0, spread, 1.0)  # what never moves depends on nothing
    correlations = np.moveaxis(moments.products / (scale[:, None] * scale[None]), 2, 0)
    diagonal = np.arange(3)
    correlations[:, diagonal, diagonal] = 1.0
    columns = np.flatnonzero(np.linalg.det(correlations) < _INDEPENDENT)
    if columns.size == 0:
        return moments
    again = ColumnMoments.of(counts[:, :, columns], expected[:, columns])
    mean, products = moments.mean.copy(), moments.products.copy()
    mean[:, columns], products[:, :, columns] = again.mean, again.products
    return ColumnMoments(vectors=moments.vectors, mean=mean, products=products)


def _is_for_the_kernel(
    counts: npt.NDArray[np.uint16], expected: npt.NDArray[np.float32] | npt.NDArray[np.int32]
) -> bool:
    if counts.ndim != 3 or counts.dtype != np.uint16 or counts.shape[1] != 2:
        return False
    vectors, _, columns = counts.shape
    if expected.shape != (vectors, columns) or vectors == 0 or columns < _FEWEST_COLUMNS:
        return False
    if expected.dtype == np.float32:
        return True
    is_whole = np.issubdtype(expected.dtype, np.integer)
    return is_whole and bool(expected.max() <= _EXACT_FLOAT32 and expected.min() >= -_EXACT_FLOAT32)
