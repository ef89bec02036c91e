"""Runs go on, and are replayed, with the visits that they were measured in, and with no others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import hil
from hil.campaign.config.load import load_campaign
from hil.campaign.runner import replay_run, resume_run, utc_now
from hil.core.errors import ConfigError, DatasetError
from hil_datasets.journal import Journal
from hil_datasets.run_directory import RunDirectory

PROFILE = """schema_version = 1
name = "plans-test"
[array]
cores = 1
rows = 16
columns = 16
"""
CAMPAIGN = """schema_version = 1
[campaign]
title = "Plans"
read_modes = ["one_phase"]
[device]
resource = "mock://small.toml?time=virtual"
[vectors]
calibration = 64
verification = 32
block = 16
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {value}"
query = "TEMP?"
lower = -20
upper = 85
settle = { tolerance = 0.5, stable_s = 1, timeout_s = 3600 }
[[sweep]]
quantity = "chamber.temperature"
values = [25, 40]
[steps.calibrate]
[steps.probe]
vectors = 16
[steps.drift-watch]
first = "1h"
until = "10h"
per_decade = 1
vectors = 32
error_limit = 5
"""
FINISHED = 4
"""Steps of the sweep's two visits: a calibration and a probe in each."""


class Quiet:
    """Hears what happens and says nothing."""

    def hear(self, event: object) -> None: ...

    def tick(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans")
    (path / "small.toml").write_text(PROFILE)
    (path / "campaign.toml").write_text(CAMPAIGN)
    done = hil("run", path / "campaign.toml", "--out", path / "whole")
    assert done.code == 0, done.stderr
    return path


@pytest.fixture
def cut(folder: Path, tmp_path: Path) -> Path:
    """Return a run that ended when the sweep was done, before the drift watch."""
    run = tmp_path / "cut"
    shutil.copytree(folder / "whole", run)
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    steps = [place for place, line in enumerate(lines) if '"event": "step"' in line]
    (run / "journal.jsonl").write_text("".join(lines[: steps[FINISHED - 1] + 1]))
    for line in lines[steps[FINISHED] :]:
        if '"event": "step"' in line:
            (run / json.loads(line)["file"]).unlink()
    return run


def resumed(run: Path, campaign: Path | None = None) -> None:
    given = None if campaign is None else load_campaign(campaign, environment={})
    resume_run(run, given, accepts_changes=True, breaks_lock=False, observer=Quiet(), now=utc_now)


def other(folder: Path, before: str, after: str) -> Path:
    """Write the campaign with one change."""
    assert before in CAMPAIGN
    path = folder / f"other{abs(hash((before, after)))}.toml"
    path.write_text(CAMPAIGN.replace(before, after))
    return path


def edited(run: Path, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the events of a journal."""
    path = run / "journal.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    edit(events)
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))


def names_of(run: Path, event: str) -> list[str]:
    return [each.get("step", "") for each in RunDirectory(run).events() if each["event"] == event]


def test_start_says_what_each_visit_is(folder: Path) -> None:
    start = json.loads((folder / "whole" / "journal.jsonl").read_text().splitlines()[0])
    kinds = ["calibrate", "probe"]
    assert [(each["settings"], sorted(each["kinds"])) for each in start["visits"]] == [
        ({"chamber.temperature": 25.0}, kinds),
        *[({"chamber.temperature": 40.0}, kinds)] * 3,
    ]
    assert [each.get("due_s") for each in start["visits"]] == [None, None, 3600.0, 36000.0]


def test_finished_steps_of_another_sweep_are_refused_by_name_whatever_is_accepted(
    folder: Path, cut: Path
) -> None:
    before = (cut / "journal.jsonl").read_bytes()
    refused = hil(
        "resume", cut, "--campaign", other(folder, "[25, 40]", "[25, 60]"), "--accept-changes"
    )
    assert refused.code == 3
    assert (
        "core00_one_phase_visit01 was taken with chamber.temperature = 40: the campaign has "
        "chamber.temperature = 60" in refused.stderr
    )
    assert "need another run" in refused.stderr
    assert "core00_one_phase " not in refused.stderr  # visit 0 is at 25 in both
    assert (cut / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[25, 40]", "[25]"), "visit01 was taken with chamber.temperature = 40: "),
        (("[steps.probe]\nvectors = 16\n", ""), "_probe is a probe step, and visit 0 has none"),
        (("[25, 40]", "[25, 30, 40]"), "visit01 was taken with .* = 40: .* = 30"),
        (
            ("[steps.calibrate]", "[steps.program]\n[steps.calibrate]"),
            "visit 0: has a program",
        ),
    ],
)
def test_finished_steps_that_the_plan_has_no_more_are_refused(
    folder: Path, cut: Path, change: tuple[str, str], message: str, is_older: bool
) -> None:
    if is_older:  # its configuration says what its journal did not
        edited(cut, lambda events: events[0].pop("visits"))
    with pytest.raises(ConfigError, match=message):
        resumed(cut, other(folder, *change))


def test_finished_steps_of_a_drift_watch_are_held_to_its_ages(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "whole"
    shutil.copytree(folder / "whole", run)
    with pytest.raises(ConfigError, match=r"visit02_probe was taken at .* 3600 s: .* 7200 s"):
        resumed(run, other(folder, '"1h"', '"2h"'))


def test_visits_that_nobody_began_may_change_and_so_may_how_to_calibrate(
    folder: Path, cut: Path
) -> None:
    changed = other(folder, '"10h"', '"20h"')
    changed.write_text(changed.read_text() + "[calibration]\nheadroom = 2\n")
    part = cut / "steps" / "core00_one_phase_visit03_probe.h5.part"
    part.write_bytes(b"begun at another age")
    resumed(cut, changed)
    assert RunDirectory(cut).events()[-1]["status"] == "complete"
    assert not part.exists()
    assert len(RunDirectory(cut).events()) > FINISHED


@pytest.mark.parametrize("name", ["campaign", "identity", "geometry"])
def test_resume_event_that_lacks_a_key_is_named_with_its_line(cut: Path, name: str) -> None:
    def add(events: list[dict[str, Any]]) -> None:
        events.append({**events[0], "event": "resume"})
        del events[-1][name]

    edited(cut, add)
    line = len((cut / "journal.jsonl").read_text().splitlines())
    with pytest.raises(DatasetError, match=f"line {line}: resume event: {name}: missing"):
        resumed(cut)


SKIP = {"event": "skip", "utc": "", "read_mode": "one_phase", "reason": "so it says"}


@pytest.mark.parametrize(
    ("skip", "message"),
    [
        ({"core": 0, "visit": 77}, "core00_one_phase_visit77: the run has not planned such a step"),
        ({"core": 99, "visit": 2}, "core99_one_phase_visit02: the run has not planned such"),
        ({"core": 0}, "core00_one_phase: was finished before"),
        ({"core": 0, "visit": 2, "step": "core00_one_phase"}, "names core00_one_phase: its"),
    ],
)
def test_skips_that_the_plan_does_not_allow_are_named_with_their_line(
    cut: Path, skip: dict[str, Any], message: str
) -> None:
    edited(cut, lambda events: events.append({**SKIP, **skip}))
    line = len((cut / "journal.jsonl").read_text().splitlines())
    for look in (lambda: resumed(cut), lambda: RunDirectory(cut).skipped_steps()):
        with pytest.raises(
            DatasetError, match=rf"journal.jsonl: line {line}: skip event: {message}"
        ):
            look()


@pytest.mark.parametrize("is_older", [False, True])
def test_step_that_no_drift_watch_asks_for_cannot_have_been_skipped(
    cut: Path, is_older: bool
) -> None:
    def replace_last(events: list[dict[str, Any]]) -> None:
        events[-1] = {**SKIP, "core": 0, "visit": 1, "kind": "probe"}
        if is_older:
            events[0].pop("visits")

    edited(cut, replace_last)
    with pytest.raises(DatasetError, match="visit01_probe: visit 1 is not of a drift watch"):
        resumed(cut)


def test_finished_step_that_was_not_planned_is_named_with_its_line(cut: Path) -> None:
    edited(cut, lambda events: events.append({**events[-1], "core": 7, "visit": 0}))
    refused = hil("resume", cut)
    assert refused.code == 5
    assert "step event: core07_one_phase" in refused.stderr
    assert "the run has not planned such a step" in refused.stderr
    assert "cannot be indexed" not in refused.stderr


def test_replay_tells_what_was_skipped_and_why(folder: Path, tmp_path: Path) -> None:
    recorded = RunDirectory(folder / "whole").skipped_steps()
    assert recorded
    assert hil("replay", folder / "whole", "--out", tmp_path / "again").code == 0
    assert RunDirectory(tmp_path / "again").skipped_steps() == recorded
    told = hil("info", tmp_path / "again", "--json").stdout
    assert all(json.dumps(reason) in told for reason in recorded.values())
    again = tmp_path / "once more"
    assert hil("replay", tmp_path / "again", "--out", again).code == 0
    assert RunDirectory(again).skipped_steps() == recorded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[25, 40]", "[25, 60]"), "visit 1: was recorded with .* = 40: the campaign has .* = 60"),
        (("[steps.probe]\nvectors = 16\n", ""), "visit 0: the recording has probe steps"),
        (("[steps.probe]", "[steps.verify]\n[steps.probe]"), "visit 0: the recording lacks verify"),
        (('"10h"', '"5h"'), "visit 3: was recorded at an age of 36000 s: .* 18000 s"),
        (
            ('"10h"', '"100h"'),
            "visit 4: the recording lacks probe and calibrate",
        ),
    ],
)
@pytest.mark.parametrize("is_older", [False, True])
def test_replay_with_other_visits_is_refused(
    folder: Path, tmp_path: Path, change: tuple[str, str], message: str, is_older: bool
) -> None:
    run = tmp_path / "whole"
    shutil.copytree(folder / "whole", run)
    if is_older:
        edited(run, lambda events: events[0].pop("visits"))
    campaign = load_campaign(other(folder, *change), environment={})
    with pytest.raises(ConfigError, match=message):
        replay_run(run, campaign, is_own=False, out=tmp_path / "no", observer=Quiet(), now=utc_now)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[25, 40]", "[25, 60]", "visit 1: was recorded with chamber.temperature = 40"),
        ('"10h"', '"100h"', "visit 4: the recording lacks it, at an age of 360000 s"),
    ],
)
def test_campaign_on_a_recording_of_other_visits_is_refused(
    folder: Path, tmp_path: Path, before: str, after: str, message: str
) -> None:
    played = f"device.resource=replay://{folder / 'whole'}?speed=max"
    done = hil("run", other(folder, before, after), "--set", played, "--out", tmp_path / "no")
    assert done.code == 3
    assert message in done.stderr
    assert not (tmp_path / "no").exists()


def test_campaign_on_a_recording_keeps_what_was_skipped(folder: Path, tmp_path: Path) -> None:
    played = f"device.resource=replay://{folder / 'whole'}?speed=max"
    done = hil("run", folder / "campaign.toml", "--set", played, "--out", tmp_path / "played")
    assert done.code == 0, done.stderr
    recorded = RunDirectory(folder / "whole").skipped_steps()
    assert RunDirectory(tmp_path / "played").skipped_steps() == recorded


def test_core_that_failed_is_not_programmed_more_often_than_allowed_by_going_on(
    folder: Path, tmp_path: Path
) -> None:
    hopeless = "[steps.program]\nvectors = 16\nattempts = 2\nerror_limit = 1e-6\n[steps.calibrate]"
    run = tmp_path / "run"
    campaign = other(folder, "[steps.calibrate]", hopeless)
    done = hil("run", campaign, "--out", run)
    assert done.code == 1, done.stderr
    assert names_of(run, "program") == ["core00_one_phase_program"] * 2
    for _ in range(2):
        resumed(run)
        assert names_of(run, "program") == ["core00_one_phase_program"] * 2
    reason = RunDirectory(run).events()[-1]["failed"][0]
    assert "was programmed 2 times for it: steps.program.attempts is 2" in reason
    campaign.write_text(campaign.read_text().replace("attempts = 2", "attempts = 3"))
    resumed(run, campaign)
    assert names_of(run, "program") == ["core00_one_phase_program"] * 3


def test_journal_refuses_visits_that_are_none(cut: Path) -> None:
    def damage(events: list[dict[str, Any]]) -> None:
        events[0]["visits"][1]["settings"] = {"chamber.temperature": "warm"}

    edited(cut, damage)
    with pytest.raises(DatasetError, match=r"line 1: start event: visits: settings of visit 1 are"):
        RunDirectory(cut).events()


def test_journal_keeps_what_was_said_of_visits(tmp_path: Path) -> None:
    visits = [{"settings": {}, "kinds": ["probe"], "due_s": 60.0}]
    Journal(tmp_path / "journal.jsonl").append("start", utc="1", visits=visits)
    (visit,) = RunDirectory(tmp_path).events()[0]["visits"]
    assert (visit.settings, visit.kinds, visit.due_s) == ({}, ("probe",), 60.0)
