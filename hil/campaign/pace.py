"""How long the rest takes, from how long the last blocks and steps of each read mode took.

The vectors of one read mode take several times as long as those of another, and a step takes time
besides its vectors: it programs a core and fits. So overall counts say little about the rest; the
recent pace per read mode does. A block that a lost link or a suspended computer has held up counts
as a slow one, not as what all others will take.
"""

import statistics
from collections import defaultdict, deque
from collections.abc import Iterable

from hil.campaign.run_events import StepSize

_BLOCKS, _STEPS = 64, 8
"""How many of the last ones make the pace."""
_SLOW = 4.0
"""A longer time than so many medians is one of a fault: it counts as this."""


class Pace:
    """The pace of one chip, by read mode."""

    def __init__(self) -> None:
        self._blocks: dict[str, deque[tuple[int, float]]] = defaultdict(
            lambda: deque(maxlen=_BLOCKS)
        )
        self._rests: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_STEPS))

    def note_block(self, read_mode: str, vectors: int, seconds: float) -> None:
        """Take note of how long a block took, alone."""
        if vectors > 0 and seconds >= 0:
            self._blocks[read_mode].append((vectors, seconds))

    def note_rest(self, read_mode: str, seconds: float) -> None:
        """Take note of how long a step took besides its blocks."""
        self._rests[read_mode].append(max(0.0, seconds))

    def vector_s(self, read_mode: str) -> float | None:
        """Return seconds per vector; None as long as nothing is known of this read mode."""
        blocks = self._blocks.get(read_mode)
        if not blocks:
            return None
        median = statistics.median(seconds / vectors for vectors, seconds in blocks)
        spent = sum(min(seconds, _SLOW * median * vectors) for vectors, seconds in blocks)
        return spent / sum(vectors for vectors, _ in blocks)

    def rest_s(self, read_mode: str) -> float | None:
        """Return seconds per step besides its vectors; None as long as nothing is known."""
        rests = self._rests.get(read_mode)
        if not rests:
            return None
        median = statistics.median(rests)
        return sum(min(rest, _SLOW * median) for rest in rests) / len(rests)

    def left_s(self, steps: Iterable[tuple[StepSize, int]]) -> float | None:
        """Return how long steps take, each with the vectors that it still has to read.

        A read mode of which nothing is known yet is taken for as slow as the slowest known one.
        Returns None if nothing is known at all.
        """
        paces = {mode: self.vector_s(mode) for mode in self._blocks}
        rests = {mode: self.rest_s(mode) for mode in self._rests}
        known = [pace for pace in paces.values() if pace is not None]
        if not known:
            return None
        longest_rest = max((rest for rest in rests.values() if rest is not None), default=0.0)
        total = 0.0
        for step, vectors in steps:
            pace, rest = paces.get(step.read_mode), rests.get(step.read_mode)
            total += vectors * (max(known) if pace is None else pace)
            if step.vectors:
                # Programming, at its begin, and the fit, at its end, are taken as spread over it.
                total += (longest_rest if rest is None else rest) * vectors / step.vectors
        return total
