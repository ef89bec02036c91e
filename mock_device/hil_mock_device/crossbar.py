"""The crossbar: what becomes of weights when they are programmed, and of inputs when driven.

Counts must depend on neither the grouping of vectors into blocks nor the processor's BLAS, which
take sums of products in different orders. So these are exact in float32: the rows of a core are
taken in groups of `_GROUP_ROWS`, and in each group the weights of a column are rounded to a power
of two that keeps every partial sum below 2**24 steps. Adding the groups rounds, but in one order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
_GROUP_ROWS = 256
_EXACT_BITS = 24
"""Integers up to 2**24 are exact in float32."""
_INPUT_STEPS = 4
"""Steps of an input code, where negative inputs drive less than positive ones."""

FloatMatrix = npt.NDArray[np.float64]
Sums = npt.NDArray[np.float32]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """Some rows of a core, ready for exact products."""

    rows: slice
    """Which rows."""
    weights: Sums
    """Weight codes, shape (row, column), multiples of a power of two for each column."""
    magnitudes: Sums
    """Their magnitudes."""

    def part(self, rows: int, columns: int) -> "RowGroup":
        """Return those of the first rows of the core, and its first columns."""
        stop = min(self.rows.stop, rows)
        place = (slice(stop - self.rows.start), slice(columns))
        return RowGroup(
            rows=slice(self.rows.start, stop),
            weights=np.ascontiguousarray(self.weights[place]),
            magnitudes=np.ascontiguousarray(self.magnitudes[place]),
        )


def exact_groups(weights: FloatMatrix, *, input_steps: int) -> tuple[RowGroup, ...]:
    """Round weights so that float32 holds every sum of their products exactly.

    Parameters
    ----------
    weights
        Weight codes, shape (row, column).
    input_steps
        Steps of an input code: inputs are multiples of ``1 / input_steps`` up to `LARGEST_CODE`.
    """
    groups = []
    for first in range(0, len(weights), _GROUP_ROWS):
        rows = slice(first, min(first + _GROUP_ROWS, len(weights)))
        rounded = _rounded(weights[rows], input_steps).astype(np.float32)
        groups.append(RowGroup(rows=rows, weights=rounded, magnitudes=np.abs(rounded)))
    return tuple(groups)


def _rounded(weights: FloatMatrix, input_steps: int) -> FloatMatrix:
    """Round each column to the finest power of two at which the largest sum has 24 bits."""
    most_steps = 2.0**_EXACT_BITS / (LARGEST_CODE * input_steps)
    total = np.abs(weights).sum(axis=0)
    step = np.exp2(np.ceil(np.log2(np.maximum(total, 2.0**-100) / most_steps)))
    step = np.maximum(step, 1 / _FRACTIONS_PER_CODE)
    rounded = np.rint(weights / step) * step
    # Rounding may have raised the sum above the border that it was just below.
    is_over = np.abs(rounded).sum(axis=0) > most_steps * step
    step = np.where(is_over, 2 * step, step)
    return np.asarray(np.rint(weights / step) * step)


def drive(inputs: npt.NDArray[np.int8], *, asymmetry: float) -> Sums:
    """Return what the rows are driven with.

    Parameters
    ----------
    inputs
        Input codes, shape (vector, row).
    asymmetry
        Share of its current that a cell lacks at a negative input.

    Returns
    -------
    Shape (vector, row), input codes, multiples of the inverse of `input_steps`.
    """
    driven = inputs.astype(np.float32)
    if asymmetry:
        size = np.abs(driven)
        negative = driven - size  # twice the input where it is negative, else 0
        negative *= np.float32((1 - asymmetry) * _INPUT_STEPS / 2)
        np.rint(negative, out=negative)
        negative *= np.float32(1 / _INPUT_STEPS)
        driven += size
        driven *= np.float32(0.5)
        driven += negative
    return driven


def input_steps(asymmetry: float) -> int:
    """Return how many steps `drive` divides an input code into."""
    return 1 if asymmetry == 0 else _INPUT_STEPS


def net_sums(driven: Sums, groups: Sequence[RowGroup], *, out: Sums) -> None:
    """Write the sums of products to `out`, shape (vector, column), product units."""
    _sum_groups(driven, [(group.rows, group.weights) for group in groups], out)


def magnitude_sums(driven: Sums, groups: Sequence[RowGroup], *, out: Sums) -> None:
    """Write the sums of the magnitudes of products to `out`, shape (vector, column).

    `driven` is overwritten with its magnitudes: fresh memory costs more than they do.
    """
    np.abs(driven, out=driven)
    _sum_groups(driven, [(group.rows, group.magnitudes) for group in groups], out)


def _sum_groups(driven: Sums, parts: list[tuple[slice, Sums]], out: Sums) -> None:
    rows, weights = parts[0]
    np.matmul(driven[:, rows], weights, out=out)
    for rows, weights in parts[1:]:
        out += driven[:, rows] @ weights
