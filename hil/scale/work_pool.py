"""What every pool of workers does."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class WorkPool(Protocol):
    """Workers that evaluate a function on many items."""

    @property
    def workers(self) -> int:
        """How many items are worked on at the same time, at most."""
        ...

    def map(
        self,
        function: Callable[[ItemT], ResultT],
        items: Iterable[ItemT],
        *,
        on_leftover: Callable[[ResultT], None] | None = None,
    ) -> Iterator[ResultT]:
        """Evaluate a function on each item; yield the results in the order of the items.

        Items are taken as workers come free, a few ahead of the result that is due, so that
        neither the items nor the results are ever held all at once.

        Parameters
        ----------
        function
            A function of a module, not of another function: its name is what is sent. Its
            errors are raised here, as they were raised there.
        items
            Small and picklable: paths, numbers, settings. Data stay in files.
        on_leftover
            Called, when the iteration ends early, with every result that was ready but not yet
            due; at the latest when the pool closes.

        Raises
        ------
        WorkerLostError
            If a worker is gone, or the whole cluster.
        """
        ...
