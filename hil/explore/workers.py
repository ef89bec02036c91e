"""Evaluating tasks on several cores of the machine, with results in the order of the tasks.

Order is what makes the stored results the same bytes whatever the number of workers.
"""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

from hil.core.errors import CalibrationError, DatasetError, Problem
from hil.explore.evaluate import FormatResult, Task, evaluate_task

_AHEAD = 4
"""Tasks that wait for each worker: enough to keep it busy, few to lose when it is stopped."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt; glibc's malloc.h."""
_KEPT_BYTES = 1 << 28
"""Arrays up to this size are kept."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A `DatasetError` on its way between processes; the error itself does not pickle."""

    source: str
    problems: tuple[Problem, ...]


def evaluate_all(
    tasks: Sequence[Task], *, workers: int, keep: Callable[[FormatResult], None]
) -> None:
    """Evaluate every task and hand each result to `keep`, in the order of the tasks.

    Parameters
    ----------
    tasks
        What to evaluate; tasks of one step are best kept together.
    workers
        Processes, 1 <= workers; with 1, this one.
    keep
        Called once for each result. When the work is interrupted, results that are ready but
        not yet due are handed over too.

    Raises
    ------
    DatasetError
        If a step cannot be read.
    CalibrationError
        If a worker process was killed.
    """
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            keep(evaluate_task(task))
        return
    pool = ProcessPoolExecutor(
        max_workers=min(workers, len(tasks)),
        # A fork would copy the locks of threads that it does not copy: the progress bar has one.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
    )
    waiting: deque[Future[FormatResult | _Failure]] = deque()
    try:
        for task in tasks:
            with _interrupts_held_back():  # workers start here and inherit it
                waiting.append(pool.submit(_evaluate, task))
            if len(waiting) > _AHEAD * workers:
                _keep_next(waiting, keep)
        while waiting:
            _keep_next(waiting, keep)
    except BrokenProcessPool as error:
        raise CalibrationError(
            "a worker process was killed, perhaps for want of memory; finished results are kept: "
            "run the same command again, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for future in waiting:
            if future.done() and not future.cancelled() and future.exception() is None:
                result = future.result()
                if isinstance(result, FormatResult):
                    keep(result)


def _keep_next(
    waiting: deque[Future[FormatResult | _Failure]], keep: Callable[[FormatResult], None]
) -> None:
    result = waiting[0].result()
    waiting.popleft()
    if isinstance(result, _Failure):
        raise DatasetError(result.source, result.problems)
    keep(result)


def _evaluate(task: Task) -> FormatResult | _Failure:
    try:
        return evaluate_task(task)
    except DatasetError as error:
        return _Failure(error.source, error.problems)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    # Ctrl-C reaches the whole process group. A worker that was started with the signal blocked
    # finishes its task and is ended by its parent, which gets the signal when the block ends.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    _keep_freed_memory()
    _end_with_parent()


def _keep_freed_memory() -> None:
    """Let this worker keep the arrays that it frees; glibc gives large ones back each time.

    The integer model's intermediates are about 1 MB each. Faulting their pages in anew took more
    than half of the time of a study (two workers, default grid, quickstart run).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another C library decides for itself
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, _KEPT_BYTES)


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that ended: nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
