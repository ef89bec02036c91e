"""The neighbour search, compiled, column by column. Imports numba: import it in a function."""

from typing import Any

import numpy as np
from numba import njit, types

from hil_calibration.kernels.compiled_nmpu import cut, hold, merged
from hil_calibration.kernels.datapath import Datapath

Array = Any  # inside the compiled loops the element type is numba's affair
i32 = types.int32


@njit(nogil=True, cache=True)
def search_columns(
    counts: Array, target: Array, fine: float, offset_step: float, swap: Array, codes: Array,
    steps: Array, limits: Any, path: Datapath, first: int, stop: int, found: Array,
) -> None:  # fmt: skip
    """Write the best codes of columns `first` to `stop` into `found`, (register, column)."""
    vectors = counts.shape[0]
    p_input, n_input = np.empty(vectors, np.int32), np.empty(vectors, np.int32)
    outputs, wanted = np.empty(vectors, np.int32), np.empty(vectors, np.float64)
    products = np.empty((2, vectors), np.int32)
    for column in range(first, stop):
        p_branch = 1 if swap[column] else 0
        for vector in range(vectors):
            p_input[vector] = min(counts[vector, p_branch, column], path.top)
            n_input[vector] = min(counts[vector, 1 - p_branch, column], path.top)
            wanted[vector] = target[vector, column]
        search_column(
            p_input, n_input, wanted, fine, offset_step, codes[:, column], steps, limits, path,
            products, outputs, found[:, column],
        )  # fmt: skip


@njit(nogil=True, cache=True)
def search_column(
    p_input: Array, n_input: Array, target: Array, fine: float, offset_step: float,
    codes: Array, steps: Array, limits: Any, path: Datapath, products: Array, outputs: Array,
    found: Array,
) -> None:  # fmt: skip
    """Write the best scale_p, scale_n and offset of one column into `found`."""
    highest_scale, lowest_offset, highest_offset = limits
    best = np.inf
    target_sum = target.sum()  # whole numbers: exact in any order
    for index in range(steps.shape[0]):
        scale_p = neighbour(codes[0], steps[index, 0], highest_scale)
        scale_n = neighbour(codes[1], steps[index, 1], highest_scale)
        multiply(p_input, n_input, i32(scale_p), i32(scale_n), products[0], products[1])
        add_offset(products[0], products[1], i32(codes[2]), path, outputs)
        bias = (total_of(outputs) * fine - target_sum) / (fine * target.size)
        refitted = codes[2] - np.int64(np.rint(bias / offset_step))
        for wanted in (codes[2], refitted, refitted - 1, refitted + 1):
            offset = min(max(wanted, lowest_offset), highest_offset)
            add_offset(products[0], products[1], i32(offset), path, outputs)
            score = score_of(outputs, target, fine)
            if score < best:
                best = score
                found[0], found[1], found[2] = scale_p, scale_n, offset


@njit(nogil=True, cache=True)
def neighbour(scale: int, step: int, highest: int) -> int:
    """Return the code one step on; a branch that is off stays off."""
    return 0 if scale == 0 else min(max(scale + step, 0), highest)


@njit(nogil=True, cache=True)
def multiply(
    p_input: Array, n_input: Array, scale_p: Any, scale_n: Any, p_product: Array, n_product: Array
) -> None:
    """Multiply both branches."""
    for vector in range(p_input.size):
        p_product[vector] = i32(p_input[vector] * scale_p)
        n_product[vector] = i32(n_input[vector] * scale_n)


@njit(nogil=True, cache=True)
def add_offset(
    p_product: Array, n_product: Array, offset: Any, path: Datapath, outputs: Array
) -> None:
    """Compute the outputs for one offset (steps 3 to 7)."""
    early = i32(offset << (path.offset_lift & 31)) if path.is_offset_first else i32(0)
    late = i32(0) if path.is_offset_first else offset
    for vector in range(outputs.size):
        compressed = merged(i32(p_product[vector] + early), n_product[vector], path)
        outputs[vector] = hold(cut(i32(compressed + late), path.last), path.output)


@njit(nogil=True, cache=True)
def total_of(outputs: Array) -> int:
    """Sum output codes."""
    total = 0
    for vector in range(outputs.size):
        total += outputs[vector]
    return total


@njit(nogil=True, cache=True, fastmath=True)
def score_of(outputs: Array, target: Array, fine: float) -> float:
    """Sum ``q * (q * fine - 2 * target)``; every term and sum is a whole number below 2**53."""
    total = 0.0
    for vector in range(outputs.size):
        output = float(outputs[vector])
        total += output * (output * fine - 2.0 * target[vector])
    return total
