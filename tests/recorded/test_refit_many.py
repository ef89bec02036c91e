"""Many runs fitted again at the same time: one map over the steps of all of them."""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import ended_processes, start_hil
from hil.core.errors import DatasetError, HilError
from hil.core.readout import ReadMode
from hil.recorded.refit_files import RefitReport, RefitTarget, refit_files
from hil.recorded.refit_options import RefitOptions
from hil.recorded.refit_plan import RefitSelection
from hil.recorded.refit_step import RangeTask, StepTask
from hil.scale.in_order import in_order
from hil.scale.pool import open_pool
from hil.scale.work_pool import Later
from recorded_runs import command

CHIPS = ("first", "second", "third")
ONE_MODE = ("--read-mode", "one_phase")
ONE_PHASE = RefitSelection(read_modes=[ReadMode.ONE_PHASE])


@pytest.fixture(scope="module")
def bench(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the runs of three chips, the second of them damaged."""
    folder = tmp_path_factory.mktemp("bench")
    for chip in CHIPS:
        shutil.copytree(run, folder / "runs" / chip)
    damaged = folder / "runs" / "second" / "steps" / "core00_one_phase.h5"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    return folder


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_and_words_are_the_same_for_any_number_of_workers(
    bench: Path, run: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.hil.h5"
    assert command("calibrate", "fit", run, "--out", alone, *ONE_MODE).code == 0
    words = []
    for workers in (1, 3):
        out = tmp_path / f"out{workers}"
        done = command("calibrate", "fit", bench / "runs", "--out", out, *ONE_MODE,
                       "--workers", workers)  # fmt: skip
        assert done.code == 5
        assert sorted(path.name for path in out.iterdir()) == ["first.hil.h5", "third.hil.h5"]
        assert {sha256_of(path) for path in out.iterdir()} == {sha256_of(alone)}
        words.append((done.stdout.replace(str(out), "OUT"), done.stderr))
    assert words[0] == words[1]
    told = [line for line in words[0][0].splitlines() if ", fitted again: " in line]
    assert [Path(line.split(",")[0]).name for line in told] == ["first", "third"]
    error, count = words[0][1].splitlines()
    assert error.startswith("error: ")
    assert "second/steps/core00_one_phase.h5" in error
    assert count == ("1 of 3 runs could not be fitted and have no new file: see the errors above")


class NotedPool:
    """Eight items under way, each worked on when its result is due: no process, and a diary."""

    workers = 2

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended = 0
        self.largest = 0

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any | Later],
        *,
        on_leftover: Callable[[Any], None] | None = None,
        on_error: Callable[[HilError], Any] | None = None,
    ) -> Iterator[Any]:
        def submit(item: Any) -> "Noted":
            self.begun.append(item.task)
            self.largest = max(self.largest, len(self.begun) - self.ended)
            return Noted(self, function, item)

        yield from in_order(
            items, submit=submit, most=8, on_leftover=on_leftover, on_error=on_error
        )


class Noted:
    def __init__(self, pool: NotedPool, function: Callable[[Any], Any], item: Any) -> None:
        self._pool, self._function, self._item = pool, function, item

    def result(self) -> Any:
        self._pool.ended += 1
        return self._function(self._item)

    def is_ready(self) -> bool:
        return False

    def cancel(self) -> None:
        pass

    def finished(self) -> tuple[Any, ...]:
        return ()


def fit_three(bench: Path, out: Path, pool: NotedPool) -> list[RefitReport | HilError]:
    targets = [
        RefitTarget(run=bench / "runs" / chip, file=out / f"{chip}.hil.h5") for chip in CHIPS
    ]
    with open_pool() as writers:
        return list(
            refit_files(
                targets,
                RefitOptions(),
                pool=pool,
                writers=writers,
                selection=ONE_PHASE,
            )
        )


def test_steps_of_the_next_run_are_begun_while_one_waits_for_its_own(
    bench: Path, tmp_path: Path
) -> None:
    pool = NotedPool()
    reports = fit_three(bench, tmp_path, pool)
    assert [type(report) for report in reports] == [RefitReport, DatasetError, RefitReport]
    assert pool.largest == 8
    begun = [task.source.name for task in pool.begun]
    assert begun[:3] == ["first", "second", "third"]
    fitted = [task.source.name for task in pool.begun if isinstance(task, StepTask | RangeTask)]
    # The calibration of each, and the steps that judge it as soon as that is fitted; the damage of
    # the second run has been found.
    assert fitted == ["first", "third", *["first"] * 4, *["third"] * 4]


def test_results_of_a_run_are_let_go_before_the_ones_after_it_are_fitted(
    bench: Path, tmp_path: Path
) -> None:
    targets = [
        RefitTarget(run=bench / "runs" / "first", file=tmp_path / f"{number}.hil.h5")
        for number in range(2)
    ]
    there: list[int] = []

    def on_step(place: int, done: int, _of: int) -> None:
        if done == 1:
            there.append(len(list(tmp_path.iterdir())))

    with open_pool() as pool:
        reports = refit_files(
            targets,
            RefitOptions(),
            pool=pool,
            writers=pool,
            selection=ONE_PHASE,
            on_step=on_step,
        )
        steps = [len(report.steps) for report in reports if isinstance(report, RefitReport)]
    assert steps == [5, 5]
    assert there == [0, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_fit_leaves_only_whole_files(run: Path, tmp_path: Path, workers: int) -> None:
    for number in range(12):
        shutil.copytree(run, tmp_path / "runs" / f"chip{number:02d}")
    out = tmp_path / "out"
    with ended_processes():
        words = ("calibrate", "fit", "runs", "--out", "out", *ONE_MODE, "--workers", workers)
        started = start_hil(*words, cwd=tmp_path)
        end_s = time.monotonic() + 90
        while not list(out.glob("*.hil.h5")):
            assert started.poll() is None, started.communicate()
            assert time.monotonic() < end_s
            time.sleep(0.01)
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=60)
    assert (started.returncode, said) == (130, "interrupted\n")
    files = sorted(out.iterdir())
    assert 1 <= len(files) < 12
    assert all(path.name.endswith(".hil.h5") for path in files)
    assert len({sha256_of(path) for path in files}) == 1
    assert command("data", "verify", files[-1]).code == 0
