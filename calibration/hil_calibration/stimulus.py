"""Weights and input vectors that a campaign makes for itself, from its seed."""

import numpy as np
import numpy.typing as npt

_WEIGHT_SIGMA = 127 / 3
"""Three standard deviations fill the int8 range (A: aihwkit's usual Gaussian test weights)."""


_DRAWN_AT_ONCE = 4096
"""Vectors whose real-valued draws are in memory together."""


def uniform_inputs(
    rng: np.random.Generator, *, vectors: int, rows: int, zeros: float
) -> npt.NDArray[np.int8]:
    """Draw input vectors: uniform int8, with a share of zeros.

    Parameters
    ----------
    rng
        Source of randomness.
    vectors, rows
        Shape of the result, (vector, row).
    zeros
        Share of inputs set to zero, 0 <= zeros < 1.

    Returns
    -------
    Input codes, -127 to 127: sign and magnitude, so -128 does not exist.

    Source
    ------
    Le Gallo et al., arXiv 2212.02872: 2,048 random vectors, uniform, 30 % zeros.
    """
    # One number decides an input, so that fewer vectors are the first of more.
    codes = np.empty((vectors, rows), dtype=np.int8)
    for first in range(0, vectors, _DRAWN_AT_ONCE):
        block = codes[first : first + _DRAWN_AT_ONCE]
        drawn = rng.random(block.shape)
        step = np.floor((drawn - zeros) / (1 - zeros) * 255)
        block[...] = np.where(drawn < zeros, 0, step - 127)
    return codes


def gaussian_weights(rng: np.random.Generator, *, rows: int, columns: int) -> npt.NDArray[np.int8]:
    """Draw weights of shape (row, column), Gaussian, clipped to -127 ... 127."""
    drawn = np.rint(rng.normal(0.0, _WEIGHT_SIGMA, size=(rows, columns)))
    return np.clip(drawn, -127, 127).astype(np.int8)
