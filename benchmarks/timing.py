"""Times of several programs, taken in turns so that all see the same weather on the machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One program to be timed."""

    name: str
    """What the table calls it."""
    work: float
    """Bytes that it reads, or that the fastest of its group would read for the same result."""
    run: Callable[[], object]
    """One execution, on inputs prepared before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What one contender took."""

    name: str
    """What the table calls it."""
    work: float
    """Bytes of one execution."""
    seconds: tuple[float, ...]
    """Every execution, in order."""

    @property
    def rate(self) -> float:
        """Bytes per second, from the median time."""
        return self.work / median(self.seconds)

    @property
    def best_rate(self) -> float:
        """Bytes per second, from the shortest time: the least disturbed one."""
        return self.work / min(self.seconds)


def time_in_turns(
    contenders: Sequence[Contender],
    repeats: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timed]:
    """Run all once to warm up, then `repeats` rounds of each in turn.

    Parameters
    ----------
    contenders
        Programs with different names.
    repeats
        Number of rounds, 1 <= repeats.
    clock
        Seconds: `time.process_time` counts those of this process's threads alone, which says more
        than wall time where other programs keep the processor busy.
    """
    for contender in contenders:
        contender.run()
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(repeats):
        for contender in contenders:
            begin = clock()
            contender.run()
            seconds[contender.name].append(clock() - begin)
    return {
        contender.name: Timed(
            name=contender.name, work=contender.work, seconds=tuple(seconds[contender.name])
        )
        for contender in contenders
    }
