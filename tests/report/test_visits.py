"""What is said of a run with several visits."""

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import example_steps as example
import visited_run as visited
from hil.core.readout import ReadMode
from hil.report.summary import RunSummary, summarize_run
from hil.report.table import print_summary
from hil.report.visits import (
    Recalibration,
    SkippedStep,
    VisitedStep,
    recalibrations,
    summarize_visits,
)
from hil_datasets.circumstance import FIRST_CALIBRATION
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return visited.write_visited_run(tmp_path_factory.mktemp("told") / "run")


@pytest.fixture(scope="module")
def summary(run: RunDirectory) -> RunSummary:
    return summarize_run(run)


def lines_of(summary: RunSummary) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    print_summary(summary, console)
    return [line.strip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_every_step_is_told_with_its_visit_and_kind(summary: RunSummary) -> None:
    told = [(step.core, step.visit, step.kind, step.correction_of) for step in summary.steps]
    assert told == [
        (0, 0, "calibrate", None),
        (0, 1, "calibrate", None),
        (0, 2, "probe", "core00_one_phase_visit01"),
        (2, 0, "calibrate", None),
        (2, 1, "calibrate", None),
    ]


def test_table_of_errors_shows_the_newest_calibrations(summary: RunSummary) -> None:
    assert [(step.core, step.visit) for step in summary.calibrations] == [(0, 1), (2, 1)]
    assert "core: over its calibrated columns, as calibrated last" in lines_of(summary)


def test_visits_have_their_settings_ages_and_errors(summary: RunSummary) -> None:
    cold, hot, probed = summary.visits
    assert [each.setpoints for visit in summary.visits for each in visit.conditions] == [
        (10.0,),
        (40.0,),
        (40.0,),
    ]
    assert (cold.youngest_s, hot.oldest_s, probed.oldest_s) == (60.0, 600.0, 6000.0)
    assert [(kind.kind, kind.steps, kind.worst_error) for kind in hot.kinds] == [
        ("calibrate", 2, 0.1875)
    ]
    assert [(kind.kind, kind.errors["nmpu"], kind.worst_step) for kind in probed.kinds] == [
        ("probe", 0.125, "core00_one_phase_visit02_probe")
    ]


def test_skipped_step_is_told_with_its_reason(summary: RunSummary) -> None:
    skipped = SkippedStep(step="core00_one_phase_visit02", reason=visited.REASON)
    assert [visit.skipped for visit in summary.visits] == [(), (), (skipped,)]
    assert f"core00_one_phase_visit02: {visited.REASON}" in lines_of(summary)


def test_table_has_a_row_for_each_kind_of_each_visit(summary: RunSummary) -> None:
    rows = [line.split() for line in lines_of(summary)]
    assert ["0", "chamber.temperature", "10", "degC", "1", "min"] in [row[:6] for row in rows]
    assert [row[4:] for row in rows if row[1:4] == ["chamber.temperature", "40", "degC"]] == [
        ["10", "min", "calibrate", "one_phase", "2", "50.00", "12.50", "18.75", "18.75"],
        ["1.67", "h", "probe", "one_phase", "1", "50.00", "12.50", "12.50", "12.50"],
    ]
    assert ["skipped", "1"] in rows


def test_each_read_mode_has_a_row_of_its_own() -> None:
    errors = dict.fromkeys(("uncorrected", "float", "fp16", "nmpu"), 0.5)
    steps = [
        VisitedStep(
            key=StepKey(core, mode, visit=1),
            age_s=60.0,
            conditions=(),
            errors=errors | {"nmpu": error},
        )
        for mode, error in ((ReadMode.ONE_PHASE, 0.14), (ReadMode.FOUR_PHASE, 0.44))
        for core in (0, 1)
    ]
    (visit,) = summarize_visits(steps, {}, {})
    told = [(kind.read_mode, kind.steps, kind.errors["nmpu"]) for kind in visit.kinds]
    assert told == [("one_phase", 2, 0.14), ("four_phase", 2, 0.44)]


def test_calibration_of_a_drift_watch_is_told_with_its_reason_and_what_did_not_help() -> None:
    named = {"core": 0, "read_mode": ReadMode.ONE_PHASE, "visit": 2}
    events = [
        {"event": "step", "core": 0, "read_mode": ReadMode.ONE_PHASE},
        {"event": "step", **named, "reason": "18 % is beyond the limit", "remark": "still 16 %"},
    ]
    key = StepKey(0, ReadMode.ONE_PHASE, visit=2)
    assert recalibrations(events) == {
        key: Recalibration(step=key.name, reason="18 % is beyond the limit", remark="still 16 %")
    }


def test_skipped_step_is_not_left_to_do(run: RunDirectory, summary: RunSummary) -> None:
    assert replace(summary, steps_planned=6).steps_left == 0
    assert replace(summary, steps_planned=7).steps_left == 1


def test_run_that_calibrated_once_has_no_visits(tmp_path: Path) -> None:
    origin = replace(example.ORIGIN, circumstance=FIRST_CALIBRATION)
    run = example.write_run(tmp_path / "run", example.ONE, example.FOUR, origin=origin)
    summary = summarize_run(run)
    assert summary.visits == ()
    assert all(math.isnan(step.age_s) for step in summary.steps)
    assert not any(line.startswith("Visits") for line in lines_of(summary))
