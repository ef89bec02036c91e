"""How long bytes take on a line of a given rate."""

import asyncio
import math
from collections.abc import Callable

_SLICE_S = 0.005
"""Bytes travel in groups of so much time: a processor cannot wake for each of them."""
_LATE_S = 0.05
"""Waking so much too late does not end a run of bytes; its schedule goes on."""


class Pace:
    """The schedule of one direction of a line.

    A run of bytes is due by the time of its first byte: a delay is made up for, so that a long run
    takes the time it must, however late the processor wakes in between.

    Parameters
    ----------
    bytes_per_s
        Rate of the line; infinite for none.
    clock
        Monotonic seconds.
    """

    def __init__(self, bytes_per_s: float, clock: Callable[[], float]) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._free_s = -math.inf

    @property
    def slice_bytes(self) -> int:
        """How many bytes to pass at once."""
        return max(1, int(min(self._bytes_per_s * _SLICE_S, 1 << 16)))

    async def travel(self, count: int) -> None:
        """Wait until so many bytes have come through."""
        if self._bytes_per_s == math.inf:
            return
        now_s = self._clock()
        begin_s = self._free_s if now_s - self._free_s < _LATE_S else now_s
        self._free_s = begin_s + count / self._bytes_per_s
        if self._free_s > now_s:
            await asyncio.sleep(self._free_s - now_s)
