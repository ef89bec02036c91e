"""When a paused run goes on, and how closely it is looked at from then on."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from hil.campaign.guards.limit_guards import GuardedValue


@dataclass(slots=True)
class Probation:
    """Until when everything is looked at after each block, because the run was paused."""

    until_s: float = -math.inf
    """Seconds on the bench."""

    def holds(self, now_s: float) -> bool:
        """Tell whether it still lasts."""
        return now_s < self.until_s


@dataclass(slots=True)
class ClearTime:
    """For how long nothing has been wrong, and whether it is at rest."""

    needed_s: float
    """How long it has to be."""
    _looks: deque[tuple[float, Mapping[str, GuardedValue]]] = field(default_factory=deque)

    def restart(self) -> None:
        """Begin anew: something is wrong."""
        self._looks.clear()

    def note(self, now_s: float, values: Mapping[str, GuardedValue]) -> None:
        """Take note of a look that found nothing wrong."""
        self._looks.append((now_s, values))
        while len(self._looks) > 1 and now_s - self._looks[1][0] >= self.needed_s:
            self._looks.popleft()

    @property
    def is_long_enough(self) -> bool:
        """Whether nothing has been wrong for as long as needed."""
        return bool(self._looks) and self._looks[-1][0] - self._looks[0][0] >= self.needed_s

    def moving(self) -> str:
        """Return what still moves, in words; empty if everything is at rest.

        A value moves if its means over the two halves of the time differ by more than it may.
        """
        looks = [values for _, values in self._looks]
        half = len(looks) // 2
        if half == 0:
            return ""
        words = []
        for name, last in looks[-1].items():
            seen = [values[name].value for values in looks if name in values]
            moved = sum(seen[-half:]) / half - sum(seen[:half]) / half
            if abs(moved) > last.may_move:
                words.append(f"{last} and still moves, by {moved:+.2g} in {self.needed_s / 2:g} s")
        return "; ".join(words)
