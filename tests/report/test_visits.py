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


def lines_of(summary: RunSummary, *, width: int = 120, has_details: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_summary(summary, console, has_details=has_details)
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
    assert (
        "core: over its calibrated columns, as calibrated last; last probe: the newest reading "
        "with this correction"
    ) in lines_of(summary)


def test_core_that_was_probed_after_its_calibration_shows_that_error(summary: RunSummary) -> None:
    rows = [line.split() for line in lines_of(summary)]
    assert ["0", "one_phase", "50.00", "12.50", "18.75", "18.75", "12.50"] in [r[:7] for r in rows]
    assert ["2", "one_phase", "50.00", "12.50", "18.75", "18.75", "-"] in [r[:7] for r in rows]


def test_matrix_has_a_column_for_each_core_and_a_row_for_each_kind(summary: RunSummary) -> None:
    lines = lines_of(summary, has_details=False)
    place = lines.index("Visits, one_phase: relative L2 error (NMPU) of each core in %")
    table = [line.split() for line in lines[place + 1 : place + 7]]
    assert table[:2] == [
        ["temperature", "core", "core"],
        ["visit", "degC", "age", "step", "0", "2"],
    ]
    assert table[3:] == [
        ["0", "10", "1", "min", "calibrate", "25.00", "25.00"],
        ["1", "40", "10", "min", "calibrate", "18.75", "18.75"],
        ["2", "40", "1.67", "h", "probe", "12.50", "-"],
    ]


def test_reasons_are_summed_up_and_told_apart_only_in_detail(summary: RunSummary) -> None:
    lines = lines_of(summary, has_details=False)
    assert f"skipped: 1 of 6 steps (1 {visited.REASON})" in lines
    assert "why of each: hil info --details" in lines
    assert f"core00_one_phase_visit02: {visited.REASON}" not in lines


def test_reasons_that_differ_in_their_numbers_are_one_kind(summary: RunSummary) -> None:
    skips = tuple(
        SkippedStep(
            step=f"core0{core}_one_phase_visit02",
            reason=f"the nmpu error of core0{core}_one_phase_visit02_probe is 1{core} %: within "
            "the limit, 14 %",
        )
        for core in range(3)
    )
    again = tuple(
        Recalibration(
            step=f"core0{core}_one_phase_visit01",
            reason=f"core0{core}_one_phase_visit01_probe failed",
            remark=f"core {core} one_phase: still at 1{core} %: only programming it again helps",
        )
        for core in range(2)
    )
    first, second, third = summary.visits
    visits = (first, replace(second, recalibrated=again), replace(third, skipped=skips))
    lines = lines_of(replace(summary, visits=visits), has_details=False)
    assert "skipped: 3 of 8 steps (3 within the limit, 14 %)" in lines
    assert "calibrated again: 2 of 5 steps (2 the probe failed)" in lines
    assert (
        "calibrated again in vain: 2 of 2 cores and read modes (2 only programming it again helps)"
    ) in " ".join(lines)


def test_many_cores_are_median_and_worst_unless_in_detail(summary: RunSummary) -> None:
    steps = tuple(
        replace(summary.steps[0], core=core, errors={**summary.steps[0].errors, "nmpu": error})
        for core, error in enumerate((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 0.7, 0.8))
    )
    wide = replace(summary, steps=steps)
    short = [line.split() for line in lines_of(wide, has_details=False)]
    assert ["0", "10", "1", "min", "calibrate", "9", "50.00", "90.00", "6"] in short
    assert "9 cores: hil info --details has a column for each" in lines_of(wide, has_details=False)
    full = [line.split() for line in lines_of(wide)]
    assert ["visit", "degC", "age", "step", "8"] in full


def test_narrow_terminal_cuts_no_heading_and_no_number(summary: RunSummary) -> None:
    text = "\n".join(lines_of(summary, width=20))
    assert "\u2026" not in text
    assert "chamber.temperature 40 degC" in text


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
