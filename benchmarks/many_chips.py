"""Processor time of `hil data verify`, `hil calibrate fit` and `hil data convert` for each core.

``python -m benchmarks.many_chips [--vectors 768 ...] [--repeats 3] [--json FILE]``

Each command works on a run of few cores and on one of many, in one process. What it takes more for
the second is divided by the cores that it has more: what is left is the command's own start. From
both follows what any number of chips takes; docs/how-to/many-chips.md does that for 10,000.
Besides, `hil calibrate fit` works with two workers on few runs and on more: what the process that
was called takes itself for each core says how many workers it can give work to.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import h5py
import numpy as np

from benchmarks.machine import describe_machine, load_average

HIL = (sys.executable, "-P", "-m", "hil")
FEW, MANY = 1, 9
FEW_RUNS, MORE_RUNS = 2, 14
_ITSELF = """
import resource, runpy, sys
if __name__ == "__main__":  # not in a worker
    try:
        runpy.run_module("hil", run_name="__main__")
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        peak = open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]
        sys.stderr.write(f"\\n{used.ru_utime + used.ru_stime} {int(peak) / 1024}\\n")
"""
_CAMPAIGN = """schema_version = 1
[campaign]
title = "Many chips"
cores = {cores}
read_modes = ["one_phase"]
[device]
resource = "mock://hermes-like"
[vectors]
calibration = {calibration}
verification = {verification}
"""
_MAPPING = """schema_version = 1
title = "Many chips"
form = "counts"
[chip]
manufacturer = "a"
model = "b"
serial = "c"
[measured]
utc = "2026-01-31T12:00:00+00:00"
temperature_c = 25.0
[steps]
read_mode = "one_phase"
[counts]
rule = "pair"
files = "core{{core}}.npz"
array = "raw"
axes = ["vector", "polarity", "column"]
[inputs]
files = "core{{core}}.npz"
array = "inputs"
axes = ["vector", "row"]
[weights]
files = "core{{core}}.npz"
array = "weights"
axes = ["row", "column"]
[vectors]
verification = {verification}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a command takes."""

    command: str
    """Its name."""
    vectors: int
    """Vectors of each core, those held out included."""
    step_bytes: int
    """Size of a step file."""
    raw_bytes: int
    """Counts in it, two bytes each."""
    core_cpu_s: float
    """Processor time for each core."""
    start_cpu_s: float
    """Processor time besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What `hil calibrate fit` takes in the process that was called, where workers do the rest."""

    vectors: int
    """Vectors of each core, those held out included."""
    core_cpu_s: float
    """Processor time for each core."""
    start_cpu_s: float
    """Processor time besides."""
    peak_mib: dict[int, float]
    """Peak of its memory by the number of runs."""


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_chips", description=__doc__)
    parser.add_argument("--vectors", type=int, nargs="+", default=[768, 6144], metavar="N")
    parser.add_argument("--repeats", type=int, default=3, help="times that each is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    options = parser.parse_args()
    machine = describe_machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']:.1f} before")
    print(
        f"{'command':10} {'vectors':>8} {'step file':>10} {'a core':>10} {'start':>8} {'raw':>10}"
    )
    rates, callers = [], []
    for vectors in options.vectors:
        with tempfile.TemporaryDirectory() as folder:
            for rate in measure(Path(folder), vectors=vectors, repeats=options.repeats):
                rates.append(rate)
                print(line_of(rate), flush=True)
            caller = measure_caller(Path(folder), vectors=vectors, repeats=options.repeats)
            callers.append(caller)
            few, more = caller.peak_mib.values()
            print(
                f"fit, the process that was called: {1000 * caller.core_cpu_s:.1f} ms a core, "
                f"{caller.start_cpu_s:.2f} s besides, peak {few:.0f} MiB for {FEW_RUNS} runs and "
                f"{more:.0f} MiB for {MORE_RUNS}",
                flush=True,
            )
    machine["load_average_after"] = load_average()
    print(f"load {machine['load_average_after']:.1f} after")
    if options.json:
        result = {
            "machine": machine,
            "rates": [asdict(rate) for rate in rates],
            "callers": [asdict(caller) for caller in callers],
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def line_of(rate: Rate) -> str:
    """Return a line of the table."""
    return (
        f"{rate.command:10} {rate.vectors:8} {rate.step_bytes / 1e6:7.2f} MB "
        f"{1000 * rate.core_cpu_s:7.1f} ms {rate.start_cpu_s:6.2f} s "
        f"{rate.raw_bytes / rate.core_cpu_s / 1e6:5.0f} MB/s"
    )


def measure(folder: Path, *, vectors: int, repeats: int) -> list[Rate]:
    """Return the rates of all commands on runs of so many vectors for each core."""
    verification = vectors // 3
    runs = {cores: _make_run(folder, cores, vectors, verification) for cores in (FEW, MANY)}
    for cores, run in runs.items():
        _make_recordings(run, folder / f"recorded{cores}", verification)
    step = next((runs[FEW] / "steps").iterdir())
    with h5py.File(step) as file:
        raw_bytes = file["raw"].size * 2
    rates = []
    for command in ("verify", "fit", "convert"):
        cpu_s: dict[int, list[float]] = {FEW: [], MANY: []}
        for number in range(repeats):
            for cores, run in runs.items():
                words = _words(command, run, folder, cores, number)
                cpu_s[cores].append(_processor_time(words))
        core_cpu_s = (median(cpu_s[MANY]) - median(cpu_s[FEW])) / (MANY - FEW)
        rates.append(
            Rate(
                command=command,
                vectors=vectors,
                step_bytes=step.stat().st_size,
                raw_bytes=raw_bytes,
                core_cpu_s=core_cpu_s,
                start_cpu_s=median(cpu_s[FEW]) - FEW * core_cpu_s,
            )
        )
    return rates


def measure_caller(folder: Path, *, vectors: int, repeats: int) -> Caller:
    """Return what the process takes that gives work to two workers; after `measure`."""
    cpu_s: dict[int, list[float]] = {FEW_RUNS: [], MORE_RUNS: []}
    peak_mib = dict.fromkeys(cpu_s, 0.0)
    for runs in cpu_s:
        for number in range(runs):
            copy = folder / f"bench{runs}" / f"chip{number}"
            shutil.copytree(folder / f"run{MANY}", copy)
    for number in range(repeats):
        for runs, used_s in cpu_s.items():
            out = folder / f"fitted{runs}-{number}"
            words = ["calibrate", "fit", str(folder / f"bench{runs}"), "--out", str(out)]
            done = subprocess.run(  # noqa: S603 - our own command
                [sys.executable, "-P", str(_itself(folder)), *words, "--workers", "2"],
                check=True,
                capture_output=True,
                text=True,
            )
            used, peak = map(float, done.stderr.split()[-2:])
            used_s.append(used)
            peak_mib[runs] = max(peak_mib[runs], peak)
    more_cores = MANY * (MORE_RUNS - FEW_RUNS)
    core_cpu_s = (median(cpu_s[MORE_RUNS]) - median(cpu_s[FEW_RUNS])) / more_cores
    return Caller(
        vectors=vectors,
        core_cpu_s=core_cpu_s,
        start_cpu_s=median(cpu_s[FEW_RUNS]) - MANY * FEW_RUNS * core_cpu_s,
        peak_mib=peak_mib,
    )


def _itself(folder: Path) -> Path:
    """Write a program that is `hil` and in the end says what it took without its workers."""
    program = folder / "hil_itself.py"
    program.write_text(_ITSELF)
    return program


def _make_run(folder: Path, cores: int, vectors: int, verification: int) -> Path:
    campaign = folder / f"campaign{cores}.toml"
    text = _CAMPAIGN.format(
        cores=list(range(cores)), calibration=vectors - verification, verification=verification
    )
    campaign.write_text(text)
    run = folder / f"run{cores}"
    environment = {**os.environ, "AIMC_HIL_DATA": str(folder / "data")}
    subprocess.run(  # noqa: S603 - our own command
        [*HIL, "run", str(campaign), "--out", str(run)],
        check=True,
        capture_output=True,
        env=environment,
    )
    return run


def _make_recordings(run: Path, folder: Path, verification: int) -> None:
    """Write the readouts of a run as another laboratory would: one ``.npz`` for each core."""
    folder.mkdir()
    for core, path in enumerate(sorted((run / "steps").iterdir())):
        with h5py.File(path) as file:
            arrays = {name: file[name][()] for name in ("raw", "inputs", "weights")}
        np.savez(folder / f"core{core}.npz", **arrays)
    (folder / "map.toml").write_text(_MAPPING.format(verification=verification))


def _words(command: str, run: Path, folder: Path, cores: int, number: int) -> list[str]:
    out = str(folder / f"{command}{cores}-{number}")
    if command == "verify":
        return ["data", "verify", str(run)]
    if command == "fit":
        return ["calibrate", "fit", str(run), "--out", f"{out}.hil.h5"]
    recorded = folder / f"recorded{cores}"
    files = sorted(map(str, recorded.glob("*.npz")))
    return ["data", "convert", *files, "--map", str(recorded / "map.toml"), "--out", out]


def _processor_time(words: list[str]) -> float:
    """Run a command; return its processor time, that of its own children included."""
    with subprocess.Popen(  # noqa: S603 - our own command
        [*HIL, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        said = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"hil {' '.join(words)}: {said.decode()}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
