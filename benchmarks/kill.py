"""The kill test: a campaign, its device or both are killed again and again, and it goes on.

``python -m benchmarks.kill [--kills N] [--steps N] [--seed N] [--json FILE]``

A simulated chip is served by a process of its own. The campaign's process, the chip's or both get
SIGKILL at random moments; ``hil resume`` goes on each time. Every result is held to that of a
campaign that nobody interrupted: bit by bit, but for the times. When a campaign has come to its end
before all kills are used up, another one begins.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.run_differences import differences
from benchmarks.served_chip import HIL, ServedChip

_PATIENCE_S = 90.0
_SHARE_AT_WORK = 0.7
"""Kills that wait until the process takes steps; the others may come while it starts."""
_STARTING_S = 2.0
_SHARE_SEEN_OUT = 0.5
"""Kills after which something else may happen first: a campaign may lose its chip, and end."""
_BETWEEN_LOOKS_S = 0.3
"""How often every file is opened while the campaign goes on, besides after each kill."""
_KILLS_PER_LINE = 20
_KILLS_PER_CAMPAIGN = 12
"""How often a campaign is killed at work, about."""

_PROFILE = """schema_version = 1
name = "kill-test"
[array]
cores = {cores}
rows = 32
columns = 32
"""
_CAMPAIGN = """schema_version = 1
[campaign]
title = "Killed again and again"
[device]
resource = "{resource}"
timeout_s = 5
recovery_s = 10
[vectors]
calibration = {calibration}
verification = {verification}
block = {block}
"""


@dataclass(slots=True)
class KillReport:
    """What came of it."""

    kills: dict[str, int] = field(default_factory=dict)
    """How often each victim was killed."""
    campaigns: int = 0
    """Campaigns that came to their end."""
    resumes: int = 0
    """How often one went on."""
    continued_steps: int = 0
    """Steps that went on after a block that was stored before."""
    programmings: int = 0
    """Programmings, of all campaigns."""
    seconds: float = 0.0
    """How long all of it took."""
    files_opened: int = 0
    """How often a step file, whole or in parts, or an index was opened with plain h5py."""
    problems: list[str] = field(default_factory=list)
    """What was not as it must be."""


class KilledCampaign:
    """A campaign in a folder, killed and gone on with.

    Parameters
    ----------
    campaign
        Its file.
    run
        Its run directory.
    chip
        The device.
    report
        Where to say what happened.
    """

    def __init__(self, campaign: Path, run: Path, chip: ServedChip, report: KillReport) -> None:
        self._campaign, self._run = campaign, run
        self._chip = chip
        self._report = report
        self._finished: dict[str, tuple[int, int]] = {}
        self._process = self._start()

    @property
    def is_over(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    @property
    def is_complete(self) -> bool:
        """Whether its process has ended, and the campaign with it."""
        return self.is_over and self._is_complete()

    def kill(self, victim: str) -> None:
        """Kill ``campaign``, ``chip`` or ``both``; look at what is left; go on."""
        if victim != "chip":
            self._process.kill()
            self._process.communicate()
        if victim != "campaign":
            self._chip.kill()
        self._report.kills[victim] = self._report.kills.get(victim, 0) + 1
        self.look()
        self._chip.restart()

    def go_on(self) -> None:
        """Start another process if the last one has ended before the campaign."""
        if self.is_over and not self._is_complete():
            self._process = self._start()

    def wait_for_work(self) -> None:
        """Wait until the process takes steps, or has ended."""
        while not self.is_over and len(self._beginnings()) == self._begun:
            time.sleep(0.01)

    def wait_or(self, seconds: float) -> None:
        """Wait for the end of the process, at most some seconds; open every file meanwhile."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and not self.is_over:
            with suppress(subprocess.TimeoutExpired):
                self._process.communicate(timeout=min(left_s, _BETWEEN_LOOKS_S))
            self.look()

    def end(self) -> None:
        """Let it come to its end."""
        for _ in range(20):
            _, words = self._process.communicate(timeout=_PATIENCE_S)
            self.look()
            if self._is_complete():
                self._report.campaigns += 1
                self._check_journal()
                return
            self._process = self._start()
        self._report.problems.append(f"{self._run.name} comes to no end: {words}")

    def look(self) -> None:
        """See that every file opens, and that no finished step was touched."""
        for path in sorted([*self._run.glob("steps/*.h5*"), *self._run.glob("campaign.h5")]):
            if path.suffix == ".making":
                continue
            try:
                with h5py.File(path, "r", locking=False) as file:
                    np.asarray(file["raw"] if "raw" in file else file["tables/finished"])
                self._report.files_opened += 1
            except FileNotFoundError:
                continue  # it has got its final name meanwhile
            except (OSError, KeyError) as error:
                self._report.problems.append(f"{path.name} does not open: {error}")
        for name in self._named_steps():
            status = (self._run / name).stat()
            now = (status.st_ino, status.st_mtime_ns)
            if self._finished.setdefault(name, now) != now:
                self._report.problems.append(f"{name} was finished and was written again")

    def _start(self) -> "subprocess.Popen[str]":
        has_begun = (self._run / "journal.jsonl").exists()
        self._begun = len(self._beginnings())
        self._report.resumes += has_begun
        words = ["resume", self._run] if has_begun else ["run", self._campaign, "--out", self._run]
        return subprocess.Popen(  # noqa: S603 - our own command
            [str(HIL), *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _events(self) -> list[dict[str, Any]]:
        try:
            lines = (self._run / "journal.jsonl").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def _beginnings(self) -> list[dict[str, Any]]:
        return [event for event in self._events() if event["event"] in {"start", "resume"}]

    def _named_steps(self) -> list[str]:
        return [event["file"] for event in self._events() if event["event"] == "step"]

    def _is_complete(self) -> bool:
        events = self._events()
        return bool(events) and events[-1].get("status") == "complete"

    def _check_journal(self) -> None:
        names = Counter(self._named_steps())
        for name, times in names.items():
            if times > 1:
                self._report.problems.append(f"{name} was finished {times} times")
        self._report.programmings += sum(event["event"] == "program" for event in self._events())
        for line in (self._run / "log.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "step_started" and event.get("vectors_done"):
                self._report.continued_steps += 1


def run_kills(
    folder: Path,
    *,
    kills: int,
    steps: int,
    seed: int,
    vectors: int = 1024,
    on_kill: Callable[[KillReport], None] = lambda _: None,
) -> KillReport:
    """Kill campaigns in a new folder, and return what came of it.

    Parameters
    ----------
    folder
        Where everything goes.
    kills
        How often something is killed.
    steps
        Steps of a campaign, an even number.
    seed
        Decides who is killed when.
    vectors
        Calibration vectors of a step.
    on_kill
        Called after each kill with what has come of it so far.
    """
    rng = Random(seed)  # noqa: S311 - nothing secret
    report, began_s = KillReport(), time.monotonic()
    profile = folder / "profile.toml"
    profile.write_text(_PROFILE.format(cores=steps // 2))
    chip = ServedChip(profile)
    try:
        campaign = folder / "campaign.toml"
        campaign.write_text(
            _CAMPAIGN.format(
                resource=chip.resource,
                calibration=vectors,
                verification=vectors // 4,
                block=max(1, vectors // 32),
            )
        )
        reference = folder / "reference"
        lasted_s = _run_reference(campaign, reference)
        victims, number = _victims(rng), 0
        victim = next(victims)
        while sum(report.kills.values()) < kills and not report.problems:
            number += 1
            run = folder / f"run{number}"
            killed = KilledCampaign(campaign, run, chip, report)
            while not killed.is_complete and sum(report.kills.values()) < kills:
                killed.go_on()
                if _kill_some_time(killed, victim, rng, lasted_s):
                    victim = next(victims)
                    report.seconds = time.monotonic() - began_s
                    on_kill(report)
            killed.end()
            report.problems += differences(run, reference)
    finally:
        chip.kill()
    report.seconds = time.monotonic() - began_s
    return report


def _victims(rng: Random) -> Iterator[str]:
    """Yield who is killed: each once in every three, in random order."""
    while True:
        yield from rng.sample(("campaign", "chip", "both"), 3)


def _kill_some_time(killed: KilledCampaign, victim: str, rng: Random, lasted_s: float) -> bool:
    """Kill somebody at a random moment; return False if the process has ended before it."""
    if rng.random() < _SHARE_AT_WORK:
        killed.wait_for_work()
        killed.wait_or(rng.expovariate(_KILLS_PER_CAMPAIGN / lasted_s))
    else:
        killed.wait_or(rng.uniform(0, _STARTING_S))
    if killed.is_over:
        return False
    killed.kill(victim)
    if rng.random() < _SHARE_SEEN_OUT:
        killed.wait_or(rng.uniform(0, 0.5))
    return True


def _run_reference(campaign: Path, run: Path) -> float:
    began_s = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own command
        [str(HIL), "run", campaign, "--out", run], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the campaign fails without being killed: {done.stderr}")
    return time.monotonic() - began_s


def _summary(report: KillReport, steps: int) -> list[str]:
    shown = ", ".join(f"{victim} {times}" for victim, times in sorted(report.kills.items()))
    return [
        f"{sum(report.kills.values())} kills ({shown}) in {report.seconds:.0f} s",
        f"{report.campaigns} campaigns of {steps} steps, {report.resumes} times resumed",
        f"{report.continued_steps} steps went on after a stored block",
        f"{report.files_opened} times a file was opened with plain h5py in between",
        *(report.problems or ["every result is that of an uninterrupted campaign"]),
    ]


def _show_now_and_then(report: KillReport) -> None:
    kills = sum(report.kills.values())
    if kills % _KILLS_PER_LINE == 0:
        done = f"{report.campaigns} campaigns over, {len(report.problems)} problems"
        print(f"{kills} kills in {report.seconds:.0f} s, {done}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the kill test; return 0 if it shows what it must."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hil-kill-") as name:
        os.environ["AIMC_HIL_DATA"] = str(Path(name) / "data")
        report = run_kills(
            Path(name),
            kills=chosen.kills,
            steps=chosen.steps,
            seed=chosen.seed,
            on_kill=_show_now_and_then,
        )
    print("\n".join(_summary(report, chosen.steps)))
    if chosen.json is not None:
        content = {"machine": describe_machine(), **asdict(report)}
        chosen.json.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
