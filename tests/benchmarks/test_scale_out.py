"""Who ends the benchmark of large fits ends the cluster that it has started."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PATIENCE_S = 60.0

pytest.importorskip(
    "distributed", reason="distributed is not installed: pip install 'aimc-hil[cluster]'"
)


def dask_processes_of(pid: int) -> list[Path]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [Path(f"/proc/{child}") for child in children]
    return [process for process in found if b"\0dask\0" in (process / "cmdline").read_bytes()]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this system")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_no_process_of_the_cluster_outlives_a_signal(number: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.scale_out",
        "--gigabytes",
        "2",
        "--ways",
        "cluster",
    ]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as benchmark:
        deadline_s = time.monotonic() + PATIENCE_S
        while not (started := dask_processes_of(benchmark.pid)) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        benchmark.send_signal(number)
        _, said = benchmark.communicate(timeout=PATIENCE_S)
    assert started
    assert [process for process in started if process.exists()] == []
    assert (benchmark.returncode, said) == (130, "interrupted\n")
