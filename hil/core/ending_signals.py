"""Ctrl-C, SIGTERM and SIGHUP: the signals by which somebody wants a program to end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_signals_heard(hear: Callable[[int, FrameType | None], None]) -> Iterator[bool]:
    """Hear the signals for the length of the body, but for those that the program ignores.

    Parameters
    ----------
    hear
        The handler: called with the number and where the program was.

    Yields
    ------
    Whether they are heard: only the main thread can.
    """
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    before = {
        number: signal.signal(number, hear)
        for number in _ENDING_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup, or a script's background
    }
    try:
        yield True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
