"""Corrections in float32: one gain for all, one per core, or gains and an offset per column."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.inference.corrections.in_blocks import correct_in_blocks
from hil_calibration.calibrate import CoreCalibration

if TYPE_CHECKING:
    import torch

FloatColumns = npt.NDArray[np.float64]


class AffineCorrection:
    """Products are ``a_p * P - a_n * N + b``, a column at a time.

    Parameters
    ----------
    gain_p, gain_n
        Products per count, shape (column,).
    offset
        Products, shape (column,).
    device
        Where tensors are.
    """

    uses_chip_codes = False

    def __init__(
        self,
        *,
        gain_p: FloatColumns,
        gain_n: FloatColumns,
        offset: FloatColumns,
        device: "torch.device",
    ) -> None:
        import torch  # noqa: PLC0415 - the extra `inference`

        self._gain_p, self._gain_n, self._offset = (
            torch.tensor(values, dtype=torch.float32, device=device)
            for values in (gain_p, gain_n, offset)
        )

    @classmethod
    def of_gain(cls, gain: float, columns: int, device: "torch.device") -> "AffineCorrection":
        """Return one gain for all columns and both counters, products per count."""
        gains = np.full(columns, gain)
        return cls(gain_p=gains, gain_n=gains, offset=np.zeros(columns), device=device)

    @classmethod
    def of_calibration(
        cls, calibration: CoreCalibration, device: "torch.device"
    ) -> "AffineCorrection":
        """Return the gains and offsets that were fitted, not rounded to any register."""
        found, step = calibration.correction, calibration.output_lsb
        return cls(
            gain_p=found.a_p * step, gain_n=found.a_n * step, offset=found.b * step, device=device
        )

    def outputs(self, counts: "torch.Tensor") -> "torch.Tensor":
        """Correct counts: see `hil.inference.computing.multiplying.TileCorrection`."""
        import torch  # noqa: PLC0415 - the extra `inference`

        return correct_in_blocks(counts, self._products, dtype=torch.float32)

    def of_codes(self, codes: "torch.Tensor") -> "torch.Tensor":
        """There is no unit in the chip that computes this.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("a correction in float has no codes")

    def _products(self, counts: "torch.Tensor") -> "torch.Tensor":
        import torch  # noqa: PLC0415 - the extra `inference`

        # One rounding after the other, in this order: the same bits on every kind of device.
        products = counts[:, 0].to(torch.float32).mul_(self._gain_p)
        products -= counts[:, 1].to(torch.float32).mul_(self._gain_n)
        return products.add_(self._offset)
