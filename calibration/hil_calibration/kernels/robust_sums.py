"""The sums over a sample that the robust fit takes a hundred times, in numpy and compiled.

`SampleSums` is the reference. `CompiledSampleSums` finds the same nearest half, sample for sample,
as long as both are given the same line, and sums it in another order: the two fits of one sample
agree to the last few digits, not bit for bit. So which of them is used is the caller's choice and
never depends on what ran before.
"""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.array_types import BoolArray, FloatArray, IntArray
from hil.core.correction import Correction
from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.nearest_halves import NearestHalves
from hil_calibration.kernels.threads import over_chunks
from hil_calibration.moments import ColumnMoments, check_block

Floats = npt.NDArray[np.float64]

_CHUNK_COLUMNS = 64
"""Columns in one piece of work: 0.1 ms for 512 vectors."""


class SampleSums:
    """A weighted sample, summed with numpy.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    expected
        Expected outputs, shape (vector, column), any unit.
    given
        Weights, shape (vector, column); 0 where there is no sample.
    """

    def __init__(
        self, counts: npt.NDArray[np.uint16], expected: FloatArray | IntArray, given: Floats
    ) -> None:
        check_block(counts, expected)
        self._given, self._counted = given, given > 0
        self._samples = np.stack([counts[:, 0], counts[:, 1], expected]).astype(np.float64)

    @cached_property
    def _halves(self) -> NearestHalves:
        return NearestHalves(self._samples, self._given)

    def halves(self, lines: Floats) -> ColumnMoments:
        """Return what `half` does for each of several lines.

        Parameters
        ----------
        lines
            Shape (number, line, column), number = a_p, a_n, b.

        Returns
        -------
        Sums as if of line x column columns, all columns of the first line first.
        """
        return self._halves.sums(lines)

    def halves_squares(self, lines: Floats) -> Floats:
        """Return what `half_squares` does for each of several lines, shape (line, column)."""
        return self._halves.squares(lines)

    def half(self, line: Correction) -> ColumnMoments:
        """Return the sums of the half of the samples nearest to a line, ties included."""
        near, _ = self._near(line)
        return ColumnMoments.of_samples(self._samples, near)

    def half_squares(self, line: Correction) -> Floats:
        """Return the weighted sum of squares of that half about the line, shape (column,)."""
        near, squares = self._near(line)
        return np.asarray((near * squares).sum(axis=0), dtype=np.float64)

    def huber(self, line: Correction, bound: Floats) -> ColumnMoments:
        """Return the sums with weights that are less where a residual is beyond a bound.

        Parameters
        ----------
        line
            What the residuals are taken from.
        bound
            Residual up to which a sample keeps its weight, shape (column,), unit of ``y``.
        """
        residual = np.abs(self._samples[2] - self._outputs(line))
        weights = self._given * (bound / np.maximum(residual, bound))
        return ColumnMoments.of_samples(self._samples, weights)

    def largest_change(self, line: Correction, previous: Correction) -> Floats:
        """Return the largest difference of two lines among the samples, shape (column,)."""
        change = np.abs(self._outputs(line) - self._outputs(previous))
        return np.asarray(change.max(axis=0, initial=0.0), dtype=np.float64)

    def _near(self, line: Correction) -> tuple[Floats, Floats]:
        squares = np.square(self._samples[2] - self._outputs(line))
        return self._given * (squares <= lower_median(squares, self._counted)), squares

    def _outputs(self, line: Correction) -> Floats:
        """Return ``line.apply`` of the counts, shape (vector, column)."""
        p_counts, n_counts, _ = self._samples
        return np.asarray(line.a_p * p_counts - line.a_n * n_counts + line.b, dtype=np.float64)


def lower_median(values: Floats, counted: BoolArray) -> Floats:
    """Return the lower median over the vectors that count; infinite where none does.

    Parameters
    ----------
    values, counted
        Shape (vector, column).
    """
    if len(values) and counted.all():
        middle = (len(values) - 1) // 2
        return np.asarray(np.partition(values, middle, axis=0)[middle], dtype=np.float64)
    ordered = np.sort(np.where(counted, values, np.inf), axis=0)
    middle = np.maximum(counted.sum(axis=0) - 1, 0) // 2
    return np.asarray(np.take_along_axis(ordered, middle[None], axis=0)[0], dtype=np.float64)


class CompiledSampleSums(SampleSums):
    """The same sums, compiled.

    Raises
    ------
    ImportError
        If numba is not installed.
    """

    def __init__(
        self, counts: npt.NDArray[np.uint16], expected: FloatArray | IntArray, given: Floats
    ) -> None:
        numba_extra.require()
        super().__init__(counts, expected, given)
        # Column by column: what one column needs stays in the first-level cache.
        columns = [counts[:, 0].T, counts[:, 1].T, expected.T]
        self._by_column = np.stack(columns).astype(np.float64, order="C")
        self._weights = np.ascontiguousarray(given.T)

    def halves(self, lines: Floats) -> ColumnMoments:
        """Return what `half` does for each of several lines."""
        from hil_calibration.kernels import compiled_robust_sums  # noqa: PLC0415 - costs 0.4 s

        _, count, columns = lines.shape
        sums = np.empty((11, count * columns))
        for place, numbers in enumerate(lines.swapaxes(0, 1)):
            of_line = sums[:, place * columns : (place + 1) * columns]
            self._over_columns(compiled_robust_sums.sum_halves, numbers, of_line)
        return self._moments_of(sums)

    def halves_squares(self, lines: Floats) -> Floats:
        """Return what `half_squares` does for each of several lines, shape (line, column)."""
        from hil_calibration.kernels import compiled_robust_sums  # noqa: PLC0415 - costs 0.4 s

        squares = np.empty(lines.shape[1:])
        for place, numbers in enumerate(lines.swapaxes(0, 1)):
            self._over_columns(compiled_robust_sums.sum_half_squares, numbers, squares[place])
        return squares

    def half(self, line: Correction) -> ColumnMoments:
        """Return the sums of the half of the samples nearest to a line, ties included."""
        from hil_calibration.kernels import compiled_robust_sums  # noqa: PLC0415 - costs 0.4 s

        return self._moments(compiled_robust_sums.sum_halves, _numbers(line))

    def half_squares(self, line: Correction) -> Floats:
        """Return the weighted sum of squares of that half about the line, shape (column,)."""
        from hil_calibration.kernels import compiled_robust_sums  # noqa: PLC0415 - costs 0.4 s

        squares = np.empty(len(self._weights))
        self._over_columns(compiled_robust_sums.sum_half_squares, _numbers(line), squares)
        return squares

    def huber(self, line: Correction, bound: Floats) -> ColumnMoments:
        """Return the sums with weights that are less where a residual is beyond a bound."""
        from hil_calibration.kernels import compiled_robust_sums  # noqa: PLC0415 - costs 0.4 s

        numbers = np.vstack([_numbers(line), bound])
        return self._moments(compiled_robust_sums.sum_bounded, numbers)

    def largest_change(self, line: Correction, previous: Correction) -> Floats:
        """Return the largest difference of two lines among the samples, shape (column,)."""
        from hil_calibration.kernels import compiled_robust_sums  # noqa: PLC0415 - costs 0.4 s

        change = np.empty(len(self._weights))
        numbers = np.vstack([_numbers(line), _numbers(previous)])
        self._over_columns(compiled_robust_sums.find_changes, numbers, change)
        return change

    def _moments(self, loop: Any, numbers: Floats) -> ColumnMoments:
        sums = np.empty((11, len(self._weights)))
        self._over_columns(loop, numbers, sums)
        return self._moments_of(sums)

    def _moments_of(self, sums: Floats) -> ColumnMoments:
        order = [[5, 7, 8], [7, 6, 9], [8, 9, 10]]
        return ColumnMoments(
            vectors=self._weights.shape[1],
            mean=sums[2:5],
            products=sums[order],
            weight=sums[0],
            samples=sums[1].astype(np.int64),
        )

    def _over_columns(self, loop: Any, numbers: Floats, results: Floats) -> None:
        def run(first: int, stop: int) -> None:
            loop(self._by_column, self._weights, numbers, first, stop, results)

        # A pass over a core takes less than starting a second thread.
        over_chunks(run, len(self._weights), size=_CHUNK_COLUMNS, threads=1)


def _numbers(line: Correction) -> Floats:
    return np.stack([line.a_p, line.a_n, line.b]).astype(np.float64)
