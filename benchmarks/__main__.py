"""Run every benchmark, print the table of ratios, and keep the times if asked."""

import argparse
import json
from itertools import chain
from pathlib import Path
from statistics import median

from benchmarks.data import draw_readouts
from benchmarks.fits import fit_contenders
from benchmarks.machine import bandwidth_contenders, describe_machine, load_average
from benchmarks.mock_chip import mock_contenders, mock_table
from benchmarks.searches import search_contenders
from benchmarks.serial_line import serial_contenders, serial_table
from benchmarks.streaming import peak_memory_mib
from benchmarks.streaming_link import link_contenders, link_table
from benchmarks.timing import Timed, time_in_turns
from benchmarks.units import unit_contenders

RIVALS = {
    "moments fit, all cores": (
        "chunked numpy (ColumnMoments.of)",
        "np.polyfit per column (P - N only)",
        "scikit-learn LinearRegression per column",
    ),
    "robust fit, one core": (
        "robust fit, numpy",
        "scipy least_squares(loss='huber') per column",
        "scikit-learn HuberRegressor per column",
    ),
    "NMPU apply, all cores": (
        "NMPU apply, numpy",
        "FP16 baseline, all cores",
        "FP16 baseline, numpy",
        "NMPU apply, apytypes",
        "NMPU apply, fxpmath",
        "NMPU apply, torch",
    ),
    "FP16 baseline, all cores": ("FP16 baseline, numpy",),
}
"""Which contenders do the work of which kernel."""


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time here")
    parser.add_argument("--quick", action="store_true", help="small inputs: seconds, rough ratios")
    options = parser.parse_args()
    machine = describe_machine()
    repeats, vectors, cores = (3, 8192, 4) if options.quick else (9, 100_000, 64)
    readouts = draw_readouts(vectors, 256)
    block = (32 if options.quick else 256) << 20
    contenders = chain(
        bandwidth_contenders(block_bytes=block),
        fit_contenders(readouts, robust_columns=32 if options.quick else 256),
        unit_contenders(readouts),
        search_contenders(cores),
    )
    timed = time_in_turns(list(contenders), repeats)
    links = _time_links(is_quick=options.quick)
    streamed = 10**5 if options.quick else 10**7
    peak = peak_memory_mib(streamed)
    machine["load_average_after"] = load_average()
    print("\n".join(table(machine, timed)))
    print(f"\nfit of a stream of {streamed:,} vectors: peak of the process {peak:.0f} MiB")
    for title, lines, _ in links:
        print(f"\n{title}\n" + "\n".join(lines))
    if options.json:
        linked = {name: entry for _, _, times in links for name, entry in times.items()}
        timed |= linked
        result = {
            "machine": machine,
            "is_quick": options.quick,
            "seconds": {name: list(entry.seconds) for name, entry in timed.items()},
            "bytes": {name: entry.work for name, entry in timed.items()},
            "stream": {"vectors": streamed, "peak_mib": peak},
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def _time_links(*, is_quick: bool) -> list[tuple[str, list[str], dict[str, Timed]]]:
    """Time the mock chip and what carries its counts; return titles, lines and times."""
    repeats = 1 if is_quick else 5
    chip = time_in_turns(list(mock_contenders(64 if is_quick else 4096)), 3 * repeats)
    with link_contenders(8 if is_quick else 256) as contenders:
        link = time_in_turns(contenders, repeats)
    serial = time_in_turns(serial_contenders((1 if is_quick else 16) << 20), repeats)
    return [
        ("mock chip against bare products", mock_table(chip), chip),
        ("streams and blocks over a loopback socket", link_table(link), link),
        ("serial line, share of pyserial read(65536)", serial_table(serial), serial),
    ]


def table(machine: dict[str, object], timed: dict[str, Timed]) -> list[str]:
    """Return the lines of the table: rates, their share of the memory's, and ratios to rivals."""
    load = f"load {machine['load_average']:.1f} before, {machine['load_average_after']:.1f} after"
    lines = [f"{machine['cpu']}, {machine['cores']} cores, {load}", ""]
    lines += [f"{'':49}{'ms':>10}{'GB/s':>9}{'of read':>9}{'best':>9}"]
    for name, entry in timed.items():
        reader = timed["read, all cores" if "all cores" in name else "read, one core"]
        share, best = entry.rate / reader.rate, entry.best_rate / reader.best_rate
        lines.append(
            f"{name:49}{1e3 * median(entry.seconds):10.2f}{entry.rate / 1e9:9.3f}"
            f"{share:9.4f}{best:9.4f}"
        )
    lines += ["", "ms, GB/s, of read: from medians; best: from the shortest times of both"]
    for kernel, rivals in RIVALS.items():
        if kernel not in timed:
            lines.append(f"{kernel}: absent, needs numba (pip install 'aimc-hil[fast]')")
            continue
        for rival in rivals:
            ratio = f"{timed[kernel].rate / timed[rival].rate:.1f} x" if rival in timed else None
            lines.append(f"{kernel} against {rival}: {ratio or 'absent (not installed)'}")
    return lines


if __name__ == "__main__":
    main()
