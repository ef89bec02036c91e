"""How many faults the link had among the last vectors."""

from collections import deque
from dataclasses import dataclass, field

WINDOW_VECTORS = 1000
"""The rate is that among so many vectors, those before which nothing is known as without fault."""


@dataclass(slots=True)
class FaultRate:
    """Counts the faults of a run among its last `WINDOW_VECTORS` vectors."""

    _vectors: int = 0
    _faults: int = 0
    _seen: deque[tuple[int, int]] = field(default_factory=lambda: deque([(0, 0)]))

    def read(self, vectors: int, *, faults_so_far: int) -> int:
        """Take note of a block; return the faults among the last vectors.

        Parameters
        ----------
        vectors
            How many were read.
        faults_so_far
            Faults of the run until now.
        """
        self._vectors += vectors
        self._faults = faults_so_far
        self._seen.append((self._vectors, faults_so_far))
        while len(self._seen) > 1 and self._seen[1][0] <= self._vectors - WINDOW_VECTORS:
            self._seen.popleft()
        return self._faults - self._seen[0][1]

    def forget(self, *, faults_so_far: int) -> None:
        """Begin anew: what has happened until now is dealt with."""
        self._faults = faults_so_far
        self._seen = deque([(self._vectors, faults_so_far)])
