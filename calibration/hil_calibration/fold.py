"""Batch normalisation folded into the correction of each column, and what the codes then cost.

Inference batch normalisation is affine, and so is the correction: one affine map per column holds
both. A negative gamma makes both gains of a column negative, which the swap bit holds.

`hil_calibration.error_bound` bounds what the codes cost.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.correction import Correction
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.error_bound import error_bound
from hil_calibration.quantize import choose_shift

FloatColumns = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm:
    """Inference batch normalisation, ``gamma * (x - mean) / sqrt(variance + eps) + beta``.

    Source: Ioffe and Szegedy, arXiv 1502.03167, algorithm 2.
    """

    gamma: FloatColumns
    """Gain, shape (column,)."""
    beta: FloatColumns
    """Offset, shape (column,)."""
    mean: FloatColumns
    """Running mean, shape (column,), unit of x."""
    variance: FloatColumns
    """Running variance, shape (column,), 0 <= variance, unit of x squared."""
    eps: float = 1e-5
    """Added to the variance; the default is that of torch.nn.BatchNorm2d."""

    def __post_init__(self) -> None:
        for name in ("gamma", "beta", "mean", "variance"):
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if array.ndim != 1 or array.shape != np.shape(self.gamma):
                raise ValueError(
                    f"{name}: must have shape (column,) = {np.shape(self.gamma)}, got {array.shape}"
                )
            _check_finite(name, array)
            object.__setattr__(self, name, read_only(array))
        if not 0 <= self.eps < np.inf:
            raise ValueError(f"eps = {self.eps:g}: must be at least 0 and finite")
        for name, wrong, allowed in (
            ("variance", self.variance < 0, "at least 0"),
            ("variance + eps", self.variance + self.eps <= 0, "above 0"),
        ):
            if wrong.any():
                column = int(np.argmax(wrong))
                raise ValueError(
                    f"{name} of column {column} is {self.variance[column]:g}: must be {allowed}"
                )

    @property
    def gain(self) -> FloatColumns:
        """``gamma / sqrt(variance + eps)``, shape (column,)."""
        return np.asarray(self.gamma / np.sqrt(self.variance + self.eps))

    def apply(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Normalise values of shape (vector, column).

        Examples
        --------
        >>> one = np.ones(1)
        >>> norm = BatchNorm(gamma=6 * one, beta=one, mean=2 * one, variance=4 * one, eps=5.0)
        >>> norm.apply(np.array([[5.0]]))
        array([[7.]])
        """
        return np.asarray((values - self.mean) * self.gain + self.beta)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedBatchNorm:
    """Correction and batch normalisation as one, real-valued and in register codes."""

    correction: Correction
    """Counts to output codes, not rounded; both gains negative where gamma is."""
    output_lsb: float
    """Value of one output code, in the unit of the normalised values."""
    relu: bool
    """Whether the unit's ReLU is on."""
    fmt: NmpuFormat
    """NMPU format with the tile's shift."""
    registers: NmpuRegisters
    """The nearest codes; swapped where both gains are negative."""
    error_bound: FloatColumns
    """Largest error of the integer model, shape (column,), output LSB: see
    `hil_calibration.error_bound`."""


def fold_batch_norm(
    correction: Correction,
    norm: BatchNorm,
    fmt: NmpuFormat,
    *,
    input_lsb: float,
    output_range: float,
    relu: bool = False,
    headroom: float = 1.5,
) -> FoldedBatchNorm:
    """Fold a batch normalisation into a correction, and round it to register codes.

    Parameters
    ----------
    correction
        Counts to corrected outputs, with no mixed signs in a column.
    norm
        The batch normalisation of these outputs.
    fmt
        NMPU format; its shift is chosen here.
    input_lsb
        Value of 1 in the corrected outputs, in the unit of ``norm.mean``.
    output_range
        Normalised value that the highest output code stands for, 0 < output_range. Larger ones,
        and lower ones than the lowest code stands for, are clipped.
    relu
        Whether a ReLU follows.
    headroom
        Factor left in the scale registers, 1 <= headroom.

    Raises
    ------
    ValueError
        If shapes differ, a number is not finite or out of range, or gains have mixed signs.
    CalibrationError
        If the format cannot hold the largest gain.

    Source
    ------
    arXiv 2402.07549: batch normalisation is folded into scale and offset.
    """
    if correction.b.shape != norm.beta.shape:
        raise ValueError(
            f"correction has {correction.b.size} columns, batch normalisation {norm.beta.size}"
        )
    for name, value in (("input_lsb", input_lsb), ("output_range", output_range)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} = {value:g}: must be above 0 and finite")
    output_lsb = output_range / fmt.highest_output
    gain = norm.gain * (input_lsb / output_lsb)
    shifted_mean = norm.beta / output_lsb - norm.mean * norm.gain / output_lsb
    folded = Correction(
        a_p=correction.a_p * gain, a_n=correction.a_n * gain, b=correction.b * gain + shifted_mean
    )
    tile_format, registers = nearest_registers(folded, fmt, headroom=headroom)
    return FoldedBatchNorm(
        correction=folded,
        output_lsb=output_lsb,
        relu=relu,
        fmt=tile_format,
        registers=registers,
        error_bound=error_bound(folded, registers, tile_format),
    )


def nearest_registers(
    correction: Correction, fmt: NmpuFormat, *, headroom: float
) -> tuple[NmpuFormat, NmpuRegisters]:
    """Round a correction to the nearest codes; no readouts are needed, and no search is made.

    Parameters
    ----------
    correction
        Gains and offsets in output LSB, with no mixed signs in a column.
    fmt
        NMPU format; its shift is chosen here.
    headroom
        Factor left in the scale registers, 1 <= headroom.

    Returns
    -------
    The format with its shift, and the codes. An offset beyond its register is clipped.

    Raises
    ------
    ValueError
        If a number is not finite, or the gains of a column have mixed signs.
    CalibrationError
        If the format cannot hold the largest gain.
    """
    for name in ("a_p", "a_n", "b"):
        _check_finite(name, getattr(correction, name))
    mixed = correction.a_p * correction.a_n < 0
    if mixed.any():
        column = int(np.argmax(mixed))
        raise ValueError(
            f"gains of column {column} are {correction.a_p[column]:g} and "
            f"{correction.a_n[column]:g}: must have one sign, two unsigned scales hold no other"
        )
    largest = np.maximum(abs(correction.a_p), abs(correction.a_n)).max(initial=0.0)
    tile_format = fmt.with_shift(choose_shift(float(largest), fmt, headroom))
    swap = (correction.a_p < 0) | (correction.a_n < 0)
    gain_p = np.where(swap, -correction.a_n, correction.a_p)
    gain_n = np.where(swap, -correction.a_p, correction.a_n)
    if fmt.shared_scale:
        gain_p = gain_n = (gain_p + gain_n) / 2
    weight = 2.0**tile_format.shift
    return tile_format, NmpuRegisters(
        scale_p=tile_format.scale_format.nearest_code(gain_p * weight).astype(np.uint8),
        scale_n=tile_format.scale_format.nearest_code(gain_n * weight).astype(np.uint8),
        offset=tile_format.offset_format.nearest_code(correction.b).astype(np.int16),
        swap=swap,
    )


def _check_finite(name: str, array: FloatColumns) -> None:
    wrong = ~np.isfinite(array)
    if wrong.any():
        column = int(np.argmax(wrong))
        raise ValueError(f"{name} of column {column} is {array[column]}: must be finite")
