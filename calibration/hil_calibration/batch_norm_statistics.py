"""Batch-norm statistics measured again on a drifted chip, from its own outputs.

Where batch normalisation follows a layer, its running mean and variance can take up what drift does
to a column's outputs: no probe vectors and no expected outputs, only ordinary inputs. Known as
adaptive batch-norm statistics update, AdaBS (Joshi et al., "Accurate deep neural network inference
using computational phase-change memory", Nat. Commun. 11, 2473, 2020).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.errors import CalibrationError
from hil_calibration.fold import BatchNorm

FloatColumns = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStatistics:
    """Mergeable sums of a core's outputs; arrays of shape (column,)."""

    vectors: int
    """Number of output vectors summed."""
    mean: FloatColumns
    """Mean output."""
    squares: FloatColumns
    """Sum of the squared deviations from the mean."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", read_only(self.mean))
        object.__setattr__(self, "squares", read_only(self.squares))

    @classmethod
    def empty(cls, columns: int) -> "OutputStatistics":
        """Return the sums of no vectors: the neutral element of `merge`."""
        return cls(vectors=0, mean=np.zeros(columns), squares=np.zeros(columns))

    @classmethod
    def of(cls, outputs: npt.NDArray[np.number]) -> "OutputStatistics":
        """Sum one block of outputs, shape (vector, column), any unit.

        Raises
        ------
        ValueError
            If the shape is another, or an output is not finite.
        """
        if outputs.ndim != 2 or not np.isfinite(outputs).all():
            raise ValueError(f"outputs must be finite and (vector, column), got {outputs.shape}")
        if not len(outputs):
            return cls.empty(outputs.shape[1])
        # From the first vector, so that an output that never moves has a variance of exactly 0.
        first = outputs[0].astype(np.float64)
        deviations = outputs - first
        step = deviations.mean(axis=0)
        return cls(
            vectors=len(outputs),
            mean=first + step,
            squares=np.sum((deviations - step) ** 2, axis=0),
        )

    def merge(self, other: "OutputStatistics") -> "OutputStatistics":
        """Return the sums of both sets of vectors.

        Examples
        --------
        >>> outputs = np.array([[1.0], [2.0], [6.0]])
        >>> parts = OutputStatistics.of(outputs[:1]).merge(OutputStatistics.of(outputs[1:]))
        >>> parts.vectors, parts.mean, parts.squares
        (3, array([3.]), array([14.]))
        """
        total = self.vectors + other.vectors
        if total == 0:
            return self
        step = other.mean - self.mean
        return OutputStatistics(
            vectors=total,
            mean=self.mean + step * (other.vectors / total),
            squares=self.squares + other.squares + step**2 * (self.vectors * other.vectors / total),
        )

    @property
    def variance(self) -> FloatColumns:
        """Unbiased variance, shape (column,); 0 for fewer than two vectors."""
        return np.asarray(self.squares / max(self.vectors - 1, 1))


def update_batch_norm(
    norm: BatchNorm, statistics: OutputStatistics, *, momentum: float = 1.0
) -> BatchNorm:
    """Return a batch normalisation with the mean and variance of the chip's present outputs.

    Parameters
    ----------
    norm
        The batch normalisation in use.
    statistics
        Outputs of the layer in front of it, now, in the unit of its mean.
    momentum
        Share of the new statistics, 0 < momentum <= 1; 1 forgets the old ones.

    Returns
    -------
    The same gamma, beta and eps. A column whose output never moves (dead or not used) keeps its
    statistics: normalising it would only raise noise.

    Raises
    ------
    CalibrationError
        If there are fewer than two vectors, the columns do not match, or the momentum is out of
        range.
    """
    if statistics.vectors < 2 or statistics.mean.shape != norm.mean.shape:
        raise CalibrationError(
            f"statistics of {statistics.vectors} vectors and {statistics.mean.size} columns: a "
            f"batch normalisation of {norm.mean.size} columns needs at least 2 vectors of as many"
        )
    if not 0 < momentum <= 1:
        raise CalibrationError(f"momentum = {momentum:g}: must be above 0 and at most 1")
    share = np.where(statistics.variance > 0, momentum, 0.0)
    return replace(
        norm,
        mean=norm.mean + share * (statistics.mean - norm.mean),
        variance=norm.variance + share * (statistics.variance - norm.variance),
    )
