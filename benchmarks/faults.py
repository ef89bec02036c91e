"""The fault campaign: requests under every kind of fault, over every kind of link.

``python -m benchmarks.faults [--requests N] [--kinds NAME ...] [--links NAME ...] [--workers N]
[--json FILE]``

Most of the time of a part is waiting for answers that are lost, so many parts are carried out at
the same time, each in a process of its own. With ``--json`` each part is written when it is over,
one a line; parts that the file holds already are not carried out again.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fault_bench import LINKS
from benchmarks.faults_kinds import TROUBLES
from benchmarks.faults_part import RECOVERY, SELDOM, TIMEOUT_S, Outcome, run_part
from benchmarks.machine import describe_machine
from hil_calibration.kernels.threads import usable_cores

_WORKERS_PER_CORE = 4
_BAD = ("wrong", "doubled", "missing", "failed", "untold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all parts of a campaign have in common."""

    requests: int
    """Operations of each part."""
    seed: int = 7
    """Seed of chips, operations and faults."""
    seldom: int = SELDOM
    """One of so many messages meets a fault."""
    timeout_s: float = TIMEOUT_S
    """How long an answer may take."""

    def run(self, name: str, link: str) -> Outcome:
        """Carry out one part."""
        return run_part(
            name,
            link,
            self.requests,
            seed=self.seed,
            seldom=self.seldom,
            timeout_s=self.timeout_s,
        )


class Results:
    """A file of JSON lines, one for each part that is over; or no file at all.

    Parameters
    ----------
    path
        The file, which is made if there is none; None keeps nothing.
    settings
        Lines of parts with other settings are left alone.
    """

    def __init__(self, path: Path | None, settings: Settings) -> None:
        self._path, self._settings = path, settings

    def stored(self) -> Iterator[Outcome]:
        """Read the parts that are over."""
        if self._path is None or not self._path.exists():
            return
        for line in self._path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line at which a former campaign was killed
            if entry.get("settings") == asdict(self._settings):
                yield Outcome(**entry["part"])

    def add(self, one: Outcome) -> None:
        """Write one more part."""
        if self._path is None:
            return
        entry = {
            "settings": asdict(self._settings),
            "part": asdict(one),
            "is_well": one.is_well,
            "deadline_s": RECOVERY.deadline_s,
            "machine": describe_machine(),
        }
        with self._path.open("a+b") as file:
            file.seek(max(0, file.seek(0, 2) - 1))
            torn = b"" if file.read(1) in (b"", b"\n") else b"\n"
            file.write(torn + json.dumps(entry).encode() + b"\n")


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each part: what happened, what was told, what was wrong."""
    head = f"{'faults':24}{'link':8}{'requests':>9}{'messages':>9}{'injected':>9}"
    head += f"{'told':>7}{'shared':>7}"
    lines = [head + "".join(f"{name:>8}" for name in _BAD) + f"{'longest':>10}{'took':>8}"]
    for one in outcomes:
        injected, told = sum(one.injected.values()), sum(one.told.values())
        lines.append(
            f"{one.trouble:24}{one.link:8}{one.requests:9}{one.messages:9}{injected:9}{told:7}{one.shared:7}"
            + "".join(f"{getattr(one, name):8}" for name in _BAD)
            + f"{one.longest_s:8.3f} s{one.seconds:6.0f} s"
            + ("" if one.is_well else f"  BAD {one.error}".rstrip())
        )
    return lines


def totals(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each link, and what every recovery is measured at."""
    lines = []
    for link in dict.fromkeys(one.link for one in outcomes):
        of_link = [one for one in outcomes if one.link == link]
        injected = sum(sum(one.injected.values()) for one in of_link)
        shared = sum(one.shared for one in of_link)
        bad = ", ".join(f"{name} {sum(getattr(one, name) for one in of_link)}" for name in _BAD)
        lines.append(
            f"{link}: {len(of_link)} parts, {sum(one.requests for one in of_link)} requests, "
            f"{sum(one.vectors for one in of_link)} vectors, {injected} faults; {bad}; "
            f"reports shared by two faults {shared}; "
            f"longest recovery {max(one.longest_s for one in of_link):.3f} s"
        )
    return [*lines, f"deadline of a recovery: {RECOVERY.deadline_s:g} s"]


def carry_out(
    parts: Sequence[tuple[str, str]], settings: Settings, workers: int
) -> Iterator[Outcome]:
    """Carry out parts, a kind of fault and a link each; yield each one when it is over.

    Raises
    ------
    ExceptionGroup
        Parts that ended in what is no error of the link, after all others are over.
    """
    if workers == 1:
        for name, link in parts:
            yield settings.run(name, link)
        return
    # A fresh interpreter each: a fork would inherit whatever threads this process has.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(parts) or 1), mp_context=context) as pool:
        running = [pool.submit(settings.run, name, link) for name, link in parts]
        unexpected: list[Exception] = []
        for ended in as_completed(running):
            try:
                yield ended.result()
            except Exception as error:  # noqa: BLE001 - raised below, when the others are over
                unexpected.append(error)
    if unexpected:
        raise ExceptionGroup("parts of the fault campaign", unexpected)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    default = _WORKERS_PER_CORE * usable_cores()
    parser.add_argument("--requests", type=_at_least_one, default=10_000)
    parser.add_argument("--kinds", nargs="+", choices=[*TROUBLES], default=[*TROUBLES])
    parser.add_argument("--links", nargs="+", choices=LINKS, default=["tcp", "hislip", "serial"])
    parser.add_argument("--seldom", type=_at_least_one, default=SELDOM)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=_at_least_one, default=default)
    parser.add_argument("--json", type=Path)
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} given, must be at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the campaign; return 0 if it shows what it must."""
    chosen = _parser().parse_args(arguments)
    settings = Settings(requests=chosen.requests, seed=chosen.seed, seldom=chosen.seldom)
    results = Results(chosen.json, settings)
    # All links of a kind come one after the other: what ends early has whole kinds.
    parts = [(name, link) for name in chosen.kinds for link in chosen.links]
    outcomes = [one for one in results.stored() if (one.trouble, one.link) in parts]
    done = {(one.trouble, one.link) for one in outcomes}
    print("\n".join(table(outcomes)), flush=True)
    start = time.perf_counter()
    left = [part for part in parts if part not in done]
    for one in carry_out(left, settings, chosen.workers):
        outcomes.append(one)
        results.add(one)
        print(table([one])[1], flush=True)
    print("\n".join(totals(outcomes)))
    print(f"{len(left)} parts in {time.perf_counter() - start:.0f} s, {chosen.workers} at a time")
    return 0 if all(one.is_well for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
