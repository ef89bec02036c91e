"""The real-valued correction of a core, how good its columns are, and what is wrong with them."""

from dataclasses import dataclass, fields
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only


class ColumnFlag(IntFlag):
    """Why a column deserves a look; stored as a bit field, exported by name."""

    UNUSED = 1
    """No weight is programmed in it: nothing to calibrate, output 0."""
    DEAD = 2
    """Its counts do not follow its inputs: neutral correction, output 0."""
    SATURATED = 4
    """Counts at the top of the counter or of the NMPU's input."""
    POOR_FIT = 8
    """Its residual stands far above that of the other columns of the core."""
    SINGLE_POLARITY = 16
    """One counter never moves; the scale of that polarity is 0."""
    NEGATIVE_GAIN = 32
    """Counts fall as the output rises; the swap bit holds the sign."""
    MIXED_SIGN = 64
    """P and N want gains of opposite sign, which the NMPU cannot hold; one was set to 0."""
    OFFSET_CLIPPED = 128
    """The offset register is at its end; the error that remains is in the verification."""
    WEAK_SIGNAL = 256
    """Its expected outputs vary less than the core's noise: these inputs cannot calibrate it."""
    STUCK = 512
    """Neither counter ever moves although its inputs drive it; the reason why it is dead."""
    ILL_CONDITIONED = 1024
    """P and N nearly move together; they share one gain unless the data tell two apart."""
    GLITCHY = 2048
    """Some counts are far off and pulled the fit; they were left out of it. With `DEAD`: so many
    that nobody can tell the line from them."""

    def names(self) -> list[str]:
        """Return the lower-case name of each flag that is set, lowest bit first.

        Examples
        --------
        >>> (ColumnFlag.DEAD | ColumnFlag.UNUSED).names()
        ['unused', 'dead']
        """
        return [str(member.name).lower() for member in ColumnFlag if member in self]


NOT_CALIBRATED = ColumnFlag.UNUSED | ColumnFlag.DEAD | ColumnFlag.WEAK_SIGNAL
"""Columns with any of these flags carry the neutral correction: every input gives output 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Per-column affine correction ``y = a_p * P - a_n * N + b``, in output LSB.

    Source: Ferro et al., arXiv 2402.07549: ``y = x * scale + offset`` with one scale per polarity.
    """

    a_p: npt.NDArray[np.float64]
    """Gain of the positive counter, shape (column,), output LSB per count."""
    a_n: npt.NDArray[np.float64]
    """Gain of the negative counter, shape (column,), output LSB per count."""
    b: npt.NDArray[np.float64]
    """Offset, shape (column,), output LSB."""

    def __post_init__(self) -> None:
        if not self.a_p.shape == self.a_n.shape == self.b.shape or self.b.ndim != 1:
            raise ValueError(
                "a_p, a_n and b must share one shape (column,), got "
                f"{self.a_p.shape}, {self.a_n.shape}, {self.b.shape}"
            )
        for name in ("a_p", "a_n", "b"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def apply(self, counts: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
        """Correct counts of shape (vector, polarity, column) to outputs (vector, column).

        Examples
        --------
        >>> one = np.ones(1)
        >>> correction = Correction(a_p=0.5 * one, a_n=0.25 * one, b=-1.0 * one)
        >>> correction.apply(np.array([[[100], [8]]], dtype=np.uint16))
        array([[47.]])
        """
        p_counts = counts[:, 0].astype(np.float64)
        n_counts = counts[:, 1].astype(np.float64)
        return self.a_p * p_counts - self.a_n * n_counts + self.b


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnQuality:
    """How good each column is in numbers; arrays of shape (column,) but for the curve.

    Measured with the real-valued correction. A column without one has that of no correction.
    """

    inl: npt.NDArray[np.float64]
    """Largest deviation of the mean residual from 0 over the codes, output LSB."""
    inl_edges: npt.NDArray[np.float64]
    """Borders of the bins of the curve, counts, shape (inl_edge, polarity, column)."""
    inl_curve: npt.NDArray[np.float64]
    """Mean residual in each bin of the count, output LSB, shape (inl_bin, polarity, column)."""
    effective_bits: npt.NDArray[np.float64]
    """Effective bits of the corrected output over the range of its expected outputs; infinite
    without any error, 0 where the error is larger than the range."""
    residual_rms: npt.NDArray[np.float64]
    """Root mean square of corrected minus expected output, output LSB."""
    noise_rms: npt.NDArray[np.float64]
    """Share of that which differs between repeats, output LSB; NaN without repeats."""
    saturated_share: npt.NDArray[np.float64]
    """Share of clipped counts, P and N together."""
    outlier_share: npt.NDArray[np.float64]
    """Share of samples more than five standard deviations (by the median) off the line."""
    condition: npt.NDArray[np.float64]
    """Condition number of P and N in the fit; infinite where they move together."""
    glitch_share: npt.NDArray[np.float64]
    """Share of the calibration samples that a robust fit leaves out."""

    def __post_init__(self) -> None:
        bins, columns = len(self.inl_curve), len(self.inl)
        for field in fields(self):
            array = getattr(self, field.name)
            wanted = {
                "inl_edges": (bins + 1, 2, columns),
                "inl_curve": (bins, 2, columns),
            }.get(field.name, (columns,))
            if array.shape != wanted:
                raise ValueError(f"{field.name}: must have shape {wanted}, got {array.shape}")
            object.__setattr__(self, field.name, read_only(array))
