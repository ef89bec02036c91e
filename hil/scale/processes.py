"""Work in this process, and in several processes of this machine."""

import multiprocessing
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Generic

from hil.core.errors import HilError, WorkerLostError
from hil.scale.in_order import AHEAD, evaluated, in_order
from hil.scale.work_pool import ItemT, Later, ResultT
from hil.scale.worker_process import begin_worker, interrupts_held_back


class ThisProcess:
    """A `WorkPool` of nobody else."""

    workers = 1

    def map(
        self,
        function: Callable[[ItemT], ResultT],
        items: Iterable[ItemT | Later],
        *,
        on_leftover: Callable[[ResultT], None] | None = None,
        on_error: Callable[[HilError], ResultT] | None = None,
    ) -> Iterator[ResultT]:
        """Evaluate the items one after the other, each when its result is due."""
        for item in items:
            if item is not Later.LATER:
                yield evaluated(partial(function, item), on_error)


class ProcessPool:
    """A `WorkPool` of processes that live as long as it is open.

    Parameters
    ----------
    executor
        Where they come from.
    workers
        How many, 1 <= workers.
    at_end
        Ends what is under way when the pool closes.
    """

    def __init__(self, executor: ProcessPoolExecutor, *, workers: int, at_end: ExitStack) -> None:
        self._executor = executor
        self._at_end = at_end
        self._has_started = False
        self.workers = workers

    def map(
        self,
        function: Callable[[ItemT], ResultT],
        items: Iterable[ItemT | Later],
        *,
        on_leftover: Callable[[ResultT], None] | None = None,
        on_error: Callable[[HilError], ResultT] | None = None,
    ) -> Iterator[ResultT]:
        """Evaluate the items in the processes."""
        results = self._map(function, items, on_leftover, on_error)
        # Whoever iterates may fail; what is then ready must not wait for the garbage collector.
        self._at_end.callback(results.close)
        return results

    def _map(
        self,
        function: Callable[[ItemT], ResultT],
        items: Iterable[ItemT | Later],
        on_leftover: Callable[[ResultT], None] | None,
        on_error: Callable[[HilError], ResultT] | None,
    ) -> Generator[ResultT, None, None]:
        rest = iter(items)
        begun: list[ItemT | Later] = []
        for item in rest:
            if not self._has_started:
                # A process takes longer to start than most items take: one alone is done here.
                second = next(rest, Later.LATER)
                if item is not Later.LATER and second is Later.LATER:
                    yield evaluated(partial(function, item), on_error)
                    continue
                begun = [item, second]
            else:
                begun = [item]
            break
        if not begun:
            return

        def submit(item: ItemT) -> _PendingCall[ResultT]:
            self._has_started = True
            with _names_killed_workers(), interrupts_held_back():  # workers start here
                return _PendingCall(self._executor.submit(function, item))

        yield from in_order(
            chain(begun, rest),
            submit=submit,
            most=AHEAD * self.workers,
            on_leftover=on_leftover,
            on_error=on_error,
        )


@contextmanager
def open_processes(workers: int) -> Iterator[ProcessPool]:
    """Open a pool of processes of this machine; they start when there is work for them."""
    executor = ProcessPoolExecutor(
        max_workers=workers,
        # A fork would copy the locks of threads that it does not copy: the progress bar has one.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=begin_worker,
    )
    try:
        with ExitStack() as at_end:
            yield ProcessPool(executor, workers=workers, at_end=at_end)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _PendingCall(Generic[ResultT]):
    future: Future[ResultT]

    def result(self) -> ResultT:
        with _names_killed_workers():
            return self.future.result()

    def is_ready(self) -> bool:
        return self.future.done()

    def cancel(self) -> None:
        self.future.cancel()

    def finished(self) -> tuple[ResultT, ...]:
        try:
            return (self.future.result(),)  # one that has begun is waited for
        except (CancelledError, Exception):  # noqa: BLE001 - an error that was due is raised
            return ()


@contextmanager
def _names_killed_workers() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise WorkerLostError(
            "a worker process was killed, perhaps for want of memory: run the same command again, "
            "with fewer --workers"
        ) from error
