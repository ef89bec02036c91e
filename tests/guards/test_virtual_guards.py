"""In virtual time no guard changes a result, however often it looks, and pauses pass at once."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from command_line import hil, start_hil
from guarded_runs import Meddler, events_of
from hil.campaign.config.load import load_campaign
from hil.campaign.runner import run_campaign, utc_now
from hil.core.errors import SafetyLimitError
from hil_datasets.run_directory import RunDirectory

PROFILE = """schema_version = 1
name = "guarded"
[array]
cores = 1
rows = 16
columns = 16
"""
CAMPAIGN = """schema_version = 1
[campaign]
title = "Guarded in virtual time"
read_modes = ["one_phase"]
[device]
resource = "mock://small.toml?time=virtual"
[vectors]
calibration = 64
verification = 32
block = 8
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {value}"
query = "TEMP?"
unit = "degC"
lower = -20
upper = 85
settle = { tolerance = 0.02, stable_s = 5, timeout_s = 7200 }
[instruments.supply]
resource = "mock://supply"
[instruments.supply.quantities.current]
query = "MEAS:CURR?"
unit = "A"
[[sweep]]
quantity = "chamber.temperature"
values = [25, 40]
[steps.calibrate]
[steps.probe]
vectors = 16
[steps.drift-watch]
until = "1d"
per_decade = 1
vectors = 16
error_limit = 0.13
"""
GUARDS = """[guards]
every_s = {every_s}
wait_s = {wait_s}
[guards.readings."chamber.temperature"]
highest = {highest}
[guards.readings."supply.current"]
highest = 0.5
"""


PLATE = """[instruments.chamber.quantities.plate]
query = "TEMP?"
"""
TOO_HOT = """[guards.readings."chamber.plate"]
highest = 30.0
"""


def campaign(folder: Path, guards: str) -> Path:
    folder.mkdir()
    (folder / "small.toml").write_text(PROFILE)
    path = folder / "campaign.toml"
    path.write_text(CAMPAIGN + guards)
    return path


def guards(*, every_s: float, wait_s: float = 0.0, highest: float = 80.0) -> str:
    return GUARDS.format(every_s=every_s, wait_s=wait_s, highest=highest)


def run(folder: Path, guards: str) -> Path:
    run_campaign(
        load_campaign(campaign(folder, guards), environment={}),
        out=folder / "run",
        observer=Meddler(),
        now=utc_now,
    )
    return folder / "run"


def results(path: Path) -> dict[str, Any]:
    """Return all of a run that the chip, the instruments and the time on the bench decide."""
    run = RunDirectory(path)
    return {
        record.key.name: (
            record.raw_sha256,
            record.origin.circumstance.age_s,
            [(each.setpoint, each.at_start, each.at_end) for each in record.conditions],
        )
        for record in run.read_steps()
    } | {"skipped": run.skipped_steps()}


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results(run(tmp_path_factory.mktemp("unguarded") / "it", ""))


@pytest.mark.parametrize("every_s", [0.0, 0.2])
def test_guard_of_readings_changes_no_result(
    tmp_path: Path, unguarded: dict[str, Any], every_s: float
) -> None:
    assert len(unguarded) > 6
    assert results(run(tmp_path / "guarded", guards(every_s=every_s))) == unguarded


def test_run_that_was_killed_gives_the_results_of_one_that_was_not(
    tmp_path: Path, unguarded: dict[str, Any]
) -> None:
    path = campaign(tmp_path / "killed", guards(every_s=0.0))
    out = path.parent / "run"
    process = start_hil("run", path, "--out", out)
    deadline = time.monotonic() + 60
    while len(events_of(out, "step")) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resumed = hil("resume", out)
    assert resumed.code == 0, resumed.stderr
    assert results(out) == unguarded


def test_pause_of_days_that_never_clears_ends_at_once(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(SafetyLimitError, match="it did not clear within 604800 s"):
        run(tmp_path / "hot", f"{PLATE}{guards(every_s=0.2, wait_s=604800.0)}{TOO_HOT}")
    assert time.monotonic() - began_s < 20
