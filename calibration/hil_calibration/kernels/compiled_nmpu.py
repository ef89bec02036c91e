"""The NMPU's datapath in 32-bit integers, compiled. Imports numba: import it inside a function.

Every operation is cast back to 32 bits, because numba widens integer results to 64, which halves
the lanes of a vector register.
"""

from typing import Any

from numba import njit, types

from hil_calibration.kernels.compiled_reading import total_of
from hil_calibration.kernels.datapath import Cut, Datapath, Hold

Array = Any  # inside the compiled loops the element type is numba's affair
i32, i8 = types.int32, types.int8

AHEAD_VECTORS = 8
"""Vectors of an interleaved block that are fetched before they are computed.

Memory is fast in the order of its addresses only, and rows of P and N in turns are not. 8 KiB at
256 columns leave room in a first-level cache of 32. Of 4 to 128 vectors, 8 had the shortest time.
"""


@njit(nogil=True, cache=True)
def cut(code: Any, by: Cut) -> Any:
    """Round the low bits of a code away."""
    odd = i32(i32(code >> (by.bits & 31)) & by.odd_mask)
    negative = i32(i32(code >> 31) & by.negative_mask)
    return i32(i32(i32(code + by.add) + i32(odd + negative)) >> (by.bits & 31))


@njit(nogil=True, cache=True)
def hold(code: Any, register: Hold) -> Any:
    """Fit a code into its register."""
    wrapped = i32(i32(i32(code + register.half) & register.mask) - register.half)
    return min(max(wrapped, register.lowest), register.highest)


@njit(nogil=True, cache=True)
def merged(p_product: Any, n_product: Any, path: Datapath) -> Any:
    """Compress the two products and subtract (steps 3 and 4)."""
    dropped = path.cut_pre & 31
    if path.per_branch:
        p_part = hold(cut(i32(p_product >> dropped), path.compress), path.accumulator)
        n_part = hold(cut(i32(n_product >> dropped), path.compress), path.accumulator)
        return i32(p_part - n_part)
    difference = i32(p_product - n_product)
    return hold(cut(i32(difference >> dropped), path.compress), path.accumulator)


@njit(nogil=True, cache=True)
def general_rows(
    p_flat: Array, n_flat: Array, p_step: int, n_step: int, words: Array, registers: Array,
    swap: Array, path: Datapath, first: int, out: Array,
) -> int:  # fmt: skip
    """Compute ``out``, shape (vector, column), whose first vector is vector `first`.

    `words` is the memory of both where they are interleaved, else empty. Returns a number that
    nobody needs, so that reading ahead is not optimised away.
    """
    seen = 0
    columns = out.shape[1]
    scale_p, scale_n, early, late = registers[0], registers[1], registers[2], registers[3]
    for vector in range(out.shape[0]):
        if words.size and vector % AHEAD_VECTORS == 0:
            seen += total_of(
                words[(first + vector) * columns : (first + vector + AHEAD_VECTORS) * columns]
            )
        start_p, start_n = (first + vector) * p_step, (first + vector) * n_step
        p_row = p_flat[start_p : start_p + columns]
        n_row = n_flat[start_n : start_n + columns]
        out_row = out[vector]
        for column in range(columns):
            p_count = i32(min(p_row[column], path.top))
            n_count = i32(min(n_row[column], path.top))
            p_input = n_count if swap[column] else p_count
            n_input = p_count if swap[column] else n_count
            p_product = i32(i32(p_input * scale_p[column]) + early[column])
            n_product = i32(n_input * scale_n[column])
            total = i32(merged(p_product, n_product, path) + late[column])
            out_row[column] = i8(hold(cut(total, path.last), path.output))
    return seen


@njit(nogil=True, cache=True)
def affine_rows(
    p_flat: Array, n_flat: Array, p_step: int, n_step: int, words: Array, coefficients: Array,
    path: Datapath, first: int, out: Array,
) -> int:  # fmt: skip
    """Compute ``out`` where the datapath is affine; swaps and roundings are in the coefficients.

    `words` and what is returned are those of `general_rows`.
    """
    seen = 0
    columns = out.shape[1]
    times_p, times_n = coefficients[0], coefficients[1]
    early, late = coefficients[2], coefficients[3]
    top = path.top
    bits, last_bits = (path.cut_pre + path.compress.bits) & 31, path.last.bits & 31
    acc_lowest, acc_highest = path.accumulator.lowest, path.accumulator.highest
    lowest, highest = path.output.lowest, path.output.highest
    for vector in range(out.shape[0]):
        if words.size and vector % AHEAD_VECTORS == 0:
            seen += total_of(
                words[(first + vector) * columns : (first + vector + AHEAD_VECTORS) * columns]
            )
        start_p, start_n = (first + vector) * p_step, (first + vector) * n_step
        p_row = p_flat[start_p : start_p + columns]
        n_row = n_flat[start_n : start_n + columns]
        out_row = out[vector]
        for column in range(columns):
            p_product = i32(i32(min(p_row[column], top)) * times_p[column])
            n_product = i32(i32(min(n_row[column], top)) * times_n[column])
            total = i32(i32(p_product + n_product) + early[column])
            held = min(max(i32(total >> bits), acc_lowest), acc_highest)
            rounded = i32(i32(held + late[column]) >> last_bits)
            out_row[column] = i8(min(max(rounded, lowest), highest))
    return seen
