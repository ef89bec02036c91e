"""The waits of a run: told to who watches it while they last, and ended by who stops it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hil.campaign.bench_time import BenchTime
from hil.campaign.run_events import RunEvent, WaitEnded, Waiting


class Waits:
    """Lets time pass on the bench, and tells why.

    A wait is told with the first sleep in it: what needs none, such as an instrument that is at
    rest already, is not told of.

    Parameters
    ----------
    time
        The time on the bench.
    tell
        Who is told.
    """

    def __init__(self, time: BenchTime, tell: Callable[[RunEvent], None] = lambda _: None) -> None:
        self._time = time
        self._tell = tell
        self._untold: Waiting | None = None

    @contextmanager
    def told(self, reason: str, *, until_s: float | None = None) -> Iterator[None]:
        """Tell why there are sleeps in the body, if there are any.

        Parameters
        ----------
        reason
            What for, such as ``"for chamber.temperature to settle at 40 degC"``.
        until_s
            Until when, if that is known.
        """
        wait = Waiting(reason=reason, now_s=self._time.now_s(), until_s=until_s)
        outer, self._untold = self._untold, wait
        try:
            yield
        finally:
            was_told, self._untold = self._untold is not wait, outer
            if was_told:
                self._tell(WaitEnded())

    def sleep(self, seconds: float) -> None:
        """Let time pass, for the reason of the body that this is called in."""
        wait, self._untold = self._untold, None
        if wait is not None:
            self._tell(wait)
        self._time.sleep(seconds)
