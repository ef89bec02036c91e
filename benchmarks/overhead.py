"""What a campaign takes besides its device, and besides its stages' own processor time.

``python -m benchmarks.overhead [--vector-s S] [--vectors N] [--cores N] [--json FILE]``

Two campaigns on a private mock, run by the command ``hil`` in processes of their own:

- paced: every vector takes the device `--vector-s`. Wall time from the start of the process to its
  end, and from the first step to the end of the run, each over the sum of the device's time.
- unpaced: the mock answers as fast as it computes. The stages acquire, fit and HDF5 are taken
  alone, on the same steps, and their processor time is added up: as long as the steps would take if
  there were nothing else to do. The share is that sum over the wall time of the steps.

Linux only: it reads the mock's processor time from /proc.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command `hil`; before numpy

from benchmarks.machine import describe_machine, load_average
from benchmarks.stages import StageTimes, measure_stages
from hil.campaign.config.load import load_campaign

HIL = Path(sys.executable).with_name("hil")

_CAMPAIGN = """schema_version = 1
[campaign]
title = "Overhead"
cores = {cores}
[device]
resource = "{resource}"
[vectors]
calibration = {calibration}
verification = {verification}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTimes:
    """How long a campaign took."""

    process_s: float
    """From the start of the process to its end."""
    steps_s: float
    """From the begin of the first step to the end of the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacedResult:
    """A campaign on a device that takes its time."""

    device_s: float
    """Sum of the time that the device takes for its vectors."""
    times: CampaignTimes
    """What the campaign took."""

    @property
    def overhead(self) -> float:
        """Wall time of the whole process, in device times."""
        return self.times.process_s / self.device_s

    @property
    def steps_overhead(self) -> float:
        """Wall time of the steps alone, in device times."""
        return self.times.steps_s / self.device_s


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpacedResult:
    """A campaign on a device that is as fast as it can be."""

    vectors: int
    """Vectors read."""
    times: CampaignTimes
    """What the campaign took."""
    stages: StageTimes
    """What its stages take alone."""

    @property
    def share(self) -> float:
        """Rate of the whole way over the rate that the stages' processor times allow."""
        return self.stages.total_s / self.times.steps_s


def write_campaign(folder: Path, *, resource: str, cores: int, vectors: int) -> Path:
    """Write a campaign of all read modes, with a quarter as many vectors held out."""
    path = folder / "campaign.toml"
    path.write_text(
        _CAMPAIGN.format(
            cores=list(range(cores)),
            resource=resource,
            calibration=vectors,
            verification=max(1, vectors // 4),
        )
    )
    return path


def run_campaign(path: Path, out: Path) -> CampaignTimes:
    """Run a campaign in a process of its own, and return what it took."""
    began_s = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own command
        [str(HIL), "run", str(path), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    process_s = time.monotonic() - began_s
    if done.returncode:
        raise RuntimeError(f"the campaign fails: {done.stderr}")
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    at = [
        datetime.fromisoformat(event["utc"])
        for event in events
        if event["event"] in {"step_started", "step_finished"}
    ]
    return CampaignTimes(process_s=process_s, steps_s=(max(at) - min(at)).total_seconds())


def measure_paced(folder: Path, *, vector_s: float, cores: int, vectors: int) -> PacedResult:
    """Run a campaign on a mock that takes `vector_s` for each vector."""
    resource = f"mock://quickstart?vector_s={vector_s}"
    path = write_campaign(folder, resource=resource, cores=cores, vectors=vectors)
    times = run_campaign(path, folder / "paced")
    steps = 2 * cores
    return PacedResult(device_s=steps * (vectors + vectors // 4) * vector_s, times=times)


def measure_unpaced(folder: Path, *, cores: int, vectors: int, repeats: int) -> UnpacedResult:
    """Run a campaign on a mock that answers at once; the median of several in turns."""
    path = write_campaign(folder, resource="mock://quickstart", cores=cores, vectors=vectors)
    campaign = load_campaign(path, environment={})
    results = []
    for number in range(repeats):
        run = folder / f"unpaced{number}"
        times = run_campaign(path, run)
        results.append(
            UnpacedResult(
                vectors=2 * cores * (vectors + vectors // 4),
                times=times,
                stages=measure_stages(campaign, run),
            )
        )
    results.sort(key=lambda result: result.share)
    return results[len(results) // 2]


def _show_paced(result: PacedResult, vector_s: float) -> list[str]:
    times = result.times
    return [
        f"paced, {1e3 * vector_s:g} ms a vector: device {result.device_s:.1f} s",
        f"  whole process {times.process_s:.1f} s, {result.overhead:.3f} of the device's time",
        f"  steps alone   {times.steps_s:.1f} s, {result.steps_overhead:.3f}",
    ]


def _show_unpaced(result: UnpacedResult) -> list[str]:
    stages, steps_s = result.stages, result.times.steps_s
    rate = result.vectors / steps_s
    parts = f"acquire {stages.acquire_s:.2f} s, fit {stages.fit_s:.2f} s"
    return [
        f"unpaced: {result.vectors} vectors, steps {steps_s:.2f} s, {rate:.0f} vectors/s",
        f"  processor time: {parts}, HDF5 {stages.store_s:.2f} s",
        f"  rate of the whole way over what they allow: {result.share:.2f}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("--vector-s", type=float, default=0.002)
    parser.add_argument("--vectors", type=int, default=4096, help="calibration vectors of a step")
    parser.add_argument("--cores", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3, help="of the unpaced campaign")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    size = {"cores": chosen.cores, "vectors": chosen.vectors}
    machine = describe_machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']:.1f}")
    with tempfile.TemporaryDirectory(prefix="hil-overhead-") as name:
        folder = Path(name)
        os.environ["AIMC_HIL_DATA"] = str(folder / "data")
        unpaced = measure_unpaced(folder, repeats=chosen.repeats, **size)
        print("\n".join(_show_unpaced(unpaced)), flush=True)
        paced = measure_paced(folder, vector_s=chosen.vector_s, **size)
        print("\n".join(_show_paced(paced, chosen.vector_s)))
    machine["load_average_after"] = load_average()
    if chosen.json is not None:
        content = {"machine": machine, "unpaced": asdict(unpaced), "paced": asdict(paced)}
        chosen.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
