"""The FP16 baseline: the local digital processing unit that the NMPU replaces.

Source: Le Gallo et al., arXiv 2212.02872 (HERMES Project Chip): counts to FP16, two FP16 fused
multiply-adds, a per-channel affine, ReLU, the sum with a neighbour core's INT8, ReLU, INT8.

One fused multiply-add rounds once. It is computed in float64 and rounded once more to FP16, which
gives the same result. The product of two FP16 numbers has at most 22 bits and is exact in float64;
its sum with an FP16 addend is not exact only if the two span more than 53 bits. Then either

- the product is the larger. The addend's last bit weighs 2**-24 or more, so the product is
  above 2**28: the sum overflows FP16 before and after the float64 rounding; or
- the addend is the larger, by more than 30 bits. It is an FP16 number itself, so the sum is far
  from every midpoint between two of them and rounds to the addend, before and after.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from hil.core.correction import Correction

HalfArray = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True)
class LdpuCoefficients:
    """The FP16 numbers of one core, each of shape (column,)."""

    scale_p: HalfArray
    """Output LSB per count of P."""
    scale_n: HalfArray
    """Output LSB per count of N."""
    offset: HalfArray
    """Output LSB."""
    bn_scale: HalfArray
    """Gain of the per-channel affine; 1 where there is no batch normalisation."""
    bn_offset: HalfArray
    """Offset of the per-channel affine, output LSB; 0 where there is none."""

    @classmethod
    def from_correction(cls, correction: Correction) -> "LdpuCoefficients":
        """Round a real-valued correction to FP16; no batch normalisation."""
        half = np.float16
        with np.errstate(over="ignore"):  # beyond 65504 is infinite in FP16
            return cls(
                scale_p=correction.a_p.astype(half),
                scale_n=correction.a_n.astype(half),
                offset=correction.b.astype(half),
                bn_scale=np.ones(correction.b.shape, dtype=half),
                bn_offset=np.zeros(correction.b.shape, dtype=half),
            )


def fused_multiply_add(a: HalfArray, b: HalfArray, c: HalfArray) -> HalfArray:
    """Compute ``a * b + c`` in FP16, rounded once (to nearest, ties to even).

    Examples
    --------
    Rounded twice this would be 0: the product 1 - 2**-20 is 1 in FP16.

    >>> one_up, one_down = np.float16(1 + 2**-10), np.float16(1 - 2**-10)
    >>> float(fused_multiply_add(one_up, one_down, np.float16(-1))) == -(2.0**-20)
    True
    """
    with np.errstate(over="ignore", invalid="ignore"):  # infinities and NaN are FP16 results
        exact = a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)
        return np.asarray(exact.astype(np.float16))


def apply_ldpu(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    coefficients: LdpuCoefficients,
    *,
    relu: bool = False,
    addend: npt.NDArray[np.int8] | None = None,
    relu_after_add: bool = False,
) -> npt.NDArray[np.int8]:
    """Compute the FP16 unit's output codes.

    Parameters
    ----------
    p_counts, n_counts
        Counter codes, shape (vector, column). FP16 holds every code up to 2048, every second one
        up to 4096, and so on: the conversion rounds.
    coefficients
        FP16 numbers, one of each per column.
    relu
        Whether negative values become 0 before the sum with `addend`.
    addend
        Codes from a neighbour core, shape (vector, column).
    relu_after_add
        Whether negative values become 0 after it.

    Returns
    -------
    Output codes, shape (vector, column), -128 to 127; NaN becomes 0.

    Raises
    ------
    ValueError
        If shapes or dtypes do not match.
    """
    check_inputs(p_counts, n_counts, coefficients, addend)
    half = np.float16
    with np.errstate(over="ignore"):
        p_half, n_half = p_counts.astype(half), n_counts.astype(half)
    partial = fused_multiply_add(-n_half, coefficients.scale_n, coefficients.offset)
    merged = fused_multiply_add(p_half, coefficients.scale_p, partial)
    value = fused_multiply_add(merged, coefficients.bn_scale, coefficients.bn_offset)
    if relu:
        value = np.maximum(value, half(0))
    if addend is not None:
        with np.errstate(over="ignore"):
            value = value + addend.astype(half)
    if relu_after_add:
        value = np.maximum(value, half(0))
    rounded = np.rint(np.nan_to_num(value.astype(np.float32), posinf=127, neginf=-128))
    return np.clip(rounded, -128, 127).astype(np.int8)


def check_inputs(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    coefficients: LdpuCoefficients,
    addend: npt.NDArray[np.int8] | None,
) -> None:
    """Raise ValueError if shapes or dtypes are not those that `apply_ldpu` takes."""
    shape = p_counts.shape
    if p_counts.dtype != np.uint16 or n_counts.dtype != np.uint16:
        raise ValueError(f"counts must be uint16, got {p_counts.dtype} and {n_counts.dtype}")
    if len(shape) != 2 or n_counts.shape != shape:
        raise ValueError(
            "p_counts and n_counts must share one shape (vector, column), got "
            f"{shape} and {n_counts.shape}"
        )
    for field in fields(coefficients):
        numbers = getattr(coefficients, field.name)
        if numbers.dtype != np.float16 or numbers.shape != shape[1:]:
            raise ValueError(
                f"{field.name}: must be float16 of shape {shape[1:]}, got {numbers.dtype} of "
                f"shape {numbers.shape}"
            )
    if addend is not None and (addend.dtype != np.int8 or addend.shape != shape):
        raise ValueError(
            f"addend: must be int8 of shape {shape}, got {addend.dtype} of shape {addend.shape}"
        )
