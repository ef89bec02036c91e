"""The time on the mock bench: real, faster than real, or moved on by hand."""

import math
from collections.abc import Callable


class BenchTime:
    """Seconds on the bench; they never go back.

    Parameters
    ----------
    clock
        Monotonic seconds of the real world.
    speed
        Bench seconds per real second, 0 <= speed; 0 is a time that only `advance` moves.

    Raises
    ------
    ValueError
        If the speed is negative or not finite.
    """

    def __init__(self, clock: Callable[[], float], *, speed: float = 1.0) -> None:
        if not (math.isfinite(speed) and speed >= 0):
            raise ValueError(f"speed {speed:g}: must be finite and >= 0")
        self._clock = clock
        self._speed = speed
        self._began = clock()
        self._skipped_s = 0.0

    def __call__(self) -> float:
        """Return bench seconds since the start."""
        return (self._clock() - self._began) * self._speed + self._skipped_s

    def advance(self, seconds: float) -> None:
        """Let time pass at once.

        Raises
        ------
        ValueError
            If it is negative or not finite.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"{seconds:g} s: time must be finite and cannot go back")
        self._skipped_s += seconds
