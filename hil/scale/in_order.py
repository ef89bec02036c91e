"""Results in the order of the items, with a bounded number of items under way."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Protocol, TypeVar

from hil.core.errors import HilError, WorkerLostError
from hil.scale.work_pool import ItemT, Later, ResultT

AHEAD = 4
"""Items that are under way for each worker: enough to keep it busy, few to lose at an end."""

_PendingT_co = TypeVar("_PendingT_co", covariant=True)


class Pending(Protocol[_PendingT_co]):
    """A result to come."""

    def result(self) -> _PendingT_co:
        """Wait for it."""
        ...

    def is_ready(self) -> bool:
        """Tell whether it, or its error, is there."""
        ...

    def cancel(self) -> None:
        """Do not begin it, if it has not begun."""
        ...

    def finished(self) -> tuple[_PendingT_co, ...]:
        """Return it if it is there, after `cancel`."""
        ...


def in_order(
    items: Iterable[ItemT | Later],
    *,
    submit: Callable[[ItemT], Pending[ResultT]],
    most: int,
    on_leftover: Callable[[ResultT], None] | None,
    on_error: Callable[[HilError], ResultT] | None,
) -> Generator[ResultT, None, None]:
    """Yield the results in the order of the items.

    Parameters
    ----------
    items
        What to work on; taken one by one.
    submit
        Hands an item to the workers.
    most
        Items that are under way, or done and not yet due, at the same time.
    on_leftover
        Who gets what is ready but not yet due when the iteration ends early.
    on_error
        What an item comes to whose function has failed; without it the error is raised.
    """
    waiting: deque[Pending[ResultT]] = deque()
    try:
        for item in items:
            if item is Later.LATER:
                yield _next_of(waiting, on_error)
            else:
                waiting.append(submit(item))
            # What is due is given away at once: others may wait for it to begin.
            while waiting and (len(waiting) >= most or waiting[0].is_ready()):
                yield _next_of(waiting, on_error)
        while waiting:
            yield _next_of(waiting, on_error)
    finally:
        for pending in waiting:
            pending.cancel()
        for pending in waiting:
            for result in pending.finished():
                if on_leftover is not None:
                    on_leftover(result)


def evaluated(
    find: Callable[[], ResultT], on_error: Callable[[HilError], ResultT] | None
) -> ResultT:
    """Return a result, or what its error comes to."""
    try:
        return find()
    except WorkerLostError:
        raise
    except HilError as error:
        if on_error is None:
            raise
        return on_error(error)


def _next_of(
    waiting: deque[Pending[ResultT]], on_error: Callable[[HilError], ResultT] | None
) -> ResultT:
    result = evaluated(waiting[0].result, on_error)
    waiting.popleft()
    return result
