"""A minute without the campaign's process, the device, or the cable between them.

``python -m benchmarks.outages [--seconds 60] [--json FILE]``

A simulated chip is served by a process of its own, behind a cable. In the middle of a campaign the
campaign's process or the chip's gets SIGSTOP, or the cable is pulled; so many seconds later it goes
on. The campaign must come to its end by itself, with the result of one that nobody disturbed: bit
by bit, but for the times.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.pulled_cable import PulledCable
from benchmarks.run_differences import differences
from benchmarks.served_chip import HIL, ServedChip

OUTAGES = ("campaign suspended", "device suspended", "cable pulled")
_PATIENCE_S = 120.0

_PROFILE = """schema_version = 1
name = "outages"
[array]
cores = 2
rows = 32
columns = 32
"""
_CAMPAIGN = """schema_version = 1
[campaign]
title = "Outages"
[device]
resource = "{resource}"
timeout_s = {timeout_s}
recovery_s = {recovery_s}
[vectors]
calibration = {vectors}
verification = 128
block = 8
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One campaign that was disturbed."""

    kind: str
    """One of `OUTAGES`."""
    seconds: float
    """How long it lasted."""
    steps_before: int
    """Steps that were finished when it began."""
    took_s: float
    """How long the campaign took in all."""
    problems: tuple[str, ...]
    """What was not as it must be."""


class OutageBench:
    """A served chip behind a cable, and a campaign on it that nobody disturbed.

    Parameters
    ----------
    folder
        Where everything goes.
    seconds
        How long an outage lasts.
    vectors
        Calibration vectors of a step: there must be time to meet it in its middle.
    """

    def __init__(self, folder: Path, *, seconds: float, vectors: int = 2048) -> None:
        self._folder, self._seconds = folder, seconds
        profile = folder / "outages.toml"
        profile.write_text(_PROFILE)
        self._chip = ServedChip(profile)
        self._cable = PulledCable(self._chip.resource)
        self._campaign = folder / "campaign.toml"
        self._campaign.write_text(
            _CAMPAIGN.format(
                resource=self._cable.resource,
                timeout_s=max(0.5, seconds / 12),
                recovery_s=3 * seconds + 5,
                vectors=vectors,
            )
        )
        self._reference = folder / "reference"
        process = self._start(self._reference)
        _, words = process.communicate(timeout=_PATIENCE_S)
        if process.returncode:
            raise RuntimeError(f"the campaign fails without being disturbed: {words}")

    def close(self) -> None:
        """End the chip."""
        self._cable.pull()
        self._chip.kill()

    def disturb(self, kind: str) -> Outage:
        """Run the campaign with an outage in its middle."""
        self._chip.kill()  # a new chip, that holds no weights and begins its noise anew
        self._chip.restart()
        began_s = time.monotonic()
        run = self._folder / kind.replace(" ", "-")
        process = self._start(run)
        before = self._wait_for_step(run, process)
        if kind == "cable pulled":
            self._cable.pull()
            time.sleep(self._seconds)
            self._cable.plug()
        else:
            pid = process.pid if kind == "campaign suspended" else self._chip.pid
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._seconds)
            os.kill(pid, signal.SIGCONT)
        _, words = process.communicate(timeout=_PATIENCE_S + 4 * self._seconds)
        problems = [f"ended with {process.returncode}: {words}"] if process.returncode else []
        return Outage(
            kind=kind,
            seconds=self._seconds,
            steps_before=before,
            took_s=time.monotonic() - began_s,
            problems=tuple(problems or differences(run, self._reference)),
        )

    def _start(self, run: Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603 - our own command
            [str(HIL), "run", str(self._campaign), "--out", str(run)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _wait_for_step(self, run: Path, process: "subprocess.Popen[str]") -> int:
        """Wait until a step is finished and the next one is being taken; return how many are."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline_s and process.poll() is None:
            steps = len(list(run.glob("steps/*.h5")))
            if steps and any(run.glob("steps/*.part")):
                return steps
            time.sleep(0.005)
        raise RuntimeError(f"the campaign never was in the middle: {process.communicate()[1]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Disturb a campaign in every way; return 0 if it shows what it must."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outages")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hil-outages-") as name:
        os.environ["AIMC_HIL_DATA"] = str(Path(name) / "data")
        bench = OutageBench(Path(name), seconds=chosen.seconds)
        try:
            outages = [bench.disturb(kind) for kind in OUTAGES]
        finally:
            bench.close()
    for outage in outages:
        verdict = "; ".join(outage.problems) or "the result is that of an undisturbed campaign"
        print(f"{outage.kind} for {outage.seconds:g} s: {verdict} ({outage.took_s:.1f} s in all)")
    if chosen.json is not None:
        content = {"machine": describe_machine(), "outages": [asdict(each) for each in outages]}
        chosen.json.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if any(outage.problems for outage in outages) else 0


if __name__ == "__main__":
    sys.exit(main())
