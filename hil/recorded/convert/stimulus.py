"""A designed stimulus for lines that somebody has fitted, and the counts that they draw on it."""

from math import gcd

import numpy as np
import numpy.typing as npt

from hil.recorded.convert.codes import split_difference
from hil.recorded.convert.fitted_lines import FittedLines
from hil.recorded.convert.mapping import Mapping, Rule
from hil.recorded.convert.mapping_check import product_range
from hil.recorded.convert.readouts import StepReadouts

_WEIGHT = 127
"""Weight of every row but the first, whose weight is 1; also the largest input."""
_HALF = 63
"""What the first row reaches either way: half of what one step of another row makes."""


def synthesise(lines: FittedLines, says: Mapping) -> StepReadouts:
    """Return the readouts that a chip with these lines would give, without noise.

    The expected outputs run through the whole range of x in an order that leaves no gap in any part
    of the vectors; every count is ``round(slope * x + intercept)``, half a count to the even one,
    and within the counter. A column of which a fit has failed counts 0 throughout.

    By the rule `pair` each counter has the line of its own sign: P that of ``max(x, 0)``, N that of
    ``max(-x, 0)``.

    Parameters
    ----------
    lines
        The lines.
    says
        The stimulus, the rule and the counter.
    """
    lowest, highest = product_range(says)
    products = _levels(lowest, highest, says.stimulus.vectors)
    weights, inputs = _driven(products, max(-lowest, highest), lines.slope.shape[1])
    return StepReadouts(weights=weights, inputs=inputs, counts=_counts(lines, products, says))


def rows_of(lowest: int, highest: int) -> int:
    """Return how many rows a stimulus with products of this range drives."""
    return _rows(max(-lowest, highest))


def _rows(largest: int) -> int:
    return 1 if largest <= _WEIGHT else 1 - (-(largest + _HALF) // _WEIGHT**2)


def _levels(lowest: int, highest: int, vectors: int) -> npt.NDArray[np.int64]:
    """Return products that visit every part of the range within few vectors."""
    count = highest - lowest + 1
    # Steps of the golden section fill a range evenly; without a common divisor, completely.
    step = max(1, round(count * 0.6180339887498949))
    while gcd(step, count) != 1:
        step += 1
    return lowest + np.arange(vectors, dtype=np.int64) * step % count


def _driven(
    products: npt.NDArray[np.int64], largest: int, columns: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Return weights (row, column) and inputs (vector, row) with exactly these products."""
    if largest <= _WEIGHT:
        return np.ones((1, columns), dtype=np.int8), products[:, None].astype(np.int8)
    coarse = (products + _HALF) // _WEIGHT
    rows = _rows(largest)
    weights = np.full((rows, columns), _WEIGHT, dtype=np.int8)
    weights[0] = 1
    inputs = np.empty((len(products), rows), dtype=np.int8)
    inputs[:, 0] = products - coarse * _WEIGHT
    for row in range(1, rows):
        taken = np.clip(coarse, -_WEIGHT, _WEIGHT)
        inputs[:, row] = taken
        coarse = coarse - taken
    return weights, inputs


def _counts(
    lines: FittedLines, products: npt.NDArray[np.int64], says: Mapping
) -> npt.NDArray[np.uint16]:
    assert says.fits is not None  # noqa: S101 - the form is fits
    rule, top = says.fits.rule, (1 << says.chip.counter_bits) - 1
    x = products * says.stimulus.x_per_product
    driven = np.stack([np.maximum(x, 0), np.maximum(-x, 0)]) if rule is Rule.PAIR else x[None]
    holds = ~lines.has_failed.any(axis=0)
    slope, intercept = (np.where(holds, each, 0.0) for each in (lines.slope, lines.intercept))
    real = driven.T[:, :, None] * slope[None] + intercept[None]
    whole = np.rint(np.clip(real, -top, top)).astype(np.int32)
    if rule is Rule.DIFFERENCE:
        return split_difference(whole[:, 0], 1)
    whole = np.maximum(whole, 0)
    if rule is Rule.SINGLE:
        whole = np.concatenate([whole, np.zeros_like(whole)], axis=1)
    counts: npt.NDArray[np.uint16] = whole.astype(np.uint16)
    return counts
