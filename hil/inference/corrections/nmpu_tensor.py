"""The NMPU over tensors: bit for bit what `hil_calibration.nmpu.apply_nmpu` computes.

Arithmetic in 32-bit integers, as in the compiled loops; `hil_calibration.kernels.datapath` has the
few numbers that describe a format, and the proof that nothing overflows.
"""

from typing import TYPE_CHECKING

import numpy as np

from hil.core.array_types import IntArray
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.inference.corrections.in_blocks import correct_in_blocks
from hil_calibration.kernels.datapath import Cut, Datapath, Hold, datapath_of

if TYPE_CHECKING:
    import torch

_ALL_ONES = -1


class NmpuCorrection:
    """What the NMPU makes of counts, and what its codes stand for.

    Parameters
    ----------
    fmt, registers
        Format and register codes, one of each per column.
    output_lsb
        What one output code stands for: products, or the unit of what leaves a folded layer.
    relu
        Whether negative outputs become 0.
    device
        Where tensors are.

    Raises
    ------
    ValueError
        If a register code does not fit its register.
    """

    uses_chip_codes = True

    def __init__(
        self,
        *,
        fmt: NmpuFormat,
        registers: NmpuRegisters,
        output_lsb: float,
        relu: bool = False,
        device: "torch.device",
    ) -> None:
        import torch  # noqa: PLC0415 - the extra `inference`

        registers.check_fits(fmt)
        self.fmt = fmt
        """Format."""
        self.registers = registers
        """Register codes."""
        self._path = datapath_of(fmt, relu=relu)
        self._output_lsb = float(np.float32(output_lsb))
        self._lowest_code = 0 if relu else -(1 << 7)
        offset = registers.offset.astype(np.int32)
        is_first = bool(self._path.is_offset_first)
        early = offset << int(self._path.offset_lift) if is_first else 0 * offset
        late = 0 * offset if is_first else offset

        def column(codes: IntArray) -> "torch.Tensor":
            return torch.tensor(codes.astype(np.int32), device=device)

        self._scales = (column(registers.scale_p), column(registers.scale_n))
        self._early, self._late = column(early), column(late)
        self._swap = torch.tensor(registers.swap, device=device)
        self._any_swap = bool(registers.swap.any())

    def codes(self, counts: "torch.Tensor") -> "torch.Tensor":
        """Return the unit's output codes, int8 (vector, column), for counts as in `outputs`."""
        import torch  # noqa: PLC0415 - the extra `inference`

        return correct_in_blocks(counts, self._codes, dtype=torch.int8)

    def outputs(self, counts: "torch.Tensor") -> "torch.Tensor":
        """Correct counts: see `hil.inference.computing.multiplying.TileCorrection`."""
        import torch  # noqa: PLC0415 - the extra `inference`

        return correct_in_blocks(counts, self._codes, dtype=torch.float32, factor=self._output_lsb)

    def of_codes(self, codes: "torch.Tensor") -> "torch.Tensor":
        """Return what codes of the chip's own unit stand for; its ReLU is done here."""
        import torch  # noqa: PLC0415 - the extra `inference`

        return codes.to(torch.float32).clamp_(min=self._lowest_code).mul_(self._output_lsb)

    def _codes(self, counts: "torch.Tensor") -> "torch.Tensor":
        import torch  # noqa: PLC0415 - the extra `inference`

        path = self._path
        top = int(path.top)
        p_counts, n_counts = counts[:, 0].clamp(max=top), counts[:, 1].clamp(max=top)
        if self._any_swap:
            p_counts, n_counts = (
                torch.where(self._swap, n_counts, p_counts),
                torch.where(self._swap, p_counts, n_counts),
            )
        p_product, n_product = p_counts.mul_(self._scales[0]), n_counts.mul_(self._scales[1])
        if path.is_offset_first:
            p_product.add_(self._early)
        total = _merged(p_product, n_product, path)
        if not path.is_offset_first:
            total.add_(self._late)
        return _hold(_cut(total, path.last), path.output)


def _merged(p_product: "torch.Tensor", n_product: "torch.Tensor", path: Datapath) -> "torch.Tensor":
    """Compress the two products and subtract: steps 3 and 4 of ``docs/reference/nmpu.md``."""
    dropped = int(path.cut_pre)
    if path.per_branch:
        parts = [
            _hold(_cut(product.bitwise_right_shift_(dropped), path.compress), path.accumulator)
            for product in (p_product, n_product)
        ]
        return parts[0].sub_(parts[1])
    difference = p_product.sub_(n_product)
    if dropped:
        difference = difference.bitwise_right_shift_(dropped)
    return _hold(_cut(difference, path.compress), path.accumulator)


def _cut(codes: "torch.Tensor", by: Cut) -> "torch.Tensor":
    """Round the low bits of codes away; `codes` is changed."""
    bits = int(by.bits)
    if not bits:
        return codes
    if by.odd_mask:
        codes = codes + (codes >> bits).bitwise_and_(1)
    if by.negative_mask:
        codes = codes + (codes >> 31).bitwise_and_(int(by.negative_mask))
    if by.add:
        codes = codes.add_(int(by.add))
    return codes.bitwise_right_shift_(bits)


def _hold(codes: "torch.Tensor", register: Hold) -> "torch.Tensor":
    """Fit codes into a register; `codes` is changed."""
    if int(register.mask) != _ALL_ONES:
        half = int(register.half)
        codes = codes.add_(half).bitwise_and_(int(register.mask)).sub_(half)
    return codes.clamp_(int(register.lowest), int(register.highest))
