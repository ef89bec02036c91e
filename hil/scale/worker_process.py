"""How a process that works for another begins, and how it ends."""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt; glibc's malloc.h."""
_KEPT_BYTES = 1 << 28
"""Arrays up to this size are kept."""


def begin_worker() -> None:
    """Prepare this process, which `multiprocessing` has started, to work for its parent."""
    keep_freed_memory()
    _end_with_parent()


def keep_freed_memory() -> None:
    """Let this process keep the arrays that it frees; glibc gives large ones back each time.

    The integer model's intermediates are about 1 MB each. Faulting their pages in anew took more
    than half of the time of a study (two workers, default grid, quickstart run).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another C library decides for itself
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, _KEPT_BYTES)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let processes that are started in the body inherit that Ctrl-C does not reach them.

    Ctrl-C reaches the whole process group. A worker that was started with the signal blocked
    finishes its item and is ended by its parent, which gets the signal when the body ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that ended: nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
