"""A run of several visits as a series over visits: ages, settings and errors."""

from pathlib import Path

import numpy as np
import pytest

import example_steps as example
import visited_run as visited
from hil.core.errors import DatasetError
from hil_datasets import open_run
from hil_datasets.opened_run import OpenedRun
from hil_datasets.run_directory import create_run

xarray = pytest.importorskip("xarray", reason="xarray: pip install 'aimc-hil[xarray]'")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    folder = tmp_path_factory.mktemp("history") / "run"
    visited.write_visited_run(folder)
    return open_run(folder)


def test_step_knows_its_age_and_what_the_bench_was_set_to(run: OpenedRun) -> None:
    step = run.step(0, "one_phase", visit=2, kind="probe")
    assert step.age_s == 6000.0
    assert step.setpoints == {"chamber.temperature": 40.0}


def test_axes_are_those_of_the_steps_that_there_are(run: OpenedRun) -> None:
    history = run.history()
    assert history["core"].values.tolist() == [0, 2]
    assert history["read_mode"].values.tolist() == ["one_phase"]
    assert history["visit"].values.tolist() == [0, 1, 2]
    assert history["kind"].values.tolist() == ["calibrate", "probe"]
    names = history["correction_name"].values.tolist()
    assert names == ["uncorrected", "float", "fp16", "nmpu"]


def test_error_of_a_core_is_a_series_over_visits(run: OpenedRun) -> None:
    core = run.history().sel(core=0, read_mode="one_phase")
    error = core["error"].sel(correction_name="nmpu")
    calibrated, probed = error.sel(kind="calibrate").values, error.sel(kind="probe").values
    assert np.array_equal(calibrated, [0.25, 0.1875, np.nan], equal_nan=True)
    assert np.array_equal(probed, [np.nan, np.nan, 0.125], equal_nan=True)
    age_s = core["age_s"].sel(kind="calibrate").values
    assert np.array_equal(age_s, [60.0, 600.0, np.nan], equal_nan=True)
    assert core["correction_of"].sel(kind="probe").values.tolist() == [
        "", "", "core00_one_phase_visit01",
    ]  # fmt: skip


def test_settings_and_times_stand_beside_the_errors(run: OpenedRun) -> None:
    history = run.history()
    set_to = history["setpoint"].sel(quantity="chamber.temperature", core=2, kind="calibrate")
    assert np.array_equal(set_to.values, [[10.0, 40.0, np.nan]], equal_nan=True)
    assert history["unit"].sel(quantity="chamber.temperature").item() == "degC"
    measured = history["measured_utc"].sel(core=0, kind="probe").values[0]
    assert measured.dtype == np.dtype("datetime64[ns]")
    expected = example.ORIGIN.measured_utc.removesuffix("+00:00")
    assert measured[2] == np.datetime64(expected)
    assert np.isnat(measured[0])


def test_history_of_a_run_without_a_step_is_refused(tmp_path: Path) -> None:
    empty = create_run(tmp_path / "run", example.CAMPAIGN)
    empty.journal.append("start", utc="2026-01-02T03:04:06+00:00")
    with pytest.raises(DatasetError, match="has no finished step"):
        open_run(tmp_path / "run").history()
