"""How a guard's pause stands, from what is told of it."""

from collections.abc import Callable
from dataclasses import dataclass

from hil.campaign.run_events import PauseSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentPause:
    """A guard's pause, as it stands."""

    for_s: float
    """How long it has lasted."""
    found: str
    """What the last look has found; empty before the first one."""
    left_s: float | None
    """How much longer something may be wrong before the run stops; None if nothing is wrong, or
    before the first look."""


class PauseTally:
    """Keeps what is known of a pause.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Take note that a pause begins."""
        self._began_s = self._seen_s = self._clock()
        self._seen: PauseSeen | None = None

    def see(self, event: PauseSeen) -> None:
        """Take note of a look."""
        self._seen, self._seen_s = event, self._clock()

    def current(self) -> CurrentPause:
        """Return how it stands."""
        seen, now_s = self._seen, self._clock()
        left_s = None if seen is None else seen.left_s
        if left_s is not None:
            left_s = max(0.0, left_s - (now_s - self._seen_s))
        found = "" if seen is None else seen.found
        return CurrentPause(for_s=now_s - self._began_s, found=found, left_s=left_s)
