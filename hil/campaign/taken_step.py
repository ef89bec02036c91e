"""A step that is being taken: how many of its vectors are read, and when its blocks came."""

from hil.campaign.run_events import StepSize


class TakenStep:
    """A step that is being taken, and when its blocks came.

    Parameters
    ----------
    size
        Which step.
    done
        Vectors of it that were read before.
    now_s
        When it begins, monotonic seconds.
    """

    def __init__(self, size: StepSize, done: int, now_s: float) -> None:
        self.size = size
        """Which step."""
        self.done = done
        """Vectors read."""
        self._read_here = 0
        self._began_s = self._last_s = now_s
        self._is_between_blocks = False

    def read(self, vectors: int, now_s: float) -> float | None:
        """Take note of a block; return its seconds, or None where they are not its own.

        Before the first block of a step the core is programmed.
        """
        seconds = now_s - self._last_s if self._is_between_blocks else None
        self.done += vectors
        self._read_here += vectors
        self._last_s, self._is_between_blocks = now_s, True
        return seconds

    def forget_pause(self, now_s: float) -> None:
        """Leave out of the pace what has passed since the last block: the run was paused."""
        self._began_s += now_s - self._last_s
        self._last_s, self._is_between_blocks = now_s, False

    def rest_s(self, now_s: float, vector_s: float) -> float:
        """Return how long the step took besides its vectors."""
        return now_s - self._began_s - self._read_here * vector_s
