"""Contenders for the quantisation of a chip of 64 cores, neighbour search included."""

from collections.abc import Iterator

import numpy as np

from benchmarks.data import FORMAT, draw_readouts
from benchmarks.timing import Contender
from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.search import SearchStart, search_compiled, search_numpy

VECTORS, COLUMNS = 512, 256


def search_contenders(cores: int) -> Iterator[Contender]:
    """Yield the compiled search over `cores` cores, and numpy's over one."""
    starts = [_start(seed) for seed in range(cores)]
    core_bytes = VECTORS * COLUMNS * (2 + 2 + 8)
    if numba_extra.is_installed():
        yield Contender(
            name=f"quantise {cores} cores",
            work=cores * core_bytes,
            run=lambda: [search_compiled(start) for start in starts],
        )
    yield Contender(
        name="quantise 1 core, numpy", work=core_bytes, run=lambda: search_numpy(starts[0])
    )


def _start(seed: int) -> SearchStart:
    readouts = draw_readouts(VECTORS, COLUMNS, seed=seed)
    registers = readouts.registers
    return SearchStart(
        fmt=FORMAT,
        scale_p=registers.scale_p.astype(np.int64),
        scale_n=registers.scale_n.astype(np.int64),
        offset=registers.offset.astype(np.int64),
        swap=registers.swap,
        counts=readouts.counts,
        expected=readouts.expected.astype(np.float64),
    )
