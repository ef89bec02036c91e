"""The FP16 unit over tensors: bit for bit what `hil_calibration.ldpu.apply_ldpu` computes.

A fused multiply-add of FP16 numbers rounds once. In float64 it is exact, or rounds to where FP16
rounds as well (`hil_calibration.ldpu` has the proof). From float64 to FP16 tensors are converted
through float32, which would round twice; so the float64 number is first cut to the 24 bits of
float32, and its last bit set if anything was cut off: rounding to odd. What then rounds to 11 bits,
or fewer where FP16 is subnormal, sees every tie as it was. (S. Boldo and G. Melquiond, "When double
rounding is odd", IMACS 2005: two bits more than the target are enough.)
"""

from typing import TYPE_CHECKING

import numpy as np

from hil.inference.corrections.in_blocks import correct_in_blocks
from hil_calibration.ldpu import HalfArray, LdpuCoefficients

if TYPE_CHECKING:
    import torch

_CUT_BITS = (1 << 29) - 1
"""Bits of a float64 significand that float32 does not have."""


class Fp16Correction:
    """What the FP16 unit makes of counts.

    Parameters
    ----------
    coefficients
        FP16 numbers, one of each per column.
    output_lsb
        What one output code stands for: products, or the unit of what leaves a folded layer.
    relu
        Whether negative values become 0.
    device
        Where tensors are.
    """

    uses_chip_codes = False

    def __init__(
        self,
        coefficients: LdpuCoefficients,
        *,
        output_lsb: float,
        relu: bool = False,
        device: "torch.device",
    ) -> None:
        import torch  # noqa: PLC0415 - the extra `inference`

        def column(numbers: HalfArray) -> "torch.Tensor":
            return torch.tensor(numbers.astype(np.float64), device=device)

        one = coefficients
        self._scale_p, self._scale_n = column(one.scale_p), column(one.scale_n)
        self._offset = column(one.offset)
        self._norm = (column(one.bn_scale), column(one.bn_offset))
        # The second map is nothing then; that it makes +0 of -0 is not seen in an integer.
        self._has_norm = bool((one.bn_scale != 1).any() or (one.bn_offset != 0).any())
        self._output_lsb = float(np.float32(output_lsb))
        self._lowest_code = 0 if relu else -128

    def codes(self, counts: "torch.Tensor") -> "torch.Tensor":
        """Return the unit's output codes, int8 (vector, column), for counts as in `outputs`."""
        import torch  # noqa: PLC0415 - the extra `inference`

        return correct_in_blocks(counts, self._codes, dtype=torch.int8)

    def outputs(self, counts: "torch.Tensor") -> "torch.Tensor":
        """Correct counts: see `hil.inference.computing.multiplying.TileCorrection`."""
        import torch  # noqa: PLC0415 - the extra `inference`

        return correct_in_blocks(counts, self._codes, dtype=torch.float32, factor=self._output_lsb)

    def of_codes(self, codes: "torch.Tensor") -> "torch.Tensor":
        """No chip has this unit behind its columns.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("the FP16 unit is not the chip's own")

    def _codes(self, counts: "torch.Tensor") -> "torch.Tensor":
        import torch  # noqa: PLC0415 - the extra `inference`

        halves = counts.to(torch.float16).to(torch.float64)
        partial = _fused(halves[:, 1].neg(), self._scale_n, self._offset)
        value = _fused(halves[:, 0], self._scale_p, partial)
        if self._has_norm:
            value = _fused(value, *self._norm)
        value = value.to(torch.float32).nan_to_num_(nan=0.0, posinf=127.0, neginf=-128.0)
        return value.round_().clamp_(self._lowest_code, 127)


def _fused(a: "torch.Tensor", b: "torch.Tensor", c: "torch.Tensor") -> "torch.Tensor":
    """Compute ``a * b + c`` of FP16 numbers held in float64, rounded once to FP16."""
    # Not addcmul: the product is exact, and a sum of two tensors rounds alike on every device.
    return round_to_half((a * b).add_(c))


def round_to_half(values: "torch.Tensor") -> "torch.Tensor":
    """Round float64 values to FP16, to nearest, ties to even, once; `values` is changed.

    Returns
    -------
    float64, each a number of FP16, infinite or NaN.

    Examples
    --------
    2049 lies between 2048 and 2050, a tie, which is even at 2048; a little more is not a tie. By
    way of float32 both would be 2048.

    >>> import torch
    >>> round_to_half(torch.tensor([2049.0, 2049 + 2.0**-40], dtype=torch.float64)).tolist()
    [2048.0, 2050.0]
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    bits = values.view(torch.int64)
    sticky = bits.bitwise_and(_CUT_BITS).add_(_CUT_BITS)
    bits.bitwise_or_(sticky).bitwise_and_(~_CUT_BITS)
    return values.to(torch.float32).to(torch.float16).to(torch.float64)
