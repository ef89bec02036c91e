"""The nearest halves of a sample for many lines at once, in numpy.

A search tries dozens of lines in every column. One at a time, each costs a hundred passes of numpy
over small arrays; together, a few passes over larger ones and a product of matrices, a third of the
time. Samples lie column by column, a few columns at a time, so that what is worked on stays in a
cache.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hil.core.array_types import BoolArray
from hil_calibration.moments import ColumnMoments

Floats = npt.NDArray[np.float64]

_CHUNK_RESIDUALS = 1 << 16
"""Residuals worked on at a time: 512 KiB."""
_NEVER_MOVES = 1e-12
"""Share of a sum of squares about any count of the column, below which what is left about the mean
is the rounding of the sums. One count in 512 vectors of 16 bits leaves more."""


class NearestHalves:
    """A weighted sample.

    Parameters
    ----------
    samples
        P, N and y, shape (variable, vector, column).
    given
        Weights, shape (vector, column); 0 where there is no sample.
    """

    def __init__(self, samples: Floats, given: Floats) -> None:
        self._samples = np.ascontiguousarray(samples.swapaxes(1, 2))
        self._given = np.ascontiguousarray(given.T)
        self._counted = self._given > 0
        # Whole numbers near the middle: the sums of centred counts are exact then.
        self._center = np.rint(self._samples.mean(axis=2))
        p, n, y = self._samples - self._center[:, :, None]
        one = np.ones_like(p)
        self._terms = np.stack([one, p, n, y, p * p, n * n, p * n, p * y, n * y, y * y], axis=2)
        self._terms *= self._given[:, :, None]

    def sums(self, lines: Floats) -> ColumnMoments:
        """Return the sums of the half of the samples nearest to each line, ties included.

        Parameters
        ----------
        lines
            Shape (number, line, column), number = a_p, a_n, b.

        Returns
        -------
        Sums as if of line x column columns, all columns of the first line first.
        """
        _, count, columns = lines.shape
        totals = np.empty((columns, count, 10))
        samples = np.empty((columns, count), dtype=np.int64)
        for part, squares, bound in self._residuals(lines):
            is_near = (squares <= bound) & self._counted[part, None]
            np.matmul(is_near.astype(np.float64), self._terms[part], out=totals[part])
            samples[part] = is_near.sum(axis=2)
        return _moments(
            totals.transpose(2, 1, 0).reshape(10, -1),
            center=np.tile(self._center, count),
            samples=samples.T.reshape(-1),
            vectors=self._given.shape[1],
        )

    def squares(self, lines: Floats) -> Floats:
        """Return the weighted sum of squares of each half about its line, shape (line, column)."""
        found = np.empty(lines.shape[1:])
        for part, squares, bound in self._residuals(lines):
            near = np.where((squares <= bound) & self._counted[part, None], squares, 0.0)
            found[:, part] = np.matmul(near, self._given[part, :, None])[:, :, 0].T
        return found

    def _residuals(self, lines: Floats) -> Iterator[tuple[slice, Floats, Floats]]:
        """Yield columns, squares of residuals (column, line, vector), and medians of these."""
        _, count, columns = lines.shape
        step = max(_CHUNK_RESIDUALS // max(count * self._given.shape[1], 1), 1)
        for first in range(0, columns, step):
            part = slice(first, first + step)
            p, n, y = self._samples[:, part, None]
            a_p, a_n, b = np.ascontiguousarray(lines[:, :, part].swapaxes(1, 2))[..., None]
            squares = a_p * p
            squares -= a_n * n
            squares += b
            np.subtract(y, squares, out=squares)
            np.square(squares, out=squares)
            yield part, squares, _lower_medians(squares, self._counted[part])


def _lower_medians(squares: Floats, counted: BoolArray) -> Floats:
    """Return the lower median of the vectors that count, shape (column, line, 1).

    Infinite where none does.
    """
    if counted.all():
        middle = (squares.shape[2] - 1) // 2
        return np.partition(squares, middle, axis=2)[:, :, middle, None]
    ordered = np.sort(np.where(counted[:, None], squares, np.inf), axis=2)
    places = np.maximum(counted.sum(axis=1) - 1, 0) // 2
    return np.take_along_axis(ordered, places[:, None, None], axis=2)


def _moments(
    totals: Floats, *, center: Floats, samples: npt.NDArray[np.int64], vectors: int
) -> ColumnMoments:
    """Return sums about the mean from sums about a center."""
    weight = totals[0]
    share = np.divide(1.0, weight, out=np.zeros_like(weight), where=weight > 0)
    step = totals[1:4] * share
    about_center = totals[[[4, 6, 7], [6, 5, 8], [7, 8, 9]]]
    products = about_center - totals[1:4, None] * step
    for variable in range(3):
        left, whole = products[variable, variable], about_center[variable, variable]
        left[left <= _NEVER_MOVES * whole] = 0.0
    return ColumnMoments(
        vectors=vectors, mean=center + step, products=products, weight=weight, samples=samples
    )
