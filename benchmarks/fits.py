"""Contenders for the moments of (P, N uint16, y float32), and for fits that need none."""

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np

from benchmarks.data import Readouts
from benchmarks.timing import Contender
from hil_calibration.fit import fit_columns
from hil_calibration.kernels import numba_extra
from hil_calibration.moments import ColumnMoments

_NUMPY_CHUNK = 2048
_POLYFIT_COLUMNS = 8
_REGRESSION_COLUMNS = 8


def fit_contenders(readouts: Readouts) -> Iterator[Contender]:
    """Yield the kernel and its rivals; slow ones get fewer columns and are credited with those."""
    counts, expected = readouts.counts, readouts.expected
    vectors, _, columns = counts.shape
    column_bytes = vectors * (2 + 2 + 4)
    if numba_extra.is_installed():
        from hil_calibration.kernels.moments import sum_moments

        for name, threads in (("moments fit, one core", 1), ("moments fit, all cores", None)):
            yield Contender(
                name=name,
                work=columns * column_bytes,
                run=lambda threads=threads: fit_columns(  # type: ignore[misc]
                    sum_moments(counts, expected, threads=threads)
                ),
            )
    some = min(vectors, 16 * _NUMPY_CHUNK)
    yield Contender(
        name="chunked numpy (ColumnMoments.of)",
        work=columns * column_bytes * some / vectors,
        run=lambda: _numpy_fit(readouts, some),
    )
    yield Contender(
        name="np.polyfit per column (P - N only)",
        work=_POLYFIT_COLUMNS * column_bytes,
        run=lambda: _polyfit(readouts),
    )
    if find_spec("sklearn") is not None:
        yield Contender(
            name="scikit-learn LinearRegression per column",
            work=_REGRESSION_COLUMNS * column_bytes,
            run=lambda: _linear_regression(readouts),
        )


def _numpy_fit(readouts: Readouts, vectors: int) -> object:
    moments = ColumnMoments.empty(readouts.counts.shape[2])
    for first in range(0, vectors, _NUMPY_CHUNK):
        piece = slice(first, first + _NUMPY_CHUNK)
        moments = moments.merge(ColumnMoments.of(readouts.counts[piece], readouts.expected[piece]))
    return fit_columns(moments)


def _polyfit(readouts: Readouts) -> object:
    """Fit one gain and offset, all that polyfit can: less than the others do."""
    difference = readouts.p_counts[:, :_POLYFIT_COLUMNS].astype(np.float64)
    difference -= readouts.n_counts[:, :_POLYFIT_COLUMNS]
    expected = readouts.expected[:, :_POLYFIT_COLUMNS]
    return [
        np.polyfit(difference[:, column], expected[:, column], 1)
        for column in range(difference.shape[1])
    ]


def _linear_regression(readouts: Readouts) -> object:
    from sklearn.linear_model import LinearRegression

    counts = readouts.counts[:, :, :_REGRESSION_COLUMNS].astype(np.float64)
    return [
        LinearRegression().fit(counts[:, :, column], readouts.expected[:, column])
        for column in range(counts.shape[2])
    ]
