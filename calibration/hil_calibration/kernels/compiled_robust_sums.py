"""Sums over a sample, column by column, compiled. Imports numba: import it inside a function.

Which samples belong to a half is decided by residuals computed as numpy computes them, without
fused instructions; only the sums may be taken in any order.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any  # inside the compiled loops the element type is numba's affair

ANY_ORDER = {"reassoc", "contract", "nsz"}
"""Liberties of the sums: vector registers add in another order than a loop does."""
INFINITE = np.int64(0x7FF0000000000000)
"""Bit pattern of infinity, above those of all numbers."""


@njit(nogil=True, cache=True, error_model="numpy")
def sum_halves(
    samples: Array, given: Array, line: Array, first: int, stop: int, sums: Array
) -> None:
    """Write the sums of the nearest halves of columns `first` to `stop` into `sums`.

    `samples` has the shape (variable, column, vector), variable = P, N, y; `given` (column,
    vector), `line` (number, column) and `sums` (sum, column), as `sum_weighted` has them.
    """
    vectors = given.shape[1]
    squares, weights = np.empty(vectors), np.empty(vectors)
    for column in range(first, stop):
        p, n, y = samples[0, column], samples[1, column], samples[2, column]
        take_squares(p, n, y, line[:, column], squares)
        median = lower_median(squares, given[column])
        for vector in range(vectors):
            weights[vector] = given[column, vector] if squares[vector] <= median else 0.0
        sum_weighted(p, n, y, weights, sums[:, column])


@njit(nogil=True, cache=True, error_model="numpy")
def sum_half_squares(
    samples: Array, given: Array, line: Array, first: int, stop: int, totals: Array
) -> None:
    """Write the sums of squares of the nearest halves into `totals`, (column,)."""
    squares = np.empty(given.shape[1])
    for column in range(first, stop):
        p, n, y = samples[0, column], samples[1, column], samples[2, column]
        take_squares(p, n, y, line[:, column], squares)
        totals[column] = sum_up_to(squares, given[column], lower_median(squares, given[column]))


@njit(nogil=True, cache=True, error_model="numpy")
def sum_bounded(
    samples: Array, given: Array, numbers: Array, first: int, stop: int, sums: Array
) -> None:
    """Write the sums with Huber's weights into `sums`; the last of `numbers` is the bound."""
    weights = np.empty(given.shape[1])
    for column in range(first, stop):
        p, n, y = samples[0, column], samples[1, column], samples[2, column]
        a_p, a_n, b, bound = numbers[:, column]
        for vector in range(weights.size):
            residual = abs(y[vector] - (a_p * p[vector] - a_n * n[vector] + b))
            weights[vector] = given[column, vector] * (bound / max(residual, bound))
        sum_weighted(p, n, y, weights, sums[:, column])


@njit(nogil=True, cache=True, error_model="numpy")
def find_changes(
    samples: Array, given: Array, lines: Array, first: int, stop: int, changes: Array
) -> None:
    """Write the largest difference of two lines, (number, column) each, into `changes`."""
    for column in range(first, stop):
        p, n = samples[0, column], samples[1, column]
        a_p, a_n, b, old_a_p, old_a_n, old_b = lines[:, column]
        largest = 0.0
        for vector in range(given.shape[1]):
            new = a_p * p[vector] - a_n * n[vector] + b
            old = old_a_p * p[vector] - old_a_n * n[vector] + old_b
            largest = max(largest, abs(new - old))
        changes[column] = largest


@njit(nogil=True, cache=True, error_model="numpy")
def take_squares(p: Array, n: Array, y: Array, line: Array, squares: Array) -> None:
    """Square the residuals of one column."""
    a_p, a_n, b = line[0], line[1], line[2]
    for vector in range(squares.size):
        residual = y[vector] - (a_p * p[vector] - a_n * n[vector] + b)
        squares[vector] = residual * residual


@njit(nogil=True, cache=True, error_model="numpy")
def lower_median(squares: Array, given: Array) -> float:
    """Find the lower median of the squares that count, by halving the range of bit patterns.

    Floats that are not negative are in the order of their patterns. A dozen passes of vector
    instructions over one column, a few more the more samples there are, are faster than a sort.
    """
    counted = 0
    ordered = np.empty(squares.size, np.int64)
    patterns = squares.view(np.int64)
    low: Any = INFINITE
    high: Any = np.int64(0)
    for vector in range(squares.size):
        is_counted = given[vector] > 0
        counted += 1 if is_counted else 0
        ordered[vector] = patterns[vector] if is_counted else INFINITE
        low = min(low, ordered[vector])
        high = max(high, patterns[vector] if is_counted else 0)
    if counted == 0:
        return np.inf
    rank = (counted - 1) // 2
    while low < high:
        middle = low + (high - low) // 2
        count = count_up_to(ordered, middle)
        if count == rank + 1:
            low = high = largest_up_to(ordered, middle)
        elif count > rank:
            high = middle
        else:
            low = middle + 1
    return np.int64(low).view(np.float64)


@njit(nogil=True, cache=True, error_model="numpy")
def count_up_to(patterns: Array, highest: int) -> int:
    """Count the patterns that are no higher."""
    total = 0
    for vector in range(patterns.size):
        total += 1 if patterns[vector] <= highest else 0
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def largest_up_to(patterns: Array, highest: int) -> Any:
    """Find the largest pattern that is no higher."""
    largest: Any = np.int64(0)
    for vector in range(patterns.size):
        largest = max(largest, patterns[vector] if patterns[vector] <= highest else 0)
    return largest


@njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def sum_up_to(squares: Array, given: Array, highest: float) -> float:
    """Sum weighted squares that are no higher."""
    total = 0.0
    for vector in range(squares.size):
        total += given[vector] * squares[vector] if squares[vector] <= highest else 0.0
    return total


@njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def sum_weighted(p: Array, n: Array, y: Array, weights: Array, sums: Array) -> None:
    """Write one column's sums: weight, samples, means of P, N, y; PP, NN, PN, Py, Ny, yy.

    Deviations are taken from the first sample that counts, so that a column that never moves
    deviates by exactly 0, and from there from the mean.
    """
    first = 0
    while first < weights.size and weights[first] == 0:
        first += 1
    if first == weights.size:  # none counts: their mean is any of them, as the reference has it
        first = 0
    first_p, first_n, first_y = p[first], n[first], y[first]
    total = step_p = step_n = step_y = 0.0
    samples = 0
    for vector in range(weights.size):
        weight = weights[vector]
        total += weight
        samples += weight > 0
        step_p += weight * (p[vector] - first_p)
        step_n += weight * (n[vector] - first_n)
        step_y += weight * (y[vector] - first_y)
    share = 1 / total if total > 0 else 0.0
    step_p, step_n, step_y = step_p * share, step_n * share, step_y * share
    pp = nn = pn = py = ny = yy = 0.0
    for vector in range(weights.size):
        weight = weights[vector]
        d_p = (p[vector] - first_p) - step_p
        d_n = (n[vector] - first_n) - step_n
        d_y = (y[vector] - first_y) - step_y
        pp += weight * (d_p * d_p)
        nn += weight * (d_n * d_n)
        pn += weight * (d_p * d_n)
        py += weight * (d_p * d_y)
        ny += weight * (d_n * d_y)
        yy += weight * (d_y * d_y)
    sums[0], sums[1] = total, samples
    sums[2], sums[3], sums[4] = first_p + step_p, first_n + step_n, first_y + step_y
    sums[5], sums[6], sums[7] = pp, nn, pn
    sums[8], sums[9], sums[10] = py, ny, yy
