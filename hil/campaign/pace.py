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
_LATE_SHARE = 0.5
"""Of what a step takes besides its vectors, what comes when all are read: codes, file, journal."""
_CLOSING_SHARE = 0.125
"""Of the same, what the end of the run takes for each step: the index opens its file again."""
_FIRST_REST_S = 0.2
"""What a step of 256 x 256 takes besides its vectors, about; until one has ended here."""


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
        known = [pace for pace in paces.values() if pace is not None]
        if not known:
            return None
        total = 0.0
        for step, vectors in steps:
            pace = paces.get(step.read_mode)
            total += vectors * (max(known) if pace is None else pace)
            if step.vectors:
                # Programming, at its begin, and the fit, later, are taken as spread over it.
                left = max(_LATE_SHARE, vectors / step.vectors)
                total += self._expected_rest_s(step.read_mode) * left
        return total

    def closing_s(self, steps: int) -> float:
        """Return how long the end of a run of so many steps takes."""
        return steps * _CLOSING_SHARE * self._expected_rest_s("")

    def _expected_rest_s(self, read_mode: str) -> float:
        rest = self.rest_s(read_mode)
        if rest is not None:
            return rest
        rests = [self.rest_s(mode) for mode in self._rests]
        return max((rest for rest in rests if rest is not None), default=_FIRST_REST_S)
