"""Work in this process and in several of this machine."""

import os
import pickle
import signal
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path

import pytest

import scale_functions
from hil.core.errors import (
    ConfigError,
    DatasetError,
    DeviceError,
    HilError,
    Problem,
    TransportError,
    WorkerLostError,
)
from hil.scale.pool import open_pool

SQUARES = [0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 121, 144, 169, 196, 225]


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    with open_pool(workers=workers) as pool:
        assert list(pool.map(scale_functions.square, range(16))) == SQUARES


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_taken_as_workers_come_free(workers: int) -> None:
    items = count()
    with open_pool(workers=workers) as pool:
        first = list(islice(pool.map(scale_functions.square, items), 5))
    assert first == [0, 1, 4, 9, 16]
    assert next(items) <= 5 + 8  # four for each of two workers


@pytest.mark.parametrize("workers", [1, 2])
def test_error_of_a_worker_has_its_class_and_every_problem(workers: int) -> None:
    with open_pool(workers=workers) as pool:
        results = pool.map(scale_functions.complain, range(9))
        assert list(islice(results, 3)) == [0, 1, 2]
        with pytest.raises(DatasetError) as caught:
            next(results)
    assert caught.value.source == "run"
    assert caught.value.problems == (
        Problem("/raw", "is gone"),
        Problem("line", "is cut", line=7),
    )
    assert str(caught.value) == "run: 2 problems:\n  /raw: is gone\n  run:7: line: is cut"


def test_error_of_the_device_crosses_processes_with_code_and_request() -> None:
    with open_pool(workers=2) as pool, pytest.raises(DeviceError) as caught:
        list(pool.map(scale_functions.refuse, [1, 2]))
    assert (caught.value.code, caught.value.request) == (-222, "READ?")
    assert str(caught.value) == "device error -222: Data out of range 1 (request: READ?)"


@pytest.mark.parametrize(
    "error",
    [
        HilError("words"),
        TransportError("the cable"),
        ConfigError("a.toml", [Problem("seed", "must be positive", line=2, source="b.toml")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_is_the_same_after_pickling(error: HilError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_results_that_are_ready_when_the_work_ends_early_are_handed_over() -> None:
    left: list[int] = []
    with open_pool(workers=2) as pool:
        results = pool.map(scale_functions.square, range(8), on_leftover=left.append)
        assert list(islice(results, 2)) == [0, 1]  # and no more are asked for
    assert left == [4, 9, 16, 25, 36, 49][: len(left)]
    assert left


def test_worker_that_was_killed_is_an_error_that_says_so() -> None:
    with (
        open_pool(workers=2) as pool,
        pytest.raises(WorkerLostError, match="killed, perhaps for want of memory: run the same"),
    ):
        list(pool.map(scale_functions.die, range(4)))


def test_no_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match="--workers: 0: must be 1 or more"), open_pool(workers=0):
        pass


PARENT = """
import sys
from pathlib import Path
import scale_functions
from hil.scale.pool import open_pool

if __name__ == "__main__":
    with open_pool(workers=2) as pool:
        list(pool.map(scale_functions.note_and_wait, [Path(sys.argv[1])] * 2))
"""


def wait_until(what: str, deadline_s: float, condition: object) -> None:
    assert callable(condition)
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    notes = tmp_path / "notes"
    notes.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen(
        [sys.executable, script, notes], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_until("the workers begin", 60, lambda: len(list(notes.iterdir())) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    workers = [int(note.name) for note in notes.iterdir()]
    wait_until("the workers end", 20, lambda: not any(map(is_alive, workers)))
