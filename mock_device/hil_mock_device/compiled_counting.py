"""The transfer curves in one compiled loop. Imports numba: import it inside a function."""

from typing import Any

import numpy as np
from numba import njit

from hil_mock_device.converter import SMALLEST_DENOMINATOR

Array = Any  # inside the compiled loops the element type is numba's affair

_ONE = np.float32(1)
_ZERO = np.float32(0)
_SMALLEST = np.float32(SMALLEST_DENOMINATOR)


@njit(nogil=True, cache=True)
def count_rows(  # noqa: PLR0917 - compiled loops take bare arrays
    net: Array, magnitude: Array, codes: Array, noise: Array, curve: Array, top: Any,
    highest: Any, counts: Array,
) -> None:  # fmt: skip
    """Compute what `Workspace.convert` computes, and clip it, operation by operation.

    `magnitude` is `net` where a sum goes to one counter whole. `codes` is the place of each noise
    value in `noise`, shape (vector, P and N columns).
    """
    c1, c2, c3, bend, offset = curve
    columns = net.shape[1]
    sums = np.empty(columns, np.float32)
    added = np.empty(columns, np.float32)
    for vector in range(net.shape[0]):
        for half in range(2):
            first, stop = half * columns, (half + 1) * columns
            _sum_twice(net[vector], magnitude[vector], _ONE if half == 0 else -_ONE, sums)
            _bend(sums, c1[first:stop], c2[first:stop], c3[first:stop], bend[first:stop], top)
            _look_up(codes[vector][first:stop], noise, added)
            _clip(sums, offset[first:stop], added, highest, counts[vector][first:stop])


# Short loops over few arrays: of longer ones the compiler does not see that they can go eight or
# sixteen columns at a time.


@njit(nogil=True, cache=True)
def _sum_twice(net: Array, magnitude: Array, sign: Any, sums: Array) -> None:
    for at in range(sums.shape[0]):
        # The sum of magnitudes has no sign to lose.
        sums[at] = abs(magnitude[at]) + sign * net[at]


@njit(nogil=True, cache=True)
def _bend(  # noqa: PLR0917
    sums: Array, c1: Array, c2: Array, c3: Array, bend: Array, top: Any
) -> None:
    for at in range(sums.shape[0]):
        twice = sums[at]
        below = twice if twice < top else top
        slope = (below * c3[at] + c2[at]) * below + c1[at]
        bent = twice * bend[at] + _ONE
        bent = bent if bent > _SMALLEST else _SMALLEST
        sums[at] = twice * slope / bent


@njit(nogil=True, cache=True)
def _look_up(codes: Array, noise: Array, added: Array) -> None:
    for at in range(added.shape[0]):
        added[at] = noise[codes[at]]


@njit(nogil=True, cache=True)
def _clip(sums: Array, offset: Array, added: Array, highest: Any, counts: Array) -> None:
    for at in range(sums.shape[0]):
        analog = sums[at] + offset[at] + added[at]
        analog = analog if analog > _ZERO else _ZERO
        analog = analog if analog < highest else highest
        counts[at] = np.uint16(np.int32(analog))
