"""Work on a Dask cluster: the scheduler sees names, paths and small results, never raw data.

An item is a path with settings; a worker reads the file itself, from storage that all machines see
under the same path. What a function returns is pickled by the worker and refused above a limit, so
that nothing large can pass through the scheduler by mistake.

A worker that dies loses what it was at; the scheduler gives that to another one. It gives up an
item after some deaths, and with it whatever else had waited at the same workers: so an item that
was given up is tried once more before it is blamed.
"""

import asyncio
import logging
import pickle
import re
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic

from hil.core.errors import ConfigError, HilError, Problem, WorkerLostError
from hil.core.extras import load_extra
from hil.scale.greeting import NoSchedulerError, check_greeting
from hil.scale.in_order import AHEAD, in_order
from hil.scale.software import SoftwareDiffersError, check_software, software
from hil.scale.work_pool import ItemT, Later, ResultT
from hil.scale.worker_process import keep_freed_memory

_ADDRESS = re.compile(r"(tcp|tls)://[^/\s]+:[0-9]{1,5}")
_LOOKS_EVERY_S = 5.0
_LARGEST_RESULT_BYTES = 16 << 20
_FEWEST_AHEAD = 64
"""Items under way on a cluster however small it is now: workers may join."""
_NAME_LENGTH = 200


class ClusterPool:
    """A `WorkPool` of the workers of a Dask cluster.

    Parameters
    ----------
    distributed
        The library.
    client
        A connection to the scheduler.
    workers
        Threads of all workers, as they are now.
    patience_s
        How long a cluster may be without any worker.
    at_end
        Ends what is under way when the pool closes.
    """

    def __init__(
        self, distributed: Any, client: Any, *, workers: int, patience_s: float, at_end: ExitStack
    ) -> None:
        self._distributed = distributed
        self._client = client
        self._patience_s = patience_s
        self._at_end = at_end
        self.workers = workers

    def map(
        self,
        function: Callable[[ItemT], ResultT],
        items: Iterable[ItemT | Later],
        *,
        on_leftover: Callable[[ResultT], None] | None = None,
        on_error: Callable[[HilError], ResultT] | None = None,
    ) -> Iterator[ResultT]:
        """Evaluate the items on the cluster."""
        results = self._map(function, items, on_leftover, on_error)
        self._at_end.callback(results.close)
        return results

    def _map(
        self,
        function: Callable[[ItemT], ResultT],
        items: Iterable[ItemT | Later],
        on_leftover: Callable[[ResultT], None] | None,
        on_error: Callable[[HilError], ResultT] | None,
    ) -> Generator[ResultT, None, None]:
        yield from in_order(
            items,
            submit=lambda item: _PendingTask(self, function, item),
            most=max(AHEAD * self.workers, _FEWEST_AHEAD),
            on_leftover=on_leftover,
            on_error=on_error,
        )

    def submit(self, function: Callable[[ItemT], Any], item: ItemT) -> Any:
        """Hand an item to the scheduler; return the library's future of its pickled result."""
        name = getattr(function, "__name__", "item")
        with _names_lost_cluster():
            return self._client.submit(
                _work, function, item, software(), key=f"{name}-{uuid.uuid4().hex}", pure=False
            )

    def wait(self, future: Any) -> bytes:
        """Wait for a future, however long, as long as there are workers."""
        left_alone_s: float | None = None
        while True:
            try:
                answer: bytes = future.result(timeout=_LOOKS_EVERY_S)
            except TimeoutError:
                if future.status == "error":  # the function's own
                    raise future.exception() from None
                left_alone_s = self._left_alone_since(left_alone_s)
            except (CancelledError, asyncio.CancelledError) as error:
                raise _lost_cluster() from error
            except OSError as error:
                if future.status == "error":
                    raise
                raise _lost_cluster() from error  # while the result was on its way
            else:
                return answer

    @property
    def killed_error(self) -> type[Exception]:
        """What the library raises for an item that has killed its workers."""
        kind: type[Exception] = self._distributed.scheduler.KilledWorker
        return kind

    def _left_alone_since(self, since_s: float | None) -> float | None:
        with _names_lost_cluster():
            if self._client.nthreads():
                return None
        now_s = time.monotonic()
        if since_s is not None and now_s - since_s > self._patience_s:
            raise WorkerLostError(
                f"the cluster has had no worker for {self._patience_s:.0f} s: start workers and "
                "run the same command again"
            )
        return now_s if since_s is None else since_s


@contextmanager
def open_cluster(
    address: str,
    *,
    patience_s: float = 60.0,
    connects_within_s: float = 10.0,
    on_wait: Callable[[str], None] = lambda _words: None,
) -> Iterator[ClusterPool]:
    """Connect to a Dask scheduler, and leave it as it was when the body ends.

    Parameters
    ----------
    address
        Where it listens, as in ``tcp://scheduler:8786``.
    patience_s
        How long it may be without any worker.
    connects_within_s
        How long the scheduler may take to answer.
    on_wait
        Told, in words, when there is no worker yet and one is waited for.

    Raises
    ------
    ConfigError
        If the library is missing, the address is none, nobody answers there, the software there
        is another, or there is no worker in time.
    """
    distributed = _load_distributed()
    if not _ADDRESS.fullmatch(address):
        raise _refused(address, "is no address of a scheduler, as in tcp://scheduler:8786")
    with _quiet_log(), ExitStack() as at_end:
        client = at_end.enter_context(_connected(distributed, address, connects_within_s))
        _check_scheduler(client, address)
        if not client.nthreads():
            on_wait(
                f"{address} has no workers yet: waiting up to {patience_s:.0f} s for one; start "
                f"some with: dask worker {address}"
            )
        workers = _checked_workers(client, address, patience_s)
        # Closed before the connection: what is left over is fetched through it.
        ends = at_end.enter_context(ExitStack())
        yield ClusterPool(distributed, client, workers=workers, patience_s=patience_s, at_end=ends)


@dataclass(slots=True)
class _PendingTask(Generic[ResultT]):
    pool: ClusterPool
    function: Callable[[Any], ResultT]
    item: Any
    future: Any = None

    def __post_init__(self) -> None:
        self.future = self.pool.submit(self.function, self.item)

    def result(self) -> ResultT:
        try:
            answer = self.pool.wait(self.future)
        except self.pool.killed_error:
            answer = self._second_try()
        except ModuleNotFoundError as error:
            raise HilError(f"a worker cannot work on {_name(self.item)}: {error}") from error
        return self._opened(answer)

    def _second_try(self) -> bytes:
        self.future = self.pool.submit(self.function, self.item)
        try:
            return self.pool.wait(self.future)
        except self.pool.killed_error as error:
            deaths = getattr(error, "allowed_failures", 2) + 1
            raise WorkerLostError(
                f"{_name(self.item)}: the workers that worked on it died, {deaths} one after the "
                "other, perhaps for want of memory; their logs say more"
            ) from error

    def is_ready(self) -> bool:
        return bool(self.future.done())

    def cancel(self) -> None:
        with suppress(Exception):  # a scheduler that is gone has forgotten it anyway
            if not self.future.done():
                self.future.cancel()

    def finished(self) -> tuple[ResultT, ...]:
        try:
            if self.future.status == "finished":
                return (self._opened(self.future.result(timeout=_LOOKS_EVERY_S)),)
        except Exception:  # noqa: BLE001 - an error that was due is raised
            return ()
        return ()

    def _opened(self, answer: bytes) -> ResultT:
        result: ResultT = pickle.loads(answer)  # noqa: S301 - from our own function
        return result


def _work(function: Callable[[Any], Any], item: Any, expected: dict[str, str]) -> bytes:
    """Evaluate an item in a worker of the cluster."""
    check_software(expected)
    keep_freed_memory()
    answer = pickle.dumps(function(item))
    if len(answer) > _LARGEST_RESULT_BYTES:
        raise HilError(
            f"{_name(item)}: a result of {len(answer)} bytes; at most {_LARGEST_RESULT_BYTES} go "
            "through a scheduler: use --workers"
        )
    return answer


def _name(item: Any) -> str:
    name = str(item)
    return name if len(name) <= _NAME_LENGTH else f"{name[:_NAME_LENGTH]}..."


def _load_distributed() -> Any:
    library = "the library distributed"
    return load_extra("distributed", purpose="--cluster", library=library, extra="cluster")


@contextmanager
def _quiet_log() -> Iterator[None]:
    # The library logs what it also raises; the command has its own words for that. It gives some
    # of its loggers a level of their own.
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = {log: log.level for log in map(logging.getLogger, ["distributed", *names])}
    for log in levels:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)


@contextmanager
def _connected(distributed: Any, address: str, within_s: float) -> Iterator[Any]:
    try:
        check_greeting(address, within_s=within_s)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of differing versions, which are refused below
            client = distributed.Client(address, timeout=within_s, set_as_default=False)
    except Exception as error:  # the library fails in any way on what it cannot read
        told = str(error) if isinstance(error, NoSchedulerError) else _no_answer(error)
        raise _refused(address, f"{told}; start one with: dask scheduler") from error
    try:
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.close(timeout=_LOOKS_EVERY_S)


def _check_scheduler(client: Any, address: str) -> None:
    versions = client.get_versions(check=False)
    theirs, ours = versions["scheduler"]["packages"], versions["client"]["packages"]
    for name in ("distributed", "dask"):
        if theirs.get(name) != ours.get(name):
            reason = (
                f"the scheduler has {name} {theirs.get(name)}, this machine has "
                f"{ours.get(name)}: install the same version on both"
            )
            raise _refused(address, reason)


def _checked_workers(client: Any, address: str, patience_s: float) -> int:
    """Return how many threads the workers have, all with this machine's software."""
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError as error:
        reason = f"has no workers after {patience_s:.0f} s: start some with: dask worker {address}"
        raise _refused(address, reason) from error
    answers: dict[str, Any] = client.run(check_software, software(), on_error="return")
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, SoftwareDiffersError | ImportError):
            raise _refused(address, f"worker {worker}: {answer}")
    threads: dict[str, int] = client.nthreads()
    return max(sum(threads.values()), 1)


@contextmanager
def _names_lost_cluster() -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, CancelledError) as error:  # a closed link, a closed client
        raise _lost_cluster() from error


def _lost_cluster() -> WorkerLostError:
    return WorkerLostError(
        "the connection to the scheduler of the cluster is lost: see that it runs, and run the "
        "same command again"
    )


def _refused(address: str, reason: str) -> ConfigError:
    return ConfigError(f"--cluster {address}", [Problem("", reason)])


def _no_answer(error: Exception) -> str:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return f"no scheduler answers there ({first})"
