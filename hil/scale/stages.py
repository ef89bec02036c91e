"""Many jobs of several stages in one map: where one waits for its last results, others go on.

Tasks of the job that began first go first. Another job begins only when none that has begun has a
task to give, so few are open at a time, and a worker is without work only when no job is left.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from hil.core.errors import HilError
from hil.scale.work_pool import Later, WorkPool

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
OutcomeT = TypeVar("OutcomeT")


def _leave(_task: Any, _result: Any) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[TaskT, ResultT]):
    """Tasks of a job that can all be worked on at the same time."""

    function: Callable[[TaskT], ResultT]
    """A function of a module, as `WorkPool.map` takes it."""
    tasks: Sequence[TaskT]
    """What it is evaluated on; none is well."""
    on_result: Callable[[TaskT, ResultT], None] = _leave
    """Gets each task with its result, in the order of the tasks; nobody else keeps them."""


Job = Generator[Stage[Any, Any], None, OutcomeT]
"""Yields stages, goes on when all results of one are there, returns what it has come to. An error
of a task is raised in it, where it has yielded the stage."""


def work_through(
    jobs: Iterable[Job[OutcomeT]], *, pool: WorkPool
) -> Iterator[tuple[int, OutcomeT | HilError]]:
    """Yield what jobs have come to, each with its place among the jobs, as they end.

    Parameters
    ----------
    jobs
        What is to be done; taken one by one, as workers come free.
    pool
        Who works on the tasks.

    Returns
    -------
    For each job its outcome, or the error that has ended it: the others go on.

    Raises
    ------
    WorkerLostError
        If a worker is gone, or the whole cluster: that ends all of them.
    """
    queue = _Queue(jobs)
    for result in pool.map(_work, queue.tasks(), on_error=_error_itself):
        queue.take(result)
        yield from queue.ended()
    yield from queue.ended()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    function: Callable[[Any], Any]
    task: Any

    def __str__(self) -> str:
        return str(self.task)


def _work(call: _Call) -> Any:
    return call.function(call.task)


def _error_itself(error: HilError) -> Any:
    return error


class _OpenJob(Generic[OutcomeT]):
    """A job that has begun and not ended."""

    def __init__(self, place: int, job: Job[OutcomeT]) -> None:
        self.place = place
        self.job = job
        self.stage: Stage[Any, Any] = Stage(function=_work, tasks=())
        self.to_begin: deque[Any] = deque()
        self.missing = 0
        self.has_ended = False

    def enter(self, stage: Stage[Any, Any]) -> None:
        self.stage = stage
        self.to_begin = deque(stage.tasks)
        self.missing = len(stage.tasks)


class _Queue(Generic[OutcomeT]):
    """Which task is next, and whose result has come."""

    def __init__(self, jobs: Iterable[Job[OutcomeT]]) -> None:
        self._rest = enumerate(jobs)
        self._open: dict[int, _OpenJob[OutcomeT]] = {}
        self._under_way: deque[tuple[_OpenJob[OutcomeT], Any]] = deque()
        self._ended: deque[tuple[int, OutcomeT | HilError]] = deque()

    def tasks(self) -> Iterator[_Call | Later]:
        """Yield tasks as long as there are any, now or later."""
        while True:
            ready = next((job for job in self._open.values() if job.to_begin), None)
            if ready is not None:
                task = ready.to_begin.popleft()
                self._under_way.append((ready, task))
                yield _Call(function=ready.stage.function, task=task)
            elif not self._begin_another():
                if not self._under_way:
                    return
                yield Later.LATER

    def take(self, result: Any) -> None:
        """Give a result to the job whose task was begun first."""
        job, task = self._under_way.popleft()
        if job.has_ended:
            return
        if isinstance(result, HilError):
            self._go_on(job, partial(job.job.throw, result))
            return
        try:
            job.stage.on_result(task, result)
        except HilError as error:
            self._end(job, error)
            return
        job.missing -= 1
        if not job.missing:
            self._go_on(job, partial(next, job.job))

    def ended(self) -> Iterator[tuple[int, OutcomeT | HilError]]:
        """Yield the places and outcomes of jobs that have ended since."""
        while self._ended:
            yield self._ended.popleft()

    def _begin_another(self) -> bool:
        for place, job in self._rest:
            opened = _OpenJob(place, job)
            self._open[place] = opened
            self._go_on(opened, partial(next, job))
            return True
        return False

    def _go_on(self, job: _OpenJob[OutcomeT], resume: Callable[[], Stage[Any, Any]]) -> None:
        """Let a job go on to its next stage that has tasks, or to its end."""
        try:
            stage = resume()
            while not stage.tasks:
                stage = next(job.job)
        except StopIteration as end:
            self._end(job, end.value)
        except HilError as error:
            self._end(job, error)
        else:
            job.enter(stage)

    def _end(self, job: _OpenJob[OutcomeT], outcome: OutcomeT | HilError) -> None:
        job.has_ended = True
        job.job.close()
        job.to_begin.clear()
        del self._open[job.place]
        self._ended.append((job.place, outcome))
