"""Sums of products that float32 holds exactly: no order of summation, so no device, is seen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_mock_device.crossbar import exact_groups

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class ExactWeights:
    """Weights of a tile in groups of rows, and their magnitudes, float32 (row, column)."""

    groups: "tuple[tuple[slice, torch.Tensor, torch.Tensor], ...]"
    """Rows of the tile, weights, magnitudes; sums over one group are exact."""

    @classmethod
    def of(cls, weights: npt.NDArray[np.generic], device: "torch.device") -> "ExactWeights":
        """Return weights (row, column), rounded as finely as exact sums allow.

        Whole codes stay as they are; others become multiples of 1/4 of a code, or finer.
        """
        import torch  # noqa: PLC0415 - the extra `inference`

        found = exact_groups(np.asarray(weights, dtype=np.float64), input_steps=1)
        return cls(
            groups=tuple(
                (
                    group.rows,
                    torch.tensor(group.weights, device=device),
                    torch.tensor(group.magnitudes, device=device),
                )
                for group in found
            )
        )


def signed_products(
    weights: ExactWeights, input_codes: "torch.Tensor", read_mode: ReadMode
) -> "torch.Tensor":
    """Return what P and N are to count, float32 (vector, polarity, column), 0 or more.

    In four phases the sums of positive and of negative products; in one phase their difference,
    where it is positive and where it is negative.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    inputs = input_codes.to(torch.float32)
    net = magnitude = None
    for rows, signed, absolute in weights.groups:
        part = inputs[:, rows]
        net = part @ signed if net is None else net.add_(part @ signed)
        if read_mode is ReadMode.FOUR_PHASE:
            found = part.abs() @ absolute
            magnitude = found if magnitude is None else magnitude.add_(found)
    if net is None:
        raise ValueError("a tile without rows")
    products = torch.empty((len(inputs), 2, net.shape[1]), device=inputs.device)
    if magnitude is None:
        torch.clamp(net, min=0, out=products[:, 0])
        torch.clamp(net.neg_(), min=0, out=products[:, 1])
        return products
    torch.add(magnitude, net, out=products[:, 0])
    torch.sub(magnitude, net, out=products[:, 1])
    return products.mul_(0.5)
