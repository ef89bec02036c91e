"""A Dask cluster on this machine: a scheduler and workers, each a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hil.scale.cluster import open_cluster

_STARTS_WITHIN_S = 60.0


@dataclass(frozen=True, kw_only=True)
class LocalCluster:
    """A running scheduler with workers of one thread each."""

    address: str
    """Where the scheduler listens."""
    folder: Path
    """Where its processes may write; gone afterwards."""
    scheduler: subprocess.Popen[bytes]
    """The scheduler."""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The workers."""

    def add_worker(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one more worker; it joins as soon as it has started."""
        worker = _dask(
            self.folder / f"worker{len(self.workers)}.txt",
            "worker",
            self.address,
            *("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"),
            *("--memory-limit", "0", "--local-directory", str(self.folder)),
            *("--death-timeout", "60"),  # none outlives a scheduler that was killed
            *words,
        )
        self.workers.append(worker)
        return worker

    def wait_for_workers(self, workers: int) -> None:
        """Wait until so many have joined.

        Raises
        ------
        TimeoutError
            If they do not within a minute.
        """
        deadline_s = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < deadline_s:
            with open_cluster(self.address) as pool:
                if pool.workers == workers:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{workers} workers have not joined")


@contextmanager
def local_cluster(workers: int, *, allowed_failures: int = 3) -> Iterator[LocalCluster]:
    """Start a scheduler and workers; end them when the body ends.

    Parameters
    ----------
    workers
        How many, 0 <= workers. They may still be starting when the body begins.
    allowed_failures
        How many workers an item may kill before the scheduler gives it up at the next one.

    Raises
    ------
    TimeoutError
        If the scheduler does not start.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "scheduler.json"
        scheduler = _dask(
            folder / "scheduler.txt",
            "scheduler",
            *("--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
            *("--scheduler-file", str(file)),
            allowed_failures=allowed_failures,
        )
        started = [scheduler]
        try:
            cluster = LocalCluster(
                address=_address(file, scheduler), folder=folder, scheduler=scheduler
            )
            started = cluster.workers  # first the workers: they would miss their scheduler
            for _ in range(workers):
                cluster.add_worker()
            yield cluster
        finally:
            for process in [*started, scheduler]:
                process.kill()
                process.wait()


def _dask(log: Path, *words: str, allowed_failures: int = 3) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures),
    }
    with log.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-m", "dask", *words], stdout=file, stderr=file, env=environment
        )


def _address(file: Path, scheduler: subprocess.Popen[bytes]) -> str:
    deadline_s = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < deadline_s and scheduler.poll() is None:
        try:
            return str(json.loads(file.read_bytes())["address"])
        except (OSError, ValueError):  # not there yet, or half of it
            time.sleep(0.05)
    raise TimeoutError(file.with_suffix(".txt").read_text())
