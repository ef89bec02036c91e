"""How a run is stopped from outside: by signals, and by requests left in its folder.

The first wish lets the block of vectors, the programming or the file that is under way come to its
end; the second stops at once. While the chip is being made safe nothing interrupts any more.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hil.campaign.control import StopKind, StopRequests
from hil.core.ending_signals import ending_signals_heard


class RunInterruptedError(KeyboardInterrupt):
    """Somebody wants the run to stop; its text says who."""


class StopSwitch:
    """Stops a run between two things that must not be torn apart.

    Parameters
    ----------
    on_asked
        Called with the reason, from a thread of its own, when a stop has to wait for something.
    """

    def __init__(self, on_asked: Callable[[str], None]) -> None:
        self._on_asked = on_asked
        self._requests: StopRequests | None = None
        self._depth = 0
        self._reason = ""
        self._is_ending = False

    def watch(self, requests: StopRequests) -> None:
        """Look for requests in the folder of the run, now that it is known; remove older ones."""
        requests.clear()
        self._requests = requests

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear signals for the length of the body; only the main thread can."""
        with ending_signals_heard(self._hear):
            yield

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let the body come to its end before the run stops.

        Raises
        ------
        RunInterruptedError
            Before or after the body, if the run shall stop; within it at the second wish.
        """
        self.check()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        self.check()

    def check(self) -> None:
        """Raise RunInterruptedError if the run shall stop."""
        request = None if self._requests is None else self._requests.pending()
        if request is not None and not self._reason:
            self._reason = f"hil abort by {request.by}"
        if self._reason and not self._depth and not self._is_ending:
            self._stop(self._reason)

    def end(self) -> None:
        """Let nothing interrupt from now on: the run ends, and the chip is made safe."""
        self._is_ending = True

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self._is_ending:
            return
        name = signal.Signals(number).name
        request = None if self._requests is None else self._requests.pending()
        is_urgent = request is not None and request.kind is StopKind.AT_ONCE
        reason = name if request is None else f"hil abort by {request.by}"
        if self._depth == 0 or self._reason or is_urgent:
            self._stop(self._reason or reason)
        self._reason = reason
        # Whoever hears it takes locks that the interrupted code may hold.
        threading.Thread(target=self._on_asked, args=(reason,), daemon=True).start()

    def _stop(self, reason: str) -> None:
        self._is_ending = True
        raise RunInterruptedError(reason)
