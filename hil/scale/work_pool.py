"""What every pool of workers does."""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Protocol, TypeVar

from hil.core.errors import HilError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Later(Enum):
    """What stands among the items where the next one follows from a result that is not there yet.

    Something must be under way: the next result is then waited for before an item is taken again.
    """

    LATER = "later"


class WorkPool(Protocol):
    """Workers that evaluate a function on many items."""

    @property
    def workers(self) -> int:
        """How many items are worked on at the same time, at most."""
        ...

    def map(
        self,
        function: Callable[[ItemT], ResultT],
        items: Iterable[ItemT | Later],
        *,
        on_leftover: Callable[[ResultT], None] | None = None,
        on_error: Callable[[HilError], ResultT] | None = None,
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
        on_error
            What is the result of an item whose function has raised this error; without it the
            error is raised here and ends the iteration. A lost worker always does.

        Raises
        ------
        WorkerLostError
            If a worker is gone, or the whole cluster.
        """
        ...
