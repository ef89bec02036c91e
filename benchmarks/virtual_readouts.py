"""Readouts that are drawn where they are needed: as many as one likes, and no file."""

import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil.core.array_types import FloatArray, IntArray
from hil.scale.worker_process import keep_freed_memory
from hil_calibration.exact_moments import ExactMoments
from hil_calibration.fit import fit_columns

COLUMNS = 256
BLOCK_VECTORS = 1024
BLOCK_BYTES = BLOCK_VECTORS * 2 * COLUMNS * 2
SLOPE_P, SLOPE_N, INTERCEPT = 17, 19, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Some blocks of one core; small, to be sent to another process."""

    core: int
    """Whose readouts."""
    first_block: int
    """The first of them, counted within the core."""
    blocks: int
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSums:
    """What comes back."""

    core: int
    """Whose readouts."""
    moments: ExactMoments
    """Their exact sums."""
    cpu_s: float
    """Processor time that it took."""
    peak_mib: float
    """Peak of the worker's memory so far."""


def sum_item(item: Item) -> ItemSums:
    """Draw the blocks of an item one after the other and sum them."""
    keep_freed_memory()
    began_s = time.thread_time()
    moments = ExactMoments.empty(COLUMNS)
    for block in range(item.first_block, item.first_block + item.blocks):
        moments = moments.merge(ExactMoments.of(*draw_block(item.core, block)))
    return ItemSums(
        core=item.core,
        moments=moments,
        cpu_s=time.thread_time() - began_s,
        peak_mib=own_peak_mib(),
    )


def draw_block(core: int, block: int) -> tuple[IntArray, IntArray]:
    """Return counts (vector, polarity, column) and expected outputs (vector, column).

    Counts of 12 bits; the other 4 bits of a P make the noise of its expected output.
    """
    rng = np.random.Generator(np.random.SFC64([core, block]))
    words = np.frombuffer(rng.bytes(BLOCK_BYTES), np.uint16).reshape(BLOCK_VECTORS, 2, COLUMNS)
    counts = words & np.uint16(0x0FFF)
    noise = (words[:, 0] >> 12).astype(np.int32)
    p, n = counts[:, 0].astype(np.int32), counts[:, 1].astype(np.int32)
    return counts, SLOPE_P * p - SLOPE_N * n + INTERCEPT + noise


def check_fit(moments: ExactMoments) -> None:
    """Exit if the fit of such sums does not find the slopes that the counts were drawn with."""
    correction = fit_columns(moments.to_moments()).correction
    found: tuple[tuple[str, FloatArray, float, float], ...] = (
        ("slope of P", correction.a_p, SLOPE_P, 0.01),
        ("slope of N", correction.a_n, SLOPE_N, 0.01),
        ("intercept", correction.b, INTERCEPT + 7.5, 10.0),  # the mean of the noise, 0 to 15
    )
    for name, values, drawn, allowed in found:
        worst = float(np.abs(values - drawn).max())
        if worst > allowed:
            raise SystemExit(f"{name}: {worst:g} from the {drawn:g} that the data were drawn with")


def own_peak_mib() -> float:
    """Return the peak of this process's memory, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss keeps that of whoever started this program
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
