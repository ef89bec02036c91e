"""Counts for comparing the integer model with real arithmetic: any, small, and all four corners."""

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat


def extreme_counts(fmt: NmpuFormat, columns: int) -> npt.NDArray[np.uint16]:
    """Return 404 vectors that the inputs hold, shape (vector, polarity, column)."""
    rng = np.random.default_rng(7)
    top = (1 << fmt.in_bits) - 1
    counts = rng.integers(0, top + 1, (200, 2, columns))
    corners = np.array([[0, 0], [0, top], [top, 0], [top, top]])[:, :, None]
    return np.concatenate([counts, counts // 16, np.repeat(corners, columns, axis=2)]).astype(
        np.uint16
    )
