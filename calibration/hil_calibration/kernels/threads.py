"""Run a compiled loop, which releases the interpreter lock, on several cores.

Plain threads and not numba's own parallel loops: no second thread pool beside the caller's, none
that breaks when a process forks, and a fraction of the compile time.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

ResultT = TypeVar("ResultT")


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chunks(length: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut 0 ... length into pieces of `size`, the last one shorter.

    Examples
    --------
    >>> list(chunks(10, 4))
    [(0, 4), (4, 8), (8, 10)]
    """
    return ((first, min(first + size, length)) for first in range(0, length, size))


def over_chunks(
    function: Callable[[int, int], ResultT], length: int, *, size: int, threads: int | None = None
) -> list[ResultT]:
    """Call ``function(first, stop)`` for every chunk and return the results in their order.

    Parameters
    ----------
    function
        What to run; it should release the interpreter lock.
    length, size
        What is cut, and into pieces of what size.
    threads
        How many run at once; all usable cores if None.
    """
    pieces = list(chunks(length, size))
    wanted = min(usable_cores() if threads is None else threads, len(pieces))
    if wanted <= 1:
        return [function(first, stop) for first, stop in pieces]
    with ThreadPoolExecutor(wanted) as pool:
        return list(pool.map(lambda piece: function(*piece), pieces))
