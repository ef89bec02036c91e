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
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

from benchmarks.machine import describe_machine

HIL = Path(sys.executable).with_name("hil")
_CHANGES = frozenset({"measured_utc", "software", "host", "timing"})
"""What differs between any two runs."""
_PATIENCE_S = 90.0
_SHARE_AT_WORK = 0.7
"""Kills that wait until the process takes steps; the others may come while it starts."""
_STARTING_S = 2.0
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


class ServedChip:
    """A simulated chip in a process of its own, always on the same port."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._port = 0
        self._process = self._start()

    @property
    def resource(self) -> str:
        """Its resource string."""
        return f"TCPIP0::127.0.0.1::{self._port}::SOCKET"

    def kill(self) -> None:
        """End it without warning."""
        self._process.kill()
        self._process.communicate()

    def restart(self) -> None:
        """Serve a chip of the same kind again, if there is none; it holds no weights."""
        if self._process.poll() is not None:
            self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        address = f"127.0.0.1:{self._port}"
        process = subprocess.Popen(  # noqa: S603 - our own command
            [str(HIL), "mock", "serve", "--profile", str(self._profile), "--tcp", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = process.stdout.readline() if process.stdout else ""
        if " at " not in line:
            raise RuntimeError(f"the chip is not served: {process.communicate()[1]}")
        self._port = int(line.split("::")[2])
        return process


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
        """Wait for a process that has lost its chip, and start another if the run is not over."""
        if self._process.poll() is None:
            return
        if not self._is_complete():
            self._process = self._start()

    def wait_for_work(self) -> None:
        """Wait until the process takes steps, or has ended."""
        while not self.is_over and len(self._beginnings()) == self._begun:
            time.sleep(0.01)

    def wait_or(self, seconds: float) -> None:
        """Wait for the end of the process, at most some seconds."""
        try:
            self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return

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


def differences(run: Path, reference: Path) -> list[str]:
    """Return what differs in the steps and the index of two runs, times left out."""
    names = sorted(path.name for path in reference.glob("steps/*.h5"))
    if names != sorted(path.name for path in run.glob("steps/*")):
        return [f"{run.name} has other steps than {reference.name}"]
    found = []
    for name in [*(f"steps/{name}" for name in names), "campaign.h5"]:
        mine, other = _content(run / name), _content(reference / name)
        found += [
            f"{run.name}/{name}: {key} differs"
            for key in sorted(mine.keys() | other.keys())
            if mine.get(key) != other.get(key)
        ]
    return found


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        if name.split("/", maxsplit=1)[0] in _CHANGES:
            return
        if isinstance(item, h5py.Dataset):
            content[name] = (str(item.dtype), item.shape, item[...].tobytes())
        for key, value in item.attrs.items():
            # Axes are named by objects, whose values are places in the file.
            if key not in _CHANGES and key != "DIMENSION_LABELS":
                content[f"{name}.{key}"] = repr(value)

    with h5py.File(path, "r") as file:
        visit("", file)
        file.visititems(visit)
        if "read_mode" in content:
            content["read_mode"] = [name.decode() for name in file["read_mode"][...]]
    return content


def run_kills(
    folder: Path, *, kills: int, steps: int, seed: int, vectors: int = 1024
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
        number = 0
        while sum(report.kills.values()) < kills and not report.problems:
            number += 1
            run = folder / f"run{number}"
            killed = KilledCampaign(campaign, run, chip, report)
            while not killed.is_over and sum(report.kills.values()) < kills:
                if rng.random() < _SHARE_AT_WORK:
                    killed.wait_for_work()
                    killed.wait_or(rng.expovariate(_KILLS_PER_CAMPAIGN / lasted_s))
                else:
                    killed.wait_or(rng.uniform(0, _STARTING_S))
                if killed.is_over:
                    break
                killed.kill(rng.choice(("campaign", "chip", "both")))
                killed.wait_or(rng.uniform(0, 0.5))
                killed.go_on()
            killed.end()
            report.problems += differences(run, reference)
    finally:
        chip.kill()
    report.seconds = time.monotonic() - began_s
    return report


def _run_reference(campaign: Path, run: Path) -> float:
    began_s = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own command
        [str(HIL), "run", campaign, "--out", run], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the campaign fails without being killed: {done.stderr}")
    return time.monotonic() - began_s


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
        report = run_kills(Path(name), kills=chosen.kills, steps=chosen.steps, seed=chosen.seed)
    shown = ", ".join(f"{victim} {times}" for victim, times in sorted(report.kills.items()))
    print(f"{sum(report.kills.values())} kills ({shown}) in {report.seconds:.0f} s")
    print(f"{report.campaigns} campaigns of {chosen.steps} steps, {report.resumes} times resumed")
    print(f"{report.continued_steps} steps went on after a stored block")
    print("\n".join(report.problems) or "every result is that of an uninterrupted campaign")
    if chosen.json is not None:
        chosen.json.write_text(
            json.dumps({"machine": describe_machine(), **asdict(report)}, indent=1) + "\n"
        )
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
