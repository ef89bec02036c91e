"""Truth within three standard errors, 99 % of the time, over 1,000 columns, for each fit."""

from collections.abc import Callable

import numpy as np
import pytest

from hil_calibration.clipped_fit import fit_unclipped
from hil_calibration.fit import ColumnFits, fit_columns
from hil_calibration.moments import ColumnMoments
from hil_calibration.robust_fit import fit_robust
from synthetic_chip import SyntheticColumns, synthetic_columns


def plain(columns: SyntheticColumns) -> ColumnFits:
    return fit_columns(columns.moments())


def in_blocks(columns: SyntheticColumns) -> ColumnFits:
    moments = ColumnMoments.empty(columns.expected.shape[1])
    for first in range(0, len(columns.counts), 50):
        part = slice(first, first + 50)
        moments = moments.merge(ColumnMoments.of(columns.counts[part], columns.expected[part]))
    return fit_columns(moments)


def evenly_weighted(columns: SyntheticColumns) -> ColumnFits:
    weights = np.full(len(columns.counts), 3.0)
    return fit_columns(ColumnMoments.of(columns.counts, columns.expected, weights=weights))


def without_the_top(columns: SyntheticColumns) -> ColumnFits:
    return fit_unclipped(columns.counts, columns.expected, clip_code=350)[0]


def robust(columns: SyntheticColumns) -> ColumnFits:
    return fit_robust(columns.counts, columns.expected).fits


FITS: list[Callable[[SyntheticColumns], ColumnFits]] = [
    plain,
    in_blocks,
    evenly_weighted,
    without_the_top,
    robust,
]


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.__name__)
def test_truth_lies_within_three_standard_errors(
    fit: Callable[[SyntheticColumns], ColumnFits],
) -> None:
    columns = synthetic_columns(columns=1000, noise=300.0, seed=21)
    fits = fit(columns)
    for name in ("a_p", "a_n", "b"):
        error = getattr(fits, f"{name}_se")
        deviation = (getattr(fits.correction, name) - getattr(columns, name)) / error
        assert np.mean(np.abs(deviation) <= 3) >= 0.99
        # 1 within five of its own standard errors: neither too wide nor too narrow
        assert np.std(deviation) == pytest.approx(1.0, abs=0.11)


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.__name__)
def test_offsets_of_500_counts_cost_no_accuracy(
    fit: Callable[[SyntheticColumns], ColumnFits],
) -> None:
    columns = synthetic_columns(columns=20, noise=100.0, seed=22)
    moved = SyntheticColumns(
        columns.counts + np.uint16(500), columns.expected, columns.a_p, columns.a_n, columns.b
    )
    if fit is without_the_top:
        found = fit_unclipped(moved.counts, moved.expected, clip_code=850)[0]
    else:
        found = fit(moved)
    expected = fit(columns).correction
    np.testing.assert_allclose(found.correction.a_p, expected.a_p, rtol=1e-7)
    shift = 500 * (expected.a_p - expected.a_n)
    np.testing.assert_allclose(found.correction.b, expected.b - shift, rtol=1e-6, atol=1e-2)
