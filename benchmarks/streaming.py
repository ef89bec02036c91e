"""How much memory a fit takes when its vectors come in a stream."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hil_calibration.fit import fit_columns
from hil_calibration.kernels import numba_extra
from hil_calibration.moments import ColumnMoments

BLOCK_VECTORS = 4096
COLUMNS = 64


def stream_fit(vectors: int) -> float:
    """Fit a stream of `vectors` vectors of 64 columns and return the peak of memory, MiB.

    Whole process, interpreter and numba included; one block of random counts is sent again and
    again with the expected outputs shifted a little, as drawing 10**7 vectors would take longer
    than fitting them.
    """
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 840, (BLOCK_VECTORS, 2, COLUMNS), dtype=np.uint16)
    clean = (0.25 * counts[:, 0] - 0.25 * counts[:, 1]).astype(np.float32)
    sum_block: Callable[..., ColumnMoments] = ColumnMoments.of
    if numba_extra.is_installed():
        from hil_calibration.kernels.moments import sum_moments

        sum_block = sum_moments
    moments = ColumnMoments.empty(COLUMNS)
    for first in range(0, vectors, BLOCK_VECTORS):
        size = min(BLOCK_VECTORS, vectors - first)
        noise = np.float32((first // BLOCK_VECTORS) % 7 - 3)
        moments = moments.merge(sum_block(counts[:size], clean[:size] + noise))
    gain = fit_columns(moments).correction.a_p
    if not np.allclose(gain, 0.25, rtol=1e-3):
        raise ValueError(f"the stream was not fitted: gains {gain.min():g} to {gain.max():g}")
    return _peak_mib()


def _peak_mib() -> float:
    """Return the peak of this program; Linux's ru_maxrss keeps that of whoever started it."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_memory_mib(vectors: int) -> float:
    """Return `stream_fit` of a process of its own, whose peak no other work has raised."""
    code = f"from benchmarks.streaming import stream_fit; print(stream_fit({vectors}))"
    done = subprocess.run(  # noqa: S603 - this interpreter, this module
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return float(done.stdout)
