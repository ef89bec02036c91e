"""White noise of the counters: a sequence in which every vector has its place.

A normal number is looked up among 65,536 equally likely ones by 16 random bits. Four come out of
one step of the generator, which can jump: so the noise of the vector number n follows from n alone,
and vectors can be taken in any grouping, by several threads at once.
"""

from collections.abc import Sequence
from copy import copy
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_QUANTILES = 1 << 16
_PER_WORD = 4


@cache
def normal_quantiles() -> npt.NDArray[np.float64]:
    """Return 65,536 equally likely values of a standard normal distribution, in order.

    Those in the middle of equal shares, scaled so that their variance is 1. The largest is 4.3.
    """
    inverse = NormalDist().inv_cdf
    upper = np.array([inverse((k + 0.5) / _QUANTILES) for k in range(_QUANTILES // 2, _QUANTILES)])
    values = np.concatenate([-upper[::-1], upper])
    values /= np.sqrt(np.mean(values**2))
    values.flags.writeable = False
    return values


class NoiseSequence:
    """The noise of the counters of one core in one read mode.

    Parameters
    ----------
    seed
        What the sequence depends on.
    numbers
        Noise values of one vector.
    rms
        Their standard deviation.
    """

    def __init__(self, seed: Sequence[int], *, numbers: int, rms: float) -> None:
        self._state = np.random.PCG64(list(seed)).state
        self._numbers = numbers
        self._words = -(-numbers // _PER_WORD)
        self._kept: npt.NDArray[np.intp] | None = None
        self.values = (normal_quantiles() * rms).astype(np.float32)
        """The equally likely noise values, in order."""
        self.next_vector = 0
        """Place of the next vector in the sequence."""

    def source(self, vector: int) -> "NoiseSource":
        """Return a source of the noise from the vector at a place in the sequence on."""
        generator = np.random.PCG64(0)
        generator.state = self._state
        generator.advance(vector * self._words)
        return NoiseSource(generator, numbers=self._numbers, words=self._words, kept=self._kept)

    def part(self, places: npt.NDArray[np.intp]) -> "NoiseSequence":
        """Return the same sequence with only the numbers at some places, to go on by itself."""
        part = copy(self)
        part._kept = places  # noqa: SLF001 - its own class
        return part


class NoiseSource:
    """Draws the noise of one vector after the other; made by `NoiseSequence.source`."""

    def __init__(
        self,
        generator: np.random.PCG64,
        *,
        numbers: int,
        words: int,
        kept: npt.NDArray[np.intp] | None = None,
    ) -> None:
        self._generator = generator
        self._numbers = numbers
        self._words = words
        self._kept = kept

    def codes(self, vectors: int) -> npt.NDArray[np.uint16]:
        """Return the places of the next vectors' noise values, shape (vector, number)."""
        words = np.asarray(self._generator.random_raw(vectors * self._words), np.uint64)
        # Sixteen bits each, the lowest first, on processors of either byte order.
        codes = words.astype("<u8", copy=False).view("<u2").reshape(vectors, -1)
        kept = codes[:, : self._numbers] if self._kept is None else codes[:, self._kept]
        return np.ascontiguousarray(kept, np.uint16)
