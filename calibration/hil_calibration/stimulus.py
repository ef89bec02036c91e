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


def spread_amplitudes(
    rng: np.random.Generator, codes: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    """Scale every input vector by an amplitude of its own, uniform from 0 to 1.

    Vectors of one amplitude let a four-phase counter show much the same count for all of them: the
    sum of 256 magnitudes. A line through such counts has an offset far from what was seen. Vectors
    of all amplitudes spread the counts from 0 up, as the activations of networks do.

    Parameters
    ----------
    rng
        Source of randomness; fewer vectors get the first amplitudes of more.
    codes
        Input codes, shape (vector, row).

    Returns
    -------
    Input codes of the same shape, rounded to nearest.

    Examples
    --------
    >>> codes = np.full((3, 2), 100, dtype=np.int8)
    >>> spread_amplitudes(np.random.default_rng(0), codes).tolist()
    [[64, 64], [27, 27], [4, 4]]
    """
    scaled = np.empty_like(codes)
    amplitudes = rng.random(len(codes))
    for first in range(0, len(codes), _DRAWN_AT_ONCE):
        block = slice(first, first + _DRAWN_AT_ONCE)
        scaled[block] = np.rint(codes[block] * amplitudes[block, np.newaxis])
    return scaled


def gaussian_weights(rng: np.random.Generator, *, rows: int, columns: int) -> npt.NDArray[np.int8]:
    """Draw weights of shape (row, column), Gaussian, clipped to -127 ... 127."""
    drawn = np.rint(rng.normal(0.0, _WEIGHT_SIGMA, size=(rows, columns)))
    return np.clip(drawn, -127, 127).astype(np.int8)
