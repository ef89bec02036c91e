"""Columns whose true correction is known, for tests of fitting and quantising."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil_calibration.moments import ColumnMoments


@dataclass(frozen=True)
class SyntheticColumns:
    """Readouts of made-up columns, and the truth behind them."""

    counts: npt.NDArray[np.uint16]
    """Shape (vector, polarity, column)."""
    expected: npt.NDArray[np.int32]
    """Shape (vector, column), product units."""
    a_p: npt.NDArray[np.float64]
    a_n: npt.NDArray[np.float64]
    b: npt.NDArray[np.float64]

    def moments(self) -> ColumnMoments:
        return ColumnMoments.of(self.counts, self.expected)


def synthetic_columns(
    *,
    seed: int = 1,
    vectors: int = 256,
    columns: int = 8,
    noise: float = 50.0,
    gain: float = 40.0,
    offset_sigma: float = 400.0,
    highest_count: int = 400,
) -> SyntheticColumns:
    """Draw columns with ``y = a_p * P - a_n * N + b + noise``; y rounds to integers.

    Rounding adds a standard deviation of 0.29, little against the noise.
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, highest_count + 1, size=(vectors, 2, columns), dtype=np.uint16)
    a_p = gain * (1 + 0.07 * rng.standard_normal(columns))
    a_n = gain * (1 + 0.07 * rng.standard_normal(columns))
    b = offset_sigma * rng.standard_normal(columns)
    exact = a_p * counts[:, 0] - a_n * counts[:, 1] + b
    drawn = exact + noise * rng.standard_normal(exact.shape)
    return SyntheticColumns(
        counts=counts, expected=np.rint(drawn).astype(np.int32), a_p=a_p, a_n=a_n, b=b
    )
