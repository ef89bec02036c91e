"""The crossbar: what becomes of weights when they are programmed, and of inputs when driven.

Held weights are multiples of ``2**-16`` codes, so that float64 holds every sum of products exactly,
in whatever order it is taken: 12 bits of rows, 7 of inputs, 17 + 16 of weights, one for P + N.
Counts then depend on neither the grouping of vectors into blocks nor the processor's BLAS.
"""

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_mock_device.profile import ArrayProfile

LARGEST_CODE = 127
"""Weight and input codes are sign and magnitude: -127 to 127."""

_CONDUCTANCE = (0.0, 0.25, 0.5, 0.75, 1.0)
_PROGRAMMING_SIGMA = {
    1: (0.015, 0.059, 0.084, 0.094, 0.097),
    2: (0.008, 0.043, 0.048, 0.044, 0.053),
}
"""Programming noise, share of the largest conductance, at `_CONDUCTANCE`, by devices per cell.

Source: the HERMES noise model of aihwkit (docs/reference/mock-profile.md)."""

_FRACTIONS_PER_CODE = 1 << 16

FloatMatrix = npt.NDArray[np.float64]


def program_weights(
    weights: npt.NDArray[np.int8], array: ArrayProfile, *, chip_rng: np.random.Generator,
    programming_rng: np.random.Generator,
) -> FloatMatrix:  # fmt: skip
    """Return the weights that the array holds after programming.

    Parameters
    ----------
    weights
        Wanted weight codes, shape (row, column).
    array
        Noise and stuck cells.
    chip_rng
        Randomness that belongs to the core: which cells are stuck, and where.
    programming_rng
        Randomness of this programming.

    Returns
    -------
    Shape (row, column), in weight codes, multiples of ``2**-16``.
    """
    wanted = weights.astype(np.float64) / LARGEST_CODE
    sigma = np.interp(np.abs(wanted), _CONDUCTANCE, _PROGRAMMING_SIGMA[array.devices_per_cell])
    noise = programming_rng.standard_normal(weights.shape)
    held = wanted + array.programming_noise * sigma * noise

    is_stuck, stuck_at = draw_stuck_cells(weights.shape, array, chip_rng)
    held = np.where(is_stuck, stuck_at, held)
    return np.rint(held * (LARGEST_CODE * _FRACTIONS_PER_CODE)) / _FRACTIONS_PER_CODE


def draw_stuck_cells(
    shape: tuple[int, ...], array: ArrayProfile, rng: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], FloatMatrix]:
    """Return which cells of a core are stuck, and the share of the largest weight they hold."""
    is_stuck = rng.random(shape) < array.stuck_share
    is_high = rng.random(shape) < array.stuck_high_share
    sign = np.where(rng.random(shape) < 0.5, -1.0, 1.0)
    return is_stuck, np.where(is_high, sign, 0.0)


def on_grid(weights: FloatMatrix) -> FloatMatrix:
    """Round weight codes to the multiples of ``2**-16`` that sums are exact over."""
    return np.asarray(np.rint(weights * _FRACTIONS_PER_CODE) / _FRACTIONS_PER_CODE)


def multiply(
    inputs: npt.NDArray[np.int8], weights: FloatMatrix, read_mode: ReadMode
) -> tuple[FloatMatrix, FloatMatrix]:
    """Multiply input vectors with the array.

    Parameters
    ----------
    inputs
        Input codes, shape (vector, row).
    weights
        What the array holds, shape (row, column).
    read_mode
        Four-phase: P sums the positive products and N the negative ones. One-phase: P is the
        positive part of the net sum, N the negative part.

    Returns
    -------
    P and N, each of shape (vector, column), product units, not negative.
    """
    driven = inputs.astype(np.float64)
    net = driven @ weights
    if read_mode is ReadMode.ONE_PHASE:
        return np.maximum(net, 0), np.maximum(-net, 0)
    magnitude = np.abs(driven) @ np.abs(weights)
    return (magnitude + net) / 2, (magnitude - net) / 2
