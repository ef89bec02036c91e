"""A drift campaign of three days over a temperature sweep, on a mock whose time is virtual."""

import json
import math
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from command_line import hil, start_hil
from hil.core.readout import ReadMode
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey, StepKind, StepRecord

LIMIT = 0.127
AGES_S = (60.0, 600.0, 6000.0, 60000.0, 259200.0)

PROFILE = """schema_version = 1
name = "visits-test"
[array]
cores = 1
rows = 32
columns = 32
"""
CAMPAIGN = f"""schema_version = 1
[campaign]
title = "Three days"
read_modes = ["one_phase"]
[device]
resource = "mock://small.toml?time=virtual"
[vectors]
calibration = 128
verification = 64
block = 16
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {{value}}"
query = "TEMP?"
unit = "degC"
lower = -20
upper = 85
settle = {{ tolerance = 0.5, stable_s = 1, timeout_s = 3600 }}
safe = 25
[[sweep]]
quantity = "chamber.temperature"
values = [25, 40]
[steps.program]
vectors = 16
[steps.calibrate]
at = {{ "chamber.temperature" = 25 }}
[steps.probe]
vectors = 16
[steps.verify]
[steps.characterise]
vectors = 8
repeats = 4
[steps.drift-watch]
until = "3d"
per_decade = 1
vectors = 64
error_limit = {LIMIT}
at = {{ "chamber.temperature" = 25 }}
"""


def key(visit: int, kind: StepKind = StepKind.CALIBRATE) -> StepKey:
    return StepKey(0, ReadMode.ONE_PHASE, visit=visit, kind=kind)


@dataclass(frozen=True)
class Finished:
    """A run that came to its end."""

    path: Path

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.path)

    @cached_property
    def records(self) -> dict[StepKey, StepRecord]:
        return {record.key: record for record in self.run.read_steps()}

    @property
    def result(self) -> dict[str, Any]:
        """All that must not depend on what happened to the process."""
        return {
            record.key.name: (
                record.raw_sha256,
                record.conclusion.errors,
                record.origin.circumstance,
                record.conclusion.registers.scale_p.tolist(),
                [(each.setpoint, each.at_start, each.at_end) for each in record.conditions],
            )
            for record in self.records.values()
        } | {"skipped": self.run.skipped_steps()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("visits")
    (path / "small.toml").write_text(PROFILE)
    (path / "campaign.toml").write_text(CAMPAIGN)
    return path


@pytest.fixture(scope="module")
def quiet(folder: Path) -> Finished:
    done = hil("run", folder / "campaign.toml", "--out", folder / "quiet")
    assert done.code == 0, done.stderr
    return Finished(folder / "quiet")


def test_every_kind_of_step_is_taken_in_the_order_of_its_visit(quiet: Finished) -> None:
    first = [record.name for record in quiet.run.finished_steps()][:8]
    assert first == [
        "core00_one_phase_program",
        "core00_one_phase",
        "core00_one_phase_probe",
        "core00_one_phase_verify",
        "core00_one_phase_characterise",
        "core00_one_phase_visit01_probe",
        "core00_one_phase_visit01_verify",
        "core00_one_phase_visit01_characterise",
    ]


def test_visits_are_made_at_their_temperature(quiet: Finished) -> None:
    for visit, celsius in ((0, 25), (1, 40), (6, 25)):
        (condition,) = quiet.records[key(visit, StepKind.PROBE)].conditions
        assert condition.setpoint == celsius
        assert condition.at_start == pytest.approx(celsius, abs=0.5)


def test_core_is_calibrated_again_where_its_probe_is_beyond_the_limit_and_nowhere_else(
    quiet: Finished,
) -> None:
    skipped = quiet.run.skipped_steps()
    taken = 0
    for visit in range(2, 2 + len(AGES_S)):
        probe = quiet.records.get(key(visit, StepKind.PROBE))
        is_beyond = probe is not None and probe.conclusion.errors["nmpu"] > LIMIT
        assert (key(visit) in quiet.records) == is_beyond
        assert (key(visit) in skipped) == (not is_beyond)
        taken += is_beyond
    assert 0 < taken < len(AGES_S)  # both were seen


def test_reason_of_a_skip_names_the_error_and_the_limit(quiet: Finished) -> None:
    reasons = list(quiet.run.skipped_steps().values())
    assert any("within the limit, 12.7 %" in reason for reason in reasons)


def test_calibration_of_the_watch_says_why_it_was_made_and_where_it_did_not_help(
    quiet: Finished,
) -> None:
    events = [event for event in quiet.run.events() if event["event"] == "step"]
    watched = [event for event in events if event.get("visit", 0) > 1 and event.get("kind") is None]
    assert watched
    for event in watched:
        assert event["reason"].endswith("beyond the limit, 12.7 %")
        has_helped = event["errors"]["nmpu"] <= LIMIT
        assert has_helped == ("remark" not in event)
    assert [event for event in events if "reason" in event] == watched


def test_probes_of_the_watch_are_read_when_the_core_is_as_old_as_planned(quiet: Finished) -> None:
    for visit, due_s in enumerate(AGES_S, start=2):
        probe = quiet.records.get(key(visit, StepKind.PROBE))
        if probe is not None and due_s > 600:  # the sweep has taken the first minutes
            assert 0 <= probe.origin.circumstance.age_s - due_s < 10


def test_probes_judge_the_newest_calibration(quiet: Finished) -> None:
    newest = key(0)
    for visit in range(7):
        probe = quiet.records.get(key(visit, StepKind.PROBE))
        if probe is not None:
            source = probe.origin.circumstance.correction_of
            assert source is not None
            assert source.step == newest.name
            assert source.raw_sha256 == quiet.records[newest].raw_sha256
            of = quiet.records[newest].conclusion
            assert probe.conclusion.registers == of.registers
        newest = key(visit) if key(visit) in quiet.records else newest


def test_characterisation_knows_the_noise_and_a_probe_does_not(quiet: Finished) -> None:
    quality = quiet.records[key(0, StepKind.CHARACTERISE)].conclusion.quality
    assert quality is not None
    assert (quality.noise_rms > 0).all()
    probed = quiet.records[key(0, StepKind.PROBE)].conclusion.quality
    assert probed is not None
    assert all(math.isnan(noise) for noise in probed.noise_rms)


@pytest.mark.parametrize("steps", [3, 10])
def test_killed_campaign_goes_on_to_the_same_result(
    quiet: Finished, folder: Path, tmp_path: Path, steps: int
) -> None:
    path = tmp_path / "killed"
    process = start_hil("run", folder / "campaign.toml", "--out", path)
    _kill_after(process, path, steps)
    killed = RunDirectory(path)
    finished = len(killed.finished_steps())
    assert steps <= finished < len(quiet.records)
    done = hil("resume", path)
    assert done.code == 0, done.stderr
    assert Finished(path).result == quiet.result
    assert len(killed.finished_steps()) == len(
        [event for event in killed.events() if event["event"] == "step"]
    )  # none was taken twice


def _kill_after(process: subprocess.Popen[str], path: Path, steps: int) -> None:
    journal = path / "journal.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if journal.exists() and journal.read_text().count('"event": "step"') >= steps:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def test_replay_of_a_run_with_visits_concludes_the_same(quiet: Finished, tmp_path: Path) -> None:
    replays = [tmp_path / "again", tmp_path / "once more"]
    for source, replay in zip((quiet.path, replays[0]), replays, strict=True):
        done = hil("replay", source, "--out", replay)
        assert done.code == 0, done.stderr
    again = Finished(replays[0]).result
    assert again | {"skipped": quiet.run.skipped_steps()} == quiet.result
    for path in (replays[0] / "steps").iterdir():
        assert path.read_bytes() == (replays[1] / "steps" / path.name).read_bytes(), path.name


def test_campaign_on_a_recording_takes_the_steps_that_were_recorded(
    quiet: Finished, folder: Path, tmp_path: Path
) -> None:
    done = hil(
        "run",
        folder / "campaign.toml",
        "--set",
        f"device.resource=replay://{quiet.path}?speed=max",
        "--out",
        tmp_path / "played",
    )
    assert done.code == 0, done.stderr
    played = Finished(tmp_path / "played")
    hashes = {each.name: record.raw_sha256 for each, record in played.records.items()}
    assert hashes == {each.name: record.raw_sha256 for each, record in quiet.records.items()}


def test_plan_shows_visits_vectors_wear_and_waiting(folder: Path) -> None:
    real = "device.resource=mock://small.toml"
    done = hil("plan", folder / "campaign.toml", "--no-device", "--json", "--set", real)
    assert done.code == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [visit["settings"] for visit in plan["visits"]][:2] == [
        {"chamber.temperature": 25.0},
        {"chamber.temperature": 40.0},
    ]
    assert [visit["age_s"] for visit in plan["visits"]] == [None, None, *AGES_S]
    assert [step["kind"] for step in plan["steps"]][:5] == [
        "program", "calibrate", "probe", "verify", "characterise",
    ]  # fmt: skip
    # program 16, calibrate 192, twice probe 16, verify 64 and 8 vectors of 4 readings; then five
    # probes of 64 and five calibrations.
    assert plan["vectors"] == 16 + 192 + 2 * (16 + 64 + 32) + 5 * (64 + 192)
    assert plan["wear"][0]["planned"] == 2  # both attempts
    assert plan["time"]["wait_s"] == 259200.0


def test_plan_in_words_names_each_visit(folder: Path) -> None:
    done = hil("plan", folder / "campaign.toml", "--no-device")
    assert "chamber.temperature" in done.stdout
    assert "probe, then calibrate where the error is beyond its limit" in done.stdout
