"""Every input of small units: all counts, scales and offsets, in every rounding and overflow.

The oracle computes with real numbers in float64, exact at these widths, and rounds them as such.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.nmpu import apply_nmpu

Reals = npt.NDArray[np.float64]

SMALL: dict[str, Any] = {
    "in_bits": 3, "scale_int": 1, "scale_frac": 2, "off_int": 3, "off_frac": 1, "off_bits": 4,
    "acc_bits": 5, "out_bits": 3,
}  # fmt: skip

ROUND: dict[Rounding, Callable[[Reals], Reals]] = {
    Rounding.HALF_UP: lambda values: np.floor(values + 0.5),
    Rounding.FLOOR: np.floor,
    Rounding.HALF_EVEN: np.rint,
    Rounding.HALF_AWAY: lambda values: np.sign(values) * np.floor(abs(values) + 0.5),
    Rounding.TOWARD_ZERO: np.trunc,
}


@cache
def every_case() -> tuple[npt.NDArray[np.int64], ...]:
    """Return P, N, scale of P, scale of N, offset: axes in this order, flattened."""
    grid = np.meshgrid(
        np.arange(8), np.arange(8), np.arange(8), np.arange(8), np.arange(-8, 8), indexing="ij"
    )
    return tuple(axis.ravel() for axis in grid)


SHAPE = (8, 8, 8, 8, 16)


def model_outputs(fmt: NmpuFormat, *, swap: bool = False) -> npt.NDArray[np.int8]:
    p_counts, n_counts, scale_p, scale_n, offset = every_case()
    registers = NmpuRegisters(
        scale_p=scale_p.astype(np.uint8),
        scale_n=scale_n.astype(np.uint8),
        offset=offset.astype(np.int16),
        swap=np.full(offset.shape, swap),
    )
    outputs = apply_nmpu(
        p_counts.astype(np.uint16)[None], n_counts.astype(np.uint16)[None], registers, fmt
    )
    return outputs.ravel()


def held(values: Reals, bits: int, fmt: NmpuFormat) -> Reals:
    half = 2.0 ** (bits - 1)
    if fmt.saturate:
        return np.asarray(np.clip(values, -half, half - 1))
    return np.asarray(np.mod(values + half, 2 * half) - half)


def real_outputs(fmt: NmpuFormat) -> Reals:
    """Compute the specification's steps on real numbers, in output LSB."""
    p_counts, n_counts, scale_p, scale_n, offset_codes = (
        axis.astype(np.float64) for axis in every_case()
    )
    p_value = p_counts * scale_p / 2**fmt.scale_frac
    n_value = n_counts * scale_n / 2**fmt.scale_frac
    offset = offset_codes / 2**fmt.off_frac
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        p_value, offset = p_value + offset, 0 * offset

    def compressed(value: Reals) -> Reals:
        kept = 2.0 ** (fmt.cut_pre - fmt.scale_frac)
        cut = np.floor(value / kept) * kept
        steps = ROUND[fmt.rounding](cut / 2**fmt.shift * 2**fmt.off_frac)
        return np.asarray(held(steps, fmt.acc_bits, fmt) / 2**fmt.off_frac)

    if fmt.merge is Merge.AFTER_SUBTRACT:
        merged = compressed(p_value - n_value)
    else:
        merged = compressed(p_value) - compressed(n_value)
    output = held(ROUND[fmt.rounding](merged + offset), fmt.out_bits, fmt)
    return np.asarray(np.maximum(output, fmt.lowest_output)) if fmt.symmetric else output


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "shift": {"shift": 1},
    "cut": {"shift": 2, "cut_pre": 2},
    "cut-all": {"shift": 1, "cut_pre": 2},
    "per-branch": {"merge": Merge.PER_BRANCH, "acc_bits": 4},
    "before-shift": {"offset_at": OffsetAt.BEFORE_SHIFT, "shift": 1},
    "before-shift-per-branch-cut": {
        "offset_at": OffsetAt.BEFORE_SHIFT, "merge": Merge.PER_BRANCH, "shift": 1, "cut_pre": 1,
    },
    "whole-offsets": {"off_frac": 0, "off_bits": 4},
    "fine-offsets": {"off_int": 2, "off_frac": 2},
}  # fmt: skip
OVERFLOW: dict[str, dict[str, Any]] = {
    "saturate": {}, "symmetric": {"symmetric": True}, "wrap": {"saturate": False},
}  # fmt: skip


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("overflow", OVERFLOW.values(), ids=OVERFLOW)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_input_gives_the_oracles_output(
    rounding: Rounding, overflow: dict[str, Any], variant: dict[str, Any]
) -> None:
    fmt = NmpuFormat(**(SMALL | variant | overflow | {"rounding": rounding}))
    assert np.array_equal(model_outputs(fmt), real_outputs(fmt))


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_output_never_falls_with_p_nor_rises_with_n(
    rounding: Rounding, variant: dict[str, Any]
) -> None:
    fmt = NmpuFormat(**(SMALL | variant | {"rounding": rounding}))
    outputs = model_outputs(fmt).reshape(SHAPE)
    assert (np.diff(outputs, axis=0) >= 0).all()
    assert (np.diff(outputs, axis=1) <= 0).all()
    assert (np.diff(outputs, axis=4) >= 0).all()  # nor falls with the offset
    swapped = model_outputs(fmt, swap=True).reshape(SHAPE)
    assert np.array_equal(swapped, outputs.transpose(1, 0, 2, 3, 4))


@pytest.mark.parametrize("rounding", [Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.HALF_AWAY])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_rounding_to_nearest_costs_at_most_three_quarters_of_an_lsb(
    rounding: Rounding, shift: int
) -> None:
    fmt = NmpuFormat(
        **(SMALL | {"rounding": rounding, "shift": shift, "out_bits": 7, "acc_bits": 8})
    )
    p_counts, n_counts, scale_p, scale_n, offset = every_case()
    exact = (p_counts * scale_p - n_counts * scale_n) / 2 ** (2 + shift) + offset / 2
    error = model_outputs(fmt) - exact
    assert abs(error).max() <= 0.75
    if shift == 0:
        assert abs(error).max() == 0.75  # the bound is reached
