"""Ctrl-C, SIGTERM and SIGHUP end a command, wherever they find it.

Python raises KeyboardInterrupt between any two instructions, so also where whoever called cannot
pass it on: in a callback of the garbage collector, where Python prints and drops it, or in a write
that HDF5 has asked for, which to it has then failed. There the signal waits, and comes again.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hil.core.ending_signals import ending_signals_heard

_CALLED_FROM_OUTSIDE = frozenset({"weakref", "hil_datasets.durable"})
"""Modules whose functions are called by what cannot pass an exception on."""
_COMES_AGAIN_S = 0.01


class Interruption:
    """Whether somebody wants the command to end."""

    def __init__(self) -> None:
        self.is_wanted = False
        """Whether a signal has come."""
        self._is_over = False
        self._former_hook = sys.unraisablehook

    @contextmanager
    def raised_by_signals(self) -> Iterator[None]:
        """Raise KeyboardInterrupt in the body when a signal comes; only the main thread can."""
        with ending_signals_heard(self._hear) as is_heard:
            if not is_heard:
                yield
                return
            sys.unraisablehook = self._hear_of_dropped
            try:
                yield
            finally:
                self._is_over = True
                sys.unraisablehook = self._former_hook

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.is_wanted = True
        if frame is not None and frame.f_globals.get("__name__") in _CALLED_FROM_OUTSIDE:
            self._send_again(number)
        else:
            raise KeyboardInterrupt

    def _hear_of_dropped(self, dropped: Any) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            self._send_again(signal.SIGINT)
        else:
            self._former_hook(dropped)

    def _send_again(self, number: int) -> None:
        def send() -> None:
            time.sleep(_COMES_AGAIN_S)
            if not self._is_over:
                os.kill(os.getpid(), number)

        threading.Thread(target=send, daemon=True).start()
