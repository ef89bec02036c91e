"""Fitting far more raw data than there is memory, by one process, by two, and by a Dask cluster.

``python -m benchmarks.scale_out [--gigabytes 200] [--ways NAME ...] [--json FILE]``

The raw data are virtual: each worker draws the counts of its item block by block, from a seed that
follows from the place of the block, and sums them; only the exact sums come back and are merged.
Every way must give the same sums, integer by integer, and the slopes that the data were drawn with.
"""

import argparse
import hashlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.local_cluster import local_cluster
from benchmarks.machine import describe_machine, load_average
from benchmarks.virtual_readouts import (
    BLOCK_BYTES,
    COLUMNS,
    Item,
    check_fit,
    own_peak_mib,
    sum_item,
)
from hil.cli.interruption import Interruption
from hil.scale.pool import open_pool
from hil.scale.work_pool import WorkPool
from hil_calibration.exact_moments import ExactMoments

CORES = 64
_CLUSTER_WORKERS = 4
WAYS = ("cluster", "two", "one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one way of doing the work took, and what it gave."""

    way: str
    """Its name."""
    raw_bytes: int
    """Counts that were summed, two bytes each."""
    wall_s: float
    """From the first item to the last fit."""
    cpu_s: float
    """Processor time of all items."""
    worker_peak_mib: float
    """Largest peak of a worker's memory."""
    own_peak_mib: float
    """Peak of the memory of the process that merges."""
    sums_sha256: str
    """Hash of every core's sums, as decimal integers."""


def main() -> None:
    """Measure, compare, print, store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_out", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=200.0, help="raw data to fit, 1e9 bytes")
    parser.add_argument("--item-mib", type=int, default=256, help="raw data of an item")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    options = parser.parse_args()
    try:
        # SIGTERM alone would end this process at once, and leave the cluster's behind.
        with Interruption().raised_by_signals():
            compare_ways(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None


def compare_ways(options: argparse.Namespace) -> None:
    """Do the work in each of the ways, and print what it took."""
    machine = describe_machine()
    blocks = max(round(options.gigabytes * 1e9 / BLOCK_BYTES), CORES)
    together = max((options.item_mib << 20) // BLOCK_BYTES, 1)
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']:.1f} before")
    print(f"{blocks * BLOCK_BYTES / 1e9:.1f} GB of virtual raw data, {CORES} cores of a chip")
    print(
        f"{'way':22} {'seconds':>9} {'GB/s':>6} {'GB/s per cpu s':>15} {'worker':>9} {'merger':>9}"
    )
    outcomes = []
    for way in options.ways:
        outcome = measure(way, blocks, together)
        outcomes.append(outcome)
        print(line_of(outcome), flush=True)
    machine["load_average_after"] = load_average()
    print(f"load {machine['load_average_after']:.1f} after")
    if len({outcome.sums_sha256 for outcome in outcomes}) != 1:
        raise SystemExit("the sums differ")
    print(f"same sums every time: SHA-256 {outcomes[0].sums_sha256}")
    if options.json:
        result = {"machine": machine, "ways": [asdict(outcome) for outcome in outcomes]}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def line_of(outcome: Outcome) -> str:
    """Return a line of the table."""
    gigabytes = outcome.raw_bytes / 1e9
    return (
        f"{outcome.way:22} {outcome.wall_s:9.1f} {gigabytes / outcome.wall_s:6.2f} "
        f"{gigabytes / outcome.cpu_s:15.2f} {outcome.worker_peak_mib:5.0f} MiB "
        f"{outcome.own_peak_mib:5.0f} MiB"
    )


def measure(way: str, blocks: int, together: int) -> Outcome:
    """Sum and fit every block in one of the ways."""
    with ExitStack() as stack:
        if way == "cluster":
            cluster = stack.enter_context(local_cluster(_CLUSTER_WORKERS))
            cluster.wait_for_workers(_CLUSTER_WORKERS)
            pool = stack.enter_context(open_pool(cluster=cluster.address))
        else:
            pool = stack.enter_context(open_pool(workers=2 if way == "two" else 1))
        return fit_everything(way, pool, items_of(blocks, together))


def items_of(blocks: int, together: int) -> Iterator[Item]:
    """Yield the items of so many blocks, shared out over the cores of the chip."""
    for core in range(CORES):
        of_core = blocks // CORES + (core < blocks % CORES)
        for first in range(0, of_core, together):
            yield Item(core=core, first_block=first, blocks=min(together, of_core - first))


def fit_everything(way: str, pool: WorkPool, items: Iterator[Item]) -> Outcome:
    """Merge the sums of all items, fit every core, and check the slopes."""
    began_s = time.perf_counter()
    totals: dict[int, ExactMoments] = {}
    cpu_s = peak_mib = 0.0
    for sums in pool.map(sum_item, items):
        before = totals.get(sums.core, ExactMoments.empty(COLUMNS))
        totals[sums.core] = before.merge(sums.moments)
        cpu_s += sums.cpu_s
        peak_mib = max(peak_mib, sums.peak_mib)
    digest = hashlib.sha256()
    for core in sorted(totals):
        check_fit(totals[core])
        sums, products = totals[core].sums.tolist(), totals[core].products.tolist()
        digest.update(json.dumps([sums, products]).encode())
    return Outcome(
        way=f"{way} ({pool.workers} workers)",
        raw_bytes=sum(moments.vectors for moments in totals.values()) * 2 * COLUMNS * 2,
        wall_s=time.perf_counter() - began_s,
        cpu_s=cpu_s,
        worker_peak_mib=peak_mib,
        own_peak_mib=own_peak_mib(),
        sums_sha256=digest.hexdigest(),
    )


if __name__ == "__main__":
    main()
