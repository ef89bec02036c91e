"""Moments of a block in one pass over memory, compiled. Imports numba: import it in a function."""

from typing import Any

import numpy as np
from numba import njit

from hil_calibration.kernels.compiled_reading import total_of
from hil_calibration.kernels.vector_sums import LANES, SUMS, sum_strip

Array = Any  # inside the compiled loops the element type is numba's affair


RUN_VECTORS = 64
"""Vectors summed in float32 before the sums go into float64.

A sum of 64 equal squares errs by at most some 64 * 2**-24 / 4 = 1e-6 of itself. 128 KiB at 256
columns fit a second-level cache.
"""

PAIRS = ((0, 0), (1, 1), (0, 1), (0, 2), (1, 2), (2, 2))
"""Variables of each product, 0 = P, 1 = N, 2 = y, in the order of `sum_strip`."""


@njit(nogil=True, cache=True)
def sum_vectors(
    counts: Array, words: Array, expected: Array, first: int, stop: int, mean: Array,
    products: Array,
) -> int:  # fmt: skip
    """Sum vectors `first` to `stop` into ``mean`` (3, column) and ``products`` (6, column).

    `counts` and `expected` are flat; `words` is `counts` as 32-bit integers, to be read quickly.
    Returns a number that nobody needs, so that reading ahead is not optimised away.
    """
    columns = mean.shape[1]
    pivots = np.zeros(3 * columns, np.float32)
    sums = np.zeros(SUMS * columns, np.float32)
    first_pivots(counts, expected, first, min(first + RUN_VECTORS, stop), pivots)
    seen = 0
    for start in range(first, stop, RUN_VECTORS):
        end = min(start + RUN_VECTORS, stop)
        # Memory is fast in the order of its addresses only: fetch the run, then walk its columns.
        seen += total_of(words[start * columns : end * columns])
        seen += total_of(expected[start * columns : end * columns].view(np.int32))
        for column in range(0, columns - LANES + 1, LANES):
            sum_strip(counts, expected, start, end - start, column, columns, pivots, sums)
        if columns % LANES:  # the last strip overlaps the one before and repeats its sums
            last = columns - LANES
            sum_strip(counts, expected, start, end - start, last, columns, pivots, sums)
        merge_run(sums, pivots, start - first, end - start, mean, products)
    return seen


@njit(nogil=True, cache=True)
def first_pivots(counts: Array, expected: Array, first: int, stop: int, pivots: Array) -> None:
    """Put the pivots near the means; whole numbers for counts, so that deviations are exact.

    The mean of y is taken from its first value, so that a y that never changes is its own mean.
    """
    columns = pivots.size // 3
    totals = np.zeros(2 * columns, np.int64)
    for vector in range(first, stop):
        totals += counts[2 * vector * columns : 2 * (vector + 1) * columns]
    pivots[: 2 * columns] = np.rint(totals / (stop - first))
    start = expected[first * columns : (first + 1) * columns].astype(np.float64)
    beyond = np.zeros(columns)
    for vector in range(first, stop):
        beyond += expected[vector * columns : (vector + 1) * columns] - start
    pivots[2 * columns :] = start + beyond / (stop - first)


@njit(nogil=True, cache=True)
def merge_run(
    sums: Array, pivots: Array, seen: int, added: int, mean: Array, products: Array
) -> None:
    """Merge the float32 sums of one run into the float64 ones, and move the pivots to the means.

    Source: Chan, Golub and LeVeque, STAN-CS-79-773 (1979), as in `ColumnMoments.merge`.
    """
    columns = mean.shape[1]
    weight = seen * added / (seen + added)
    share = added / (seen + added)
    step = np.empty((3, columns))
    for variable in range(3):
        for column in range(columns):
            index = variable * columns + column
            step[variable, column] = pivots[index] + sums[index] / float(added)
            step[variable, column] -= mean[variable, column]
    for pair, (left, right) in enumerate(PAIRS):
        for column in range(columns):
            a, b = sums[left * columns + column], sums[right * columns + column]
            own = sums[(3 + pair) * columns + column] - float(a) * float(b) / added
            products[pair, column] += own + weight * step[left, column] * step[right, column]
    for variable in range(3):
        for column in range(columns):
            mean[variable, column] += share * step[variable, column]
            near = mean[variable, column]
            pivots[variable * columns + column] = near if variable == 2 else np.rint(near)
