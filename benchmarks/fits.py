"""Contenders for the moments of (P, N uint16, y float32), and for fits that need none."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.data import NOISE_LSB, Readouts, draw_readouts
from benchmarks.timing import Contender
from hil_calibration.fit import fit_columns
from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.robust_sums import CompiledSampleSums
from hil_calibration.moments import ColumnMoments
from hil_calibration.robust_fit import HUBER_TUNING, fit_robust

Counts = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float64]

_NUMPY_CHUNK = 2048
_POLYFIT_COLUMNS = 8
_REGRESSION_COLUMNS = 8
_ROBUST_VECTORS = 512
_COLUMNS_PER_RIVAL = 64


def fit_contenders(readouts: Readouts, *, robust_columns: int) -> Iterator[Contender]:
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
    yield from _robust_contenders(robust_columns)
    if find_spec("sklearn") is not None:
        yield Contender(
            name="scikit-learn LinearRegression per column",
            work=_REGRESSION_COLUMNS * column_bytes,
            run=lambda: _linear_regression(readouts),
        )


def _robust_contenders(columns: int) -> Iterator[Contender]:
    """Yield robust fits of the calibration's usual sample; rivals get fewer columns.

    All see 512 vectors whose P is 1000 too high in one of 20. The project's fit also finds and
    rejects those; scipy and scikit-learn find Huber's minimum from where they start.
    """
    readouts = draw_readouts(_ROBUST_VECTORS, columns, seed=1)
    counts, expected = readouts.counts.copy(), readouts.expected.astype(np.float64)
    counts[:, 0][np.random.default_rng(2).random(expected.shape) < 0.05] += 1000
    column_bytes, some = _ROBUST_VECTORS * (2 + 2 + 4), -(-columns // _COLUMNS_PER_RIVAL)
    if numba_extra.is_installed():
        yield Contender(
            name="robust fit, one core",
            work=columns * column_bytes,
            run=lambda: fit_robust(counts, expected, sums=CompiledSampleSums),
        )
    yield Contender(
        name="robust fit, numpy",
        work=columns * column_bytes,
        run=lambda: fit_robust(counts, expected),
    )
    for package, name, function in (
        ("scipy", "scipy least_squares(loss='huber') per column", huber_with_scipy),
        ("sklearn", "scikit-learn HuberRegressor per column", huber_with_scikit_learn),
    ):
        if find_spec(package) is not None:
            yield Contender(
                name=name,
                work=some * column_bytes,
                run=lambda function=function: function(counts, expected, some),  # type: ignore[misc]
            )


def huber_with_scipy(counts: Counts, expected: Floats, columns: int) -> list[Floats]:
    """Minimise Huber's loss of each column from its least-squares fit, with the scale given.

    Returns
    -------
    Per column the factors of P and of N, and the offset.
    """
    least_squares: Any = import_module("scipy.optimize").least_squares  # untyped

    found = []
    for column in range(columns):
        y = expected[:, column]
        design = np.column_stack([counts[:, :, column].astype(np.float64), np.ones(len(y))])
        start = np.linalg.lstsq(design, y, rcond=None)[0]
        fitted = least_squares(
            lambda solution, design=design, y=y: design @ solution - y,
            start,
            jac=lambda _, design=design: design,
            loss="huber",
            f_scale=HUBER_TUNING * NOISE_LSB,
            x_scale=np.abs(design).max(axis=0),
        )
        found.append(np.asarray(fitted.x, np.float64))
    return found


def huber_with_scikit_learn(counts: Counts, expected: Floats, columns: int) -> list[Floats]:
    """Minimise Huber's loss and the scale of each column together, with no penalty.

    Returns
    -------
    Per column the factors of P and of N, and the offset.
    """
    from sklearn.linear_model import HuberRegressor

    found = []
    for column in range(columns):
        model = HuberRegressor(epsilon=HUBER_TUNING, alpha=0.0, max_iter=1000)
        # In its favour: on counts in thousands its solver takes half the steps.
        model.fit(counts[:, :, column] / 1000, expected[:, column])
        found.append(np.array([*(model.coef_ / 1000), model.intercept_]))
    return found


def _numpy_fit(readouts: Readouts, vectors: int) -> object:
    moments = ColumnMoments.empty(readouts.counts.shape[2])
    for first in range(0, vectors, _NUMPY_CHUNK):
        piece = slice(first, first + _NUMPY_CHUNK)
        moments = moments.merge(ColumnMoments.of(readouts.counts[piece], readouts.expected[piece]))
    return fit_columns(moments)


def _polyfit(readouts: Readouts) -> object:
    """Call polyfit for some columns, as its user would: conversion and strided reads included.

    Every column is cut out of the whole arrays (vector, polarity, column), which the kernel reads
    too. One gain and an offset is all that polyfit can fit: less than the others do.
    """
    counts, expected = readouts.counts, readouts.expected
    return [
        np.polyfit(
            counts[:, 0, column].astype(np.float64) - counts[:, 1, column], expected[:, column], 1
        )
        for column in range(_POLYFIT_COLUMNS)
    ]


def _linear_regression(readouts: Readouts) -> object:
    """Call scikit-learn for some columns of the whole arrays, conversion included."""
    from sklearn.linear_model import LinearRegression

    return [
        LinearRegression().fit(
            readouts.counts[:, :, column].astype(np.float64), readouts.expected[:, column]
        )
        for column in range(_REGRESSION_COLUMNS)
    ]
