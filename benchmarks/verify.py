"""How fast `hil data verify` reads a run, beside SHA-256 on its bytes; and many damaged files."""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.machine import describe_machine
from hil.core.correction import Correction
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.index import write_index
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.run_directory import RunDirectory, create_run
from hil_datasets.step import StepConclusion, StepKey, StepOrigin
from hil_datasets.step_files.writer import StepWriter

ROWS, COLUMNS, BLOCK = 512, 256, 4096
_UTC = "2026-01-01T00:00:00+00:00"
_CAMPAIGN = b"schema_version = 1\n"


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small run: seconds, rough ratios")
    parser.add_argument("--fuzz", type=int, default=0, metavar="N", help="damage N files as well")
    options = parser.parse_args()
    steps, vectors, repeats = (2, 4 * BLOCK, 2) if options.quick else (4, 24 * BLOCK, 3)
    machine = describe_machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "run", steps=steps, vectors=vectors)
        print("\n".join(measure(run, repeats=repeats)))
    if options.fuzz:
        _damage_files(options.fuzz)


def make_run(folder: Path, *, steps: int, vectors: int) -> RunDirectory:
    """Write a run of so many steps of 512 rows and 256 columns, with random readouts."""
    run = create_run(folder, _CAMPAIGN)
    sha256 = hashlib.sha256(_CAMPAIGN).hexdigest()
    run.journal.append("start", utc=_UTC, campaign_sha256=sha256)
    keys = [StepKey(core, ReadMode.ONE_PHASE) for core in range(steps)]
    rng = np.random.default_rng(0)
    for key in keys:
        raw_sha256 = _write_step(run, key, rng, vectors=vectors, campaign_sha256=sha256)
        run.journal.append(
            "step", utc=_UTC, core=key.core, read_mode=str(key.read_mode), raw_sha256=raw_sha256
        )
    write_index(run, keys)
    run.journal.append("stop", utc=_UTC, status="complete")
    return run


def _write_step(
    run: RunDirectory,
    key: StepKey,
    rng: np.random.Generator,
    *,
    vectors: int,
    campaign_sha256: str,
) -> str:
    origin = replace(origin_of(vectors), campaign_sha256=campaign_sha256)
    weights = np.zeros((ROWS, COLUMNS), np.int8)
    inputs = rng.integers(-128, 128, (BLOCK, ROWS), np.int8)
    counts = rng.integers(0, 1024, (BLOCK, 2, COLUMNS), np.uint16)
    with StepWriter(run.step_path(key), key=key, origin=origin, weights=weights) as writer:
        for first in range(0, vectors, BLOCK):
            writer.write_block(
                first,
                inputs=inputs,
                counts=counts,
                expected=np.zeros((BLOCK, COLUMNS), np.int32),
            )
        return writer.finish(conclusion())


def origin_of(vectors: int) -> StepOrigin:
    """Return the origin of a step of so many vectors, the last `BLOCK` of them held out."""
    return StepOrigin(
        title="Benchmark",
        campaign_sha256="",
        resource="mock://quickstart",
        chip=ChipIdentity(manufacturer="a", model="b", serial="c", firmware="d"),
        counter_bits=10,
        measured_utc=_UTC,
        temperature_c=25.0,
        seed=0,
        calibration_vectors=vectors - BLOCK,
        verification_vectors=BLOCK,
        rows_used=ROWS,
        columns_used=COLUMNS,
    )


def conclusion() -> StepConclusion:
    """Return what could be concluded from a step if nothing could."""
    none = np.zeros(COLUMNS)
    codes = none.astype(np.uint8)
    errors = dict.fromkeys(("uncorrected", "float", "fp16", "nmpu"), 0.0)
    return StepConclusion(
        output_lsb=1.0,
        global_gain=1.0,
        correction=Correction(a_p=none, a_n=none, b=none),
        a_p_se=none,
        a_n_se=none,
        b_se=none,
        residual_rms=none,
        r_squared=none,
        saturated_counts=none.astype(np.int64),
        fmt=replace(NmpuFormat(), shift=1),
        registers=NmpuRegisters(
            scale_p=codes, scale_n=codes, offset=none.astype(np.int16), swap=codes.astype(np.bool_)
        ),
        flags=none.astype(np.uint16),
        outputs=None,
        column_rms=np.zeros((4, COLUMNS)),
        errors=errors,
        nmpu_mismatches=None,
        errors_all_columns=errors,
    )


def measure(run: RunDirectory, *, repeats: int) -> list[str]:
    """Return a line for each way to check a run: seconds, bytes, and the rate beside SHA-256's."""
    size = sum(path.stat().st_size for path in (run.path / "steps").iterdir())
    ways: dict[str, Callable[[], object]] = {
        "SHA-256 of the step files, once": lambda: _hash_all(run),
        "verify": lambda: _verify(run, is_quick=False),
        "verify --quick": lambda: _verify(run, is_quick=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - begin)
    hashing = size / median(seconds["SHA-256 of the step files, once"])
    lines = [f"{size / 1e9:.2f} GB in {len(list((run.path / 'steps').iterdir()))} step files"]
    for name, times in seconds.items():
        rate = size / median(times)
        share = rate / hashing
        lines.append(f"{name:34} {median(times):8.2f} s {rate / 1e9:8.2f} GB/s {share:6.2f} of it")
    return lines


def _hash_all(run: RunDirectory) -> None:
    for path in (run.path / "steps").iterdir():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def _verify(run: RunDirectory, *, is_quick: bool) -> None:
    found = verify_run(run.path, is_quick=is_quick)
    if not found.is_whole:
        raise ValueError(f"the run is not whole: {found.findings[0]}")


def _damage_files(files: int) -> None:
    test = Path(__file__).parents[1] / "tests" / "datasets" / "test_fuzzed_files.py"
    done = subprocess.run(  # noqa: S603 - this interpreter, this project's test
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--timeout=1200",
            str(test),
        ],
        env={**os.environ, "HIL_FUZZED_FILES": str(files)},
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
