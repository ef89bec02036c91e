"""Which of several calibrations is exported."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import example_steps as example
import visited_run as visited
from command_line import hil
from hil.core.errors import ConfigError
from hil_datasets.calibration_choice import (
    CalibrationChoice,
    choose_calibrations,
    newest_calibrations,
)
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.export.exporter import JSON, NPZ
from hil_datasets.run_directory import RunDirectory

COLD, HOT = visited.COLD, visited.HOT
OTHER_COLD, OTHER_HOT = visited.OTHER_COLD, visited.OTHER_HOT


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return visited.write_visited_run(tmp_path_factory.mktemp("chosen") / "run")


@pytest.fixture(scope="module")
def partly_hot(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of which one core only was calibrated again."""
    folder = tmp_path_factory.mktemp("partly") / "run"
    return visited.write_visited_run(folder, [COLD, OTHER_COLD, HOT])


def test_newest_calibrations_are_those_of_the_highest_visit() -> None:
    assert newest_calibrations([HOT, visited.PROBE, COLD, OTHER_COLD]) == [HOT, OTHER_COLD]


@pytest.mark.parametrize(
    ("choice", "keys"),
    [
        (CalibrationChoice(visit=0), (COLD, OTHER_COLD)),
        (CalibrationChoice(visit=1), (HOT, OTHER_HOT)),
        (CalibrationChoice(newest=True), (HOT, OTHER_HOT)),
        (CalibrationChoice(at={"chamber.temperature": 10.0}), (COLD, OTHER_COLD)),
        (CalibrationChoice(at={"chamber.temperature": 40.0 * (1 + 1e-12)}), (HOT, OTHER_HOT)),
        (CalibrationChoice(at={"chamber.temperature": 10.0}, newest=True), (COLD, OTHER_COLD)),
    ],
    ids=["visit_0", "visit_1", "newest", "at_10", "at_nearly_40", "newest_at_10"],
)
def test_choice_leaves_one_of_each(
    run: RunDirectory, choice: CalibrationChoice, keys: tuple[Any, ...]
) -> None:
    chosen = choose_calibrations(run, choice)
    assert (chosen.keys, chosen.is_choice, chosen.left_out) == (keys, True, ())


def test_run_with_one_of_each_needs_no_choice(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, example.FOUR)
    chosen = choose_calibrations(run, CalibrationChoice())
    assert (chosen.keys, chosen.is_choice) == ((example.FOUR, example.ONE), False)


def test_several_without_a_choice_are_listed_with_their_circumstances(run: RunDirectory) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_calibrations(run, CalibrationChoice())
    assert str(caught.value) == (
        f"{run.path}: has 2 such calibrations of core 0 one_phase; say which with "
        "--at NAME=VALUE, --visit NUMBER or --newest; there are: "
        "core00_one_phase (visit 0, chamber.temperature=10, 60 s after programming); "
        "core00_one_phase_visit01 (visit 1, chamber.temperature=40, 600 s after programming); "
        "core02_one_phase (visit 0, chamber.temperature=10, 60 s after programming); "
        "core02_one_phase_visit01 (visit 1, chamber.temperature=40, 600 s after programming)"
    )


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (CalibrationChoice(visit=2), "has no calibration with --visit 2; there are: core00"),
        (
            CalibrationChoice(at={"chamber.temperature": 25.0}),
            "has no calibration with --at chamber.temperature=25; there are: core00",
        ),
        (
            CalibrationChoice(at={"oven.temperature": 10.0}),
            "--at oven.temperature: the campaign has not set it; it has set chamber.temperature;",
        ),
        (
            CalibrationChoice(at={"chamber.temperature": 10.0}, visit=1),
            "has no calibration with --at chamber.temperature=10 --visit 1; there are: core00",
        ),
    ],
)
def test_choice_that_leaves_nothing_is_refused(
    run: RunDirectory, choice: CalibrationChoice, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_calibrations(run, choice)
    assert str(caught.value).startswith(f"{run.path}: {reason}")


def test_core_without_such_a_calibration_is_left_out_and_named(partly_hot: RunDirectory) -> None:
    chosen = choose_calibrations(partly_hot, CalibrationChoice(visit=1))
    assert (chosen.keys, chosen.left_out) == ((HOT,), (OTHER_COLD,))
    newest = choose_calibrations(partly_hot, CalibrationChoice(newest=True))
    assert (newest.keys, newest.left_out) == ((HOT, OTHER_COLD), ())


def test_chosen_calibrations_tell_their_circumstance_in_the_file(run: RunDirectory) -> None:
    steps = run.read_steps(keys=[HOT, OTHER_COLD])
    coefficients = collect_coefficients("run", steps, tells_circumstance=True)
    tiles = json.loads(JSON.export(coefficients))["cores"]
    assert [(tile["visit"], tile["setpoints"]) for tile in tiles] == [
        (1, {"chamber.temperature": 40.0}),
        (0, {"chamber.temperature": 10.0}),
    ]
    source = json.loads(str(np.load(io.BytesIO(NPZ.export(coefficients)))["source"]))
    assert source["circumstance"] == {
        "core00_one_phase": {"visit": 1, "setpoints": {"chamber.temperature": 40.0}},
        "core02_one_phase": {"visit": 0, "setpoints": {"chamber.temperature": 10.0}},
    }
    assert list(source["raw_sha256"]) == ["core00_one_phase", "core02_one_phase"]


def test_exports_without_a_choice_tell_nothing_of_it(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    coefficients = collect_coefficients("run", run.read_steps())
    assert "visit" not in json.loads(JSON.export(coefficients))["cores"][0]
    source = json.loads(str(np.load(io.BytesIO(NPZ.export(coefficients)))["source"]))
    assert "circumstance" not in source


def test_export_command_takes_the_calibrations_at_a_setting(
    partly_hot: RunDirectory, tmp_path: Path
) -> None:
    out = tmp_path / "hot.json"
    options = ("--format", "json", "-o", out)
    ended = hil("export", partly_hot.path, *options, "--at", "chamber.temperature=40")
    assert ended.code == 5, "the tiny chip's residuals are made up, which the check must notice"
    assert "core 2 one_phase has no such calibration" in ended.stderr
    assert [tile["core"] for tile in json.loads(out.read_text())["cores"]] == [0]
    undecided = hil("export", partly_hot.path, "--format", "csv", "-o", tmp_path / "no.csv")
    assert undecided.code == 3
    assert "has 2 such calibrations of core 0 one_phase; say which with" in undecided.stderr
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--at", "40"], "'40' must be NAME=VALUE, as chamber.temperature=25"),
        (["--at", "chamber.temperature=nan"], "must be NAME=VALUE"),
        (["--at", "a.b=1", "--at", "a.b=2"], "'a.b' is given twice"),
    ],
)
def test_export_command_refuses_a_setting_that_is_none(
    run: RunDirectory, tmp_path: Path, given: list[str], reason: str
) -> None:
    ended = hil("export", run.path, "--format", "csv", "-o", tmp_path / "no.csv", *given)
    assert ended.code == 2
    assert reason in ended.stderr
