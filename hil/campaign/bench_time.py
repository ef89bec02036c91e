"""The time on the bench: what ages a chip, settles an instrument, and is waited for."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from hil.core.errors import TransportError
from hil.core.legible import quoted
from hil_drivers.instruments.plain_scpi import PlainScpi
from hil_drivers.instruments.scpi_instrument import ERROR_QUERY
from hil_drivers.open_transport import open_transport

_SLICE_S = 0.1
"""How long a wait sleeps before it looks whether the run shall stop."""
_ANSWER_S = 60.0
"""How long a private mock may take to let time pass: no work, but the machine may be busy."""


class BenchTime(Protocol):
    """The time that passes for the chip and the instruments around it."""

    @property
    def is_virtual(self) -> bool:
        """Whether it moves only when somebody sleeps, and begins at 0 with every process."""
        ...

    def now_s(self) -> float:
        """Return seconds on the bench since some beginning; they never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass; at once and exactly where it is virtual.

        Raises
        ------
        RunInterruptedError
            If the run shall stop; within 0.2 s of the wish.
        TransportError
            If the mock whose time it is is lost.
        ValueError
            If the time is negative or not finite.
        """
        ...


def bench_clock() -> float:
    """Return seconds of the real world that no set clock moves.

    They count while the process is stopped, and on Linux while the machine sleeps, too: a chip ages
    meanwhile.
    """
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class RealTime:
    """The time of the real world, from 0 on.

    Parameters
    ----------
    check
        Called several times in a second while somebody sleeps; raises to end the sleep.
    clock, pause
        Seconds that never go back, and what sleeps for some.
    """

    def __init__(
        self,
        check: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = bench_clock,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._check = check
        self._clock = clock
        self._pause = pause
        self._zero = clock()

    @property
    def is_virtual(self) -> bool:
        """Whether only sleeping moves it: no."""
        return False

    def now_s(self) -> float:
        """Return seconds since the beginning."""
        return self._clock() - self._zero

    def sleep(self, seconds: float) -> None:
        """Wait, in slices between which the run may be stopped."""
        _check_seconds(seconds)
        until = self._clock() + seconds
        self._check()
        while (left_s := until - self._clock()) > 0:
            self._pause(min(left_s, _SLICE_S))
            self._check()


class PlayedTime:
    """The time of a recording, which nobody waits for: what was waited for is recorded.

    Parameters
    ----------
    check
        Called when somebody sleeps; raises to end the sleep.
    """

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        self._now_s = 0.0

    @property
    def is_virtual(self) -> bool:
        """Whether only sleeping moves it: yes."""
        return True

    def now_s(self) -> float:
        """Return the seconds slept."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        _check_seconds(seconds)
        self._check()
        self._now_s += seconds


class VirtualTime:
    """The time of a private mock, which moves chip, chamber and supply together.

    Parameters
    ----------
    channel
        The mock's chamber, which lets time pass for all of it.
    check
        Called when somebody sleeps; raises to end the sleep.
    """

    def __init__(self, channel: PlainScpi, check: Callable[[], None] = lambda: None) -> None:
        self._channel = channel
        self._check = check
        self._now_s = self._ask()

    @property
    def is_virtual(self) -> bool:
        """Whether only sleeping moves it: yes."""
        return True

    def now_s(self) -> float:
        """Return seconds since the mock was started."""
        return self._now_s  # who asks for it twice a reading shall not wait for an answer

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        _check_seconds(seconds)
        self._check()
        self._now_s = self._ask(f"SIM:TIME:ADV {seconds!r};SIM:TIME?")

    def _ask(self, query: str = "SIM:TIME?") -> float:
        answer = self._channel.ask(query)
        try:
            return float(answer)
        except ValueError:
            message = f"the mock's time is {quoted(answer)}: must be a number"
            raise TransportError(message) from None


@contextmanager
def open_virtual_time(
    resource: str, check: Callable[[], None] = lambda: None
) -> Iterator[VirtualTime]:
    """Open the time of a private mock for the length of a ``with`` block.

    Parameters
    ----------
    resource
        Where its chamber is.
    check
        As in `VirtualTime`.

    Raises
    ------
    TransportError
        If it does not answer.
    """
    channel = PlainScpi(
        open_transport(resource, timeout_s=_ANSWER_S),
        timeout_s=_ANSWER_S,
        error_query=ERROR_QUERY,
        clock=time.monotonic,
    )
    try:
        yield VirtualTime(channel, check)
    finally:
        channel.close()


def _check_seconds(seconds: float) -> None:
    """Raise ValueError unless time can pass for so long."""
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{seconds:g} s: time must be finite and cannot go back")
