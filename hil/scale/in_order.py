"""Results in the order of the items, with a bounded number of items under way."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Protocol, TypeVar

from hil.scale.work_pool import ItemT, ResultT

AHEAD = 4
"""Items that are under way for each worker: enough to keep it busy, few to lose at an end."""

_PendingT_co = TypeVar("_PendingT_co", covariant=True)


class Pending(Protocol[_PendingT_co]):
    """A result to come."""

    def result(self) -> _PendingT_co:
        """Wait for it."""
        ...

    def cancel(self) -> None:
        """Do not begin it, if it has not begun."""
        ...

    def finished(self) -> tuple[_PendingT_co, ...]:
        """Return it if it is there, after `cancel`."""
        ...


def in_order(
    items: Iterable[ItemT],
    *,
    submit: Callable[[ItemT], Pending[ResultT]],
    most: int,
    on_leftover: Callable[[ResultT], None] | None,
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
    """
    waiting: deque[Pending[ResultT]] = deque()
    try:
        for item in items:
            waiting.append(submit(item))
            if len(waiting) >= most:
                yield _next_of(waiting)
        while waiting:
            yield _next_of(waiting)
    finally:
        for pending in waiting:
            pending.cancel()
        for pending in waiting:
            for result in pending.finished():
                if on_leftover is not None:
                    on_leftover(result)


def _next_of(waiting: deque[Pending[ResultT]]) -> ResultT:
    result = waiting[0].result()
    waiting.popleft()
    return result
