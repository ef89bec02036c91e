"""What the times were measured on, and how fast its memory can be read."""

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from benchmarks.timing import Contender
from hil_calibration.kernels.threads import over_chunks, usable_cores

_PACKAGES = ("numpy", "numba", "scipy", "scikit-learn", "apytypes", "fxpmath", "torch")
BLOCK_BYTES = 256 << 20
"""Memory that is read: far more than any cache."""


def describe_machine() -> dict[str, object]:
    """Return processor, cores, memory and versions; None for a package that is not installed."""
    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "load_average": load_average(),
    }


def load_average() -> float:
    """Return the mean number of programs that wanted to run, over the last minute."""
    return os.getloadavg()[0]


def bandwidth_contenders(*, block_bytes: int = BLOCK_BYTES) -> list[Contender]:
    """Return readers of one large block, by one core and by all.

    The block is written first: pages never written are all the same page of zeros, and read
    several times too fast.
    """
    words = np.arange(block_bytes // 8, dtype=np.int64)
    add = _word_adder()
    step = -(-len(words) // usable_cores())
    return [
        Contender(name="read, one core", work=words.nbytes, run=lambda: add(words)),
        Contender(
            name="read, all cores",
            work=words.nbytes,
            run=lambda: over_chunks(lambda a, b: add(words[a:b]), len(words), size=step),
        ),
    ]


def _word_adder() -> Callable[[npt.NDArray[np.int64]], object]:
    """Return numba's sum where there is numba; numpy's is as fast within a few per cent."""
    try:
        from hil_calibration.kernels.compiled_reading import total_of
    except ImportError:
        return np.sum
    return cast(Callable[[npt.NDArray[np.int64]], object], total_of)


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
