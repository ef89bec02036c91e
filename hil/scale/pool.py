"""`open_pool`: the one place that decides where work is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hil.core.errors import ConfigError, Problem
from hil.scale.processes import ThisProcess, open_processes
from hil.scale.work_pool import WorkPool


@contextmanager
def open_pool(
    *,
    workers: int = 1,
    cluster: str | None = None,
    on_wait: Callable[[str], None] = lambda _words: None,
) -> Iterator[WorkPool]:
    """Open workers; they are gone, or given back, when the body ends.

    Parameters
    ----------
    workers
        Processes of this machine, 1 <= workers; with 1, this process.
    cluster
        Address of a Dask scheduler, as in ``tcp://scheduler:8786``; `workers` is then not used.
    on_wait
        Told, in words, when the cluster has no workers yet and one is waited for.

    Raises
    ------
    ConfigError
        If there are less than one worker, or the cluster cannot be used: the library is missing,
        nobody answers, the software there is another, or it has no workers.

    Examples
    --------
    >>> with open_pool() as pool:
    ...     list(pool.map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    if cluster is not None:
        from hil.scale.cluster import open_cluster  # noqa: PLC0415 - an optional library

        with open_cluster(cluster, on_wait=on_wait) as pool:
            yield pool
    elif workers == 1:
        yield ThisProcess()
    elif workers < 1:
        raise ConfigError("--workers", [Problem("", f"{workers}: must be 1 or more")])
    else:
        with open_processes(workers) as processes:
            yield processes
