"""Known answers: vectors that are read again and again, and how far off their counts are.

A check is one number, the mean count of the known vectors over both counters of every column in
use. It is judged against the same mean when the step began, in units of

    sqrt(noise**2 + (resolution * signal)**2)

with the noise of such a mean, measured by repeating it, and the signal, by how much the vectors
count more than no input does. `resolution` is the change of gain that counts as one standard
deviation: the mean of thousands of counts has so little noise that changes which matter to nobody
would be alarms without it.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

REPEATS = 8
"""How often the known vectors are read for their reference: its noise has 7 degrees of freedom for
each vector."""
_LOOKED_AT = 4096
"""Vectors of a step among which the known ones are chosen."""


def known_vectors(inputs: npt.NDArray[np.int8], vectors: int) -> npt.NDArray[np.int8]:
    """Return those of a step's first vectors that drive the most.

    Parameters
    ----------
    inputs
        The step's vectors, shape (vector, row).
    vectors
        How many to return; all where there are fewer.
    """
    driven = np.abs(inputs[:_LOOKED_AT].astype(np.int32)).sum(axis=1)
    chosen = np.argsort(-driven, kind="stable")[:vectors]
    return np.ascontiguousarray(inputs[np.sort(chosen)])


def reference_inputs(known: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Return what is read for a reference: the known vectors `REPEATS` times, then no input."""
    return np.concatenate([*[known] * REPEATS, np.zeros_like(known)])


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAnswer:
    """What the known vectors should read."""

    mean: float
    """Their mean count."""
    noise: float
    """Standard deviation of the mean of one check, counts."""
    signal: float
    """By how much the mean is above that without input, counts, 0 <= signal."""

    @classmethod
    def of(cls, counts: npt.NDArray[np.uint16], *, columns_used: int) -> "KnownAnswer":
        """Work it out from the counts (vector, polarity, column) of `reference_inputs`."""
        means = _means(counts, columns_used).reshape(REPEATS + 1, -1)
        repeated = means[:REPEATS]
        vectors = repeated.shape[1]
        variance = float(repeated.var(axis=0, ddof=1).mean()) / vectors
        # Rounding to whole counts is noise that repeats need not show.
        rounding = 1 / 12 / (vectors * 2 * columns_used)
        mean = float(repeated.mean())
        return cls(
            mean=mean,
            noise=math.sqrt(variance + rounding),
            signal=abs(mean - float(means[REPEATS].mean())),
        )

    def sigma(self, resolution: float) -> float:
        """Return what counts as one standard deviation, counts."""
        return math.hypot(self.noise, resolution * self.signal)

    def uncertainty(self, resolution: float) -> float:
        """Return the standard error of the reference itself, in standard deviations of a check.

        It is the same in every check of a step, so a sum grows with it by chance.
        """
        return self.noise / math.sqrt(REPEATS) / self.sigma(resolution)

    def score(
        self, counts: npt.NDArray[np.uint16], *, columns_used: int, resolution: float
    ) -> float:
        """Return how far a check is off, in standard deviations.

        Parameters
        ----------
        counts
            Counts (vector, polarity, column) of the known vectors.
        columns_used
            Columns that carry weights: the first ones.
        resolution
            Relative change of the signal that is one standard deviation, 0 <= resolution.
        """
        mean = float(_means(counts, columns_used).mean())
        return (mean - self.mean) / self.sigma(resolution)


def _means(counts: npt.NDArray[np.uint16], columns_used: int) -> npt.NDArray[np.float64]:
    means: npt.NDArray[np.float64] = counts[:, :, :columns_used].mean(axis=(1, 2))
    return means
