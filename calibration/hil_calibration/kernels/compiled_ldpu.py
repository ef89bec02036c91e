"""The FP16 unit in float64, compiled. Imports numba: import it inside a function.

A float64 that holds an FP16 number stands for it: few processors compute with 16 bits, and
`hil_calibration.ldpu` shows that a float64 sum rounded once more is the fused one. Signs of zeros
are not kept; no output code depends on one.
"""

from typing import Any

import numpy as np
from numba import njit, types

Array = Any  # inside the compiled loops the element type is numba's affair
i32, f32, f64, i8 = types.int32, types.float32, types.float64, types.int8

OVERFLOW = 65520.0
"""Least magnitude that rounds to infinity: halfway from 65504 to 2**16."""
EXPONENT_64, EXPONENT_32 = np.int64(0x7FF0000000000000), np.int32(0x7F800000)
LEAST_EXPONENT = np.int64((1023 - 14) << 52)
"""That of 2**-14: below, FP16 numbers are subnormal and as far apart as there."""
# FP16 keeps 10 bits behind the leading one, float64 52 and float32 23. So 1.5 * 2**42, or 2**13,
# times the leading one has its last bit where the last bit that stays is: adding it rounds.
TO_MAGIC_64 = np.int64((42 << 52) + (1 << 51))
TO_MAGIC_32 = np.int32((13 << 23) + (1 << 22))


@njit(nogil=True, cache=True)
def round_to_half(value: Any) -> Any:
    """Round a float64 to the nearest FP16 number, ties to even."""
    exponent = max(np.float64(value).view(np.int64) & EXPONENT_64, LEAST_EXPONENT)
    magic = np.int64(exponent + TO_MAGIC_64).view(np.float64)
    rounded = (value + magic) - magic
    return rounded if abs(value) < OVERFLOW else value * np.inf


@njit(nogil=True, cache=True)
def count_to_half(count: Any) -> Any:
    """Round a count to the nearest FP16 number, ties to even."""
    value = f32(count)
    exponent = i32(np.float32(value).view(np.int32) & EXPONENT_32)
    magic = np.int32(i32(exponent + TO_MAGIC_32)).view(np.float32)
    rounded = f32(f32(value + magic) - magic)
    return f64(rounded if value < f32(OVERFLOW) else f32(np.inf))


@njit(nogil=True, cache=True)
def ldpu_rows(
    p_flat: Array, n_flat: Array, p_step: int, n_step: int, coefficients: Array,
    has_bn: Any, lowest: float, addend: Array, lowest_after: float, first: int, out: Array,
) -> None:  # fmt: skip
    """Compute ``out``, shape (vector, column), whose first vector is vector `first`.

    `addend` has the shape of ``out``, or no vectors. A row goes through the unit step by step:
    each step is a loop without branches, and the row stays in the first-level cache.
    """
    columns = out.shape[1]
    values = np.empty(columns)
    scale_p, scale_n, offset = coefficients[0], coefficients[1], coefficients[2]
    for vector in range(out.shape[0]):
        start_p, start_n = (first + vector) * p_step, (first + vector) * n_step
        p_row = p_flat[start_p : start_p + columns]
        n_row = n_flat[start_n : start_n + columns]
        for column in range(columns):
            n_half = count_to_half(n_row[column])
            partial = round_to_half(offset[column] - n_half * scale_n[column])
            product = count_to_half(p_row[column]) * scale_p[column]
            values[column] = round_to_half(product + partial)
        if has_bn:
            normalise(values, coefficients[3], coefficients[4])
        raise_to(values, lowest)
        if addend.shape[0]:
            add_codes(values, addend[vector])
        to_codes(values, lowest_after, out[vector])


@njit(nogil=True, cache=True)
def normalise(values: Array, scale: Array, offset: Array) -> None:
    """Apply the per-channel affine."""
    for column in range(values.size):
        values[column] = round_to_half(values[column] * scale[column] + offset[column])


@njit(nogil=True, cache=True)
def raise_to(values: Array, lowest: float) -> None:
    """Replace what is lower; NaN stays."""
    if lowest == -np.inf:
        return
    for column in range(values.size):
        values[column] = lowest if values[column] < lowest else values[column]


@njit(nogil=True, cache=True)
def add_codes(values: Array, codes: Array) -> None:
    """Add a neighbour core's codes."""
    for column in range(values.size):
        values[column] = round_to_half(values[column] + float(codes[column]))


@njit(nogil=True, cache=True)
def to_codes(values: Array, lowest: float, out: Array) -> None:
    """Round to output codes, none below `lowest`; NaN becomes 0."""
    lowest_code = max(lowest, -128.0)
    for column in range(values.size):
        value = values[column] if values[column] == values[column] else 0.0
        out[column] = i8(np.rint(min(max(value, lowest_code), 127.0)))
