"""How fast readouts are stored, read again, opened and checked, beside the bare system calls.

``python -m benchmarks.storage [--quick] [--json FILE]``

Whatever is compared takes turns in one run, in one file system. All of it is in memory
already, in the system's page cache; only whole steps are written to the disk, like the file beside
them.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import numpy.typing as npt

from benchmarks.machine import describe_machine, load_average
from benchmarks.verify import BLOCK, COLUMNS, ROWS, conclusion, make_run, origin_of
from hil.core.readout import ReadMode
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.opened_run import open_run
from hil_datasets.run_directory import RunDirectory, open_directory
from hil_datasets.step import StepKey
from hil_datasets.step_files.part import StepLayout
from hil_datasets.step_files.writer import StepWriter

_KEY = StepKey(0, ReadMode.ONE_PHASE)

Times = dict[str, list[float]]
"""Seconds of every execution, by what was executed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files: seconds, rough ratios")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time here")
    options = parser.parse_args(arguments)
    machine = describe_machine()
    repeats, vectors = (3, 2 * BLOCK) if options.quick else (9, 8 * BLOCK)
    with tempfile.TemporaryDirectory(prefix="hil-storage-") as name:
        folder = Path(name)
        parts = {
            f"writing blocks of {block} vectors, {ROWS} rows, {COLUMNS} columns": _time_writing(
                folder, block=block, vectors=vectors, repeats=repeats
            )
            for block in (128, 2048)
        }
        run = make_run(folder / "run", steps=1 if options.quick else 3, vectors=2 * vectors)
        parts["reading the counts of a core"] = _time_reading(run, repeats=repeats)
        parts["opening a run of 1,000 steps"] = _time_opening(folder, repeats=repeats)
        parts["verifying a run"] = _time_verifying(run, repeats=min(repeats, 5))
    machine["load_average_after"] = load_average()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']:.1f}")
    for title, (size, times) in parts.items():
        print("\n".join(("", title, *_table(size, times))))
    if options.json:
        stored = {
            title: {"bytes": size, "seconds": times} for title, (size, times) in parts.items()
        }
        options.json.write_text(json.dumps({"machine": machine, **stored}, indent=1) + "\n")


def _table(size: int, times: Times) -> list[str]:
    """Return a line for each way; ratios are to the first."""
    plain = median(next(iter(times.values())))
    return [
        f"  {name:52}{1e3 * median(seconds):9.2f} ms"
        + (
            f"{size / median(seconds) / 1e9:8.2f} GB/s{plain / median(seconds):8.2f}"
            if size
            else ""
        )
        for name, seconds in times.items()
    ]


def _in_turns(ways: dict[str, Callable[[], float]], repeats: int) -> Times:
    """Return the seconds that each way says it took; a first round warms up."""
    times: Times = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            seconds = way()
            if turn:
                times[name].append(seconds)
    return times


def _timed(way: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        begin = time.perf_counter()
        way()
        return time.perf_counter() - begin

    return timed


def _time_writing(folder: Path, *, block: int, vectors: int, repeats: int) -> tuple[int, Times]:
    """Time bare `write` and `StepWriter` with the same arrays: the blocks, and whole files."""
    rng = np.random.default_rng(0)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "inputs": rng.integers(-128, 128, (block, ROWS), np.int8),
        "counts": rng.integers(0, 1024, (block, 2, COLUMNS), np.uint16),
        "expected": rng.integers(-9999, 9999, (block, COLUMNS), np.int32),
    }
    blocks = vectors // block

    def write_plainly(*, is_whole: bool) -> float:
        path = folder / "plain"
        begin = time.perf_counter()
        with path.open("wb", buffering=0) as file:
            for _ in range(blocks):
                for array in arrays.values():
                    file.write(array.data)
            if is_whole:
                os.fsync(file.fileno())
        seconds = time.perf_counter() - begin
        path.unlink()
        return seconds

    def write_step(*, is_whole: bool) -> float:
        origin = origin_of(vectors)
        firsts = tuple(range(0, vectors, block))
        layout = StepLayout(blocks=firsts, keeps_outputs=False, config_sha256="")
        weights = np.zeros((ROWS, COLUMNS), np.int8)
        path = folder / "step.h5"
        made = time.perf_counter()
        with StepWriter(path, key=_KEY, origin=origin, weights=weights, layout=layout) as writer:
            begin = time.perf_counter()
            for first in firsts:
                writer.write_block(first, times=(0.0, 1.0), **arrays)  # type: ignore[arg-type]
            seconds = time.perf_counter() - begin
            if is_whole:
                writer.finish(conclusion())
                seconds = time.perf_counter() - made
        for left in folder.glob("step.h5*"):
            left.unlink()
        return seconds

    ways = {
        "write() of the same arrays": lambda: write_plainly(is_whole=False),
        "StepWriter.write_block": lambda: write_step(is_whole=False),
        "write() and fsync()": lambda: write_plainly(is_whole=True),
        "StepWriter, from nothing to the finished file": lambda: write_step(is_whole=True),
    }
    return blocks * sum(array.nbytes for array in arrays.values()), _in_turns(ways, repeats)


def _time_reading(run: RunDirectory, *, repeats: int) -> tuple[int, Times]:
    """Time adding up the counts of a core: out of a bare memmap, and as this project gives them."""
    key = run.finished_steps()[0]
    with h5py.File(run.step_path(key), "r") as file:
        place, shape, size = file["raw"].id.get_offset(), file["raw"].shape, file["raw"].nbytes
    source = open_directory(run.path)
    opened = open_run(run.path).steps[key]

    def add(counts: npt.NDArray[np.uint16]) -> None:
        counts.reshape(-1).view(np.uint64).sum()

    def scan() -> None:
        add(np.memmap(run.step_path(key), np.uint16, "r", offset=place, shape=shape))

    add(opened.raw)
    ways = {
        "scan of a memmap": scan,
        "raw of an open step, again": lambda: add(opened.raw),
        "raw of a step, opened and checked": lambda: add(source.readouts(key).raw),
        "read_step: all of it, every hash": lambda: add(source.read_step(key).raw),
    }
    return size, _in_turns({name: _timed(way) for name, way in ways.items()}, repeats)


def _time_opening(folder: Path, *, repeats: int, steps: int = 1000) -> tuple[int, Times]:
    """Time listing the steps of a long run, and reading what one of them concludes."""
    run = make_run(folder / "long", steps=1, vectors=2 * BLOCK)
    first = run.step_path(run.finished_steps()[0])
    (said,) = (event for event in run.events() if event["event"] == "step")
    for core in range(1, steps):
        path = run.step_path(replace(_KEY, core=core))
        path.symlink_to(first.name)  # what opening does not look into
        line = json.dumps({**said, "core": core, "read_mode": str(said["read_mode"])})
        with run.journal_path.open("a") as journal:
            journal.write(line + "\n")

    def list_steps() -> None:
        if len(open_run(run.path).steps) != steps:
            raise ValueError("the run has lost steps")

    def read_correction() -> None:
        open_run(run.path).steps[_KEY].corrections.a_p.sum()

    ways = {
        "open_run, and its list of steps": list_steps,
        "... and the correction of one": read_correction,
    }
    times = _in_turns({name: _timed(way) for name, way in ways.items()}, repeats)
    shutil.rmtree(run.path)
    return 0, times


def _time_verifying(run: RunDirectory, *, repeats: int) -> tuple[int, Times]:
    """Time SHA-256 of the step files and a whole verification; processor time of that as well."""
    paths = sorted((run.path / "steps").iterdir())
    used: list[float] = []

    def hash_all() -> None:
        for path in paths:
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")

    def verify() -> None:
        before = _processor_s()
        check(is_quick=False)
        used.append(_processor_s() - before)

    def check(*, is_quick: bool) -> None:
        found = verify_run(run.path, is_quick=is_quick)
        if not found.is_whole:
            raise ValueError(f"the run is not whole: {found.findings[0]}")

    ways = {
        "SHA-256 of the step files, once": hash_all,
        "verify": verify,
        "verify --quick, which reads no readouts": lambda: check(is_quick=True),
    }
    times = _in_turns({name: _timed(way) for name, way in ways.items()}, repeats)
    times["verify, processor time of all cores"] = used[1:]
    return sum(path.stat().st_size for path in paths), times


def _processor_s() -> float:
    """Return the processor time of this process and of those it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


if __name__ == "__main__":
    main()
