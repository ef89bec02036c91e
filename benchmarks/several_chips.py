"""Two chips at once against one: what it costs to drive several where the devices set the pace.

``python -m benchmarks.several_chips [--vector-s T] [--vectors N] [--repeats N] [--json FILE]``

Each chip is a private mock that takes T seconds for every vector. The campaign of one chip and that
of both run in turns, as whole ``hil run`` commands, from the start of the process to its end. Asked
for: both take less than 1.3 times as long as one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.machine import describe_machine, load_average

HIL = (sys.executable, "-P", "-m", "hil")
ASKED = 1.3
"""How many times as long as one chip two may take."""
_STEPS = 4
_CAMPAIGN = """schema_version = 1
[campaign]
title = "Two at once"
cores = [0, 1]
[devices.left]
resource = "mock://quickstart?seed=1&vector_s={vector_s}"
[devices.right]
resource = "mock://quickstart?seed=2&vector_s={vector_s}"
[vectors]
calibration = {calibration}
verification = {verification}
"""


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.several_chips", description=__doc__)
    parser.add_argument("--vector-s", type=float, default=0.01, help="seconds for a vector")
    parser.add_argument("--vectors", type=int, default=768, help="vectors of each of 4 steps")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of one and of both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time here")
    options = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Path(folder) / "two.toml"
        text = _CAMPAIGN.format(
            vector_s=options.vector_s,
            calibration=options.vectors - options.vectors // 3,
            verification=options.vectors // 3,
        )
        campaign.write_text(text)
        one, both = time_runs(campaign, options.repeats)
    machine["load_average_after"] = load_average()
    device_s = _STEPS * options.vectors * options.vector_s
    print(
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']:.1f} before, "
    )
    print(f"  {machine['load_average_after']:.1f} after; each chip multiplies for {device_s:.1f} s")
    print(f"one chip    {median(one):7.2f} s")
    print(f"both chips  {median(both):7.2f} s")
    print(f"ratio       {median(both) / median(one):7.3f}   (asked: < {ASKED})")
    if options.json:
        result = {"machine": machine, "device_s": device_s, "one_s": one, "both_s": both}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def time_runs(campaign: Path, repeats: int) -> tuple[list[float], list[float]]:
    """Return the times of one chip and of both, in seconds, taken in turns."""
    one, both = [], []
    data = campaign.with_name("data")
    for number in range(repeats):
        out = campaign.with_name(f"run{number}")
        one.append(_time("--chip", "left", "--out", f"{out}-one", "--", str(campaign), data=data))
        both.append(_time("--out", f"{out}-both", "--", str(campaign), data=data))
    return one, both


def _time(*arguments: str, data: Path) -> float:
    """Return how long a whole ``hil run`` takes, with chips' books of its own."""
    environment = {**os.environ, "AIMC_HIL_DATA": str(data)}
    began_s = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own command
        [*HIL, "run", *arguments], check=True, capture_output=True, env=environment
    )
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
