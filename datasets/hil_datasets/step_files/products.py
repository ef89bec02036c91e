"""Whether expected outputs are the products of inputs and weights, without multiplying all of them.

``expected == inputs @ weights`` takes one product for each vector, row and column. Instead both
sides are multiplied with two random vectors: ``expected @ r`` and ``inputs @ (weights @ r)`` are
the same if the matrices are, and differ where a row of them does, but for one case in
``2**(2 * bits)`` that nobody can arrange who does not know the numbers.

References
----------
R. Freivalds, Probabilistic machines can use less running time, IFIP Congress 1977, 839-842.
"""

import math

import numpy as np
import numpy.typing as npt

_BLOCK_VECTORS = 256
"""So that a block of float64 stays in the cache: a third faster than 1,024."""
_EXACT_BITS = 53
"""Integers up to this many bits are exact in float64, in whatever order they are added."""
_PRODUCT_BITS = 14
"""Of the largest product of two codes, 128 * 128."""
_WORDS = 2


def products_misfit(
    weights: npt.NDArray[np.int8],
    inputs: npt.NDArray[np.int8],
    expected: npt.NDArray[np.int32],
    *,
    rng: np.random.Generator | None = None,
) -> str:
    """Say where expected outputs are not ``inputs @ weights``; nothing if they are.

    Parameters
    ----------
    weights, inputs, expected
        Shapes (row, column), (vector, row) and (vector, column).
    rng
        Draws the vectors; by default one that nobody can foresee.
    """
    rows, columns = weights.shape
    sum_bits = _PRODUCT_BITS + math.ceil(math.log2(max(2, rows * columns)))
    highest = 1 << max(1, _EXACT_BITS - sum_bits)
    rng = np.random.default_rng() if rng is None else rng
    drawn = rng.integers(1, highest, (columns, _WORDS), endpoint=True).astype(np.float64)
    of_row = weights.astype(np.float64) @ drawn
    for first in range(0, len(inputs), _BLOCK_VECTORS):
        block = slice(first, first + _BLOCK_VECTORS)
        found = expected[block].astype(np.float64) @ drawn
        is_same = found == inputs[block].astype(np.float64) @ of_row
        if not is_same.all():
            return _where(weights, inputs[block], expected[block], first=first)
    return ""


def _where(
    weights: npt.NDArray[np.int8],
    inputs: npt.NDArray[np.int8],
    expected: npt.NDArray[np.int32],
    *,
    first: int,
) -> str:
    due = inputs.astype(np.float64) @ weights.astype(np.float64)
    vector, column = (int(place) for place in np.argwhere(expected != due)[0])
    return (
        f"of vector {first + vector}, column {column} is {expected[vector, column]}: its inputs "
        f"and weights make {due[vector, column]:.0f}"
    )
