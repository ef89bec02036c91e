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
from export_samples import sample_set
from hil.core.errors import ConfigError
from hil_datasets.calibration_choice import (
    CalibrationChoice,
    choose_calibrations,
    newest_calibrations,
)
from hil_datasets.coefficients import collect_coefficients
from hil_datasets.export.exporter import (
    BINARY,
    C_HEADER,
    CSV,
    JSON,
    NPZ,
    READMEMH,
    YAML,
    ExportRequest,
    make_files,
)
from hil_datasets.export.self_check import read_back
from hil_datasets.run_directory import RunDirectory

COLD, HOT = visited.COLD, visited.HOT
OTHER_COLD, OTHER_HOT = visited.OTHER_COLD, visited.OTHER_HOT
HOT_TOLD: dict[str, Any] = {
    "visit": 1,
    "calibrated_utc": "2026-01-02T03:04:05+00:00",
    "age_s": 600.0,
    "temperature_c": 25.5,
    "setpoints": {"chamber.temperature": 40.0},
}
COLD_TOLD = HOT_TOLD | {"visit": 0, "age_s": 60.0, "setpoints": {"chamber.temperature": 10.0}}


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
        "--at NAME=VALUE, --visit NUMBER or --newest; there are:\n  "
        "core00_one_phase (visit 0, chamber.temperature=10, 60 s after programming)\n  "
        "core00_one_phase_visit01 (visit 1, chamber.temperature=40, 600 s after programming)\n  "
        "core02_one_phase (visit 0, chamber.temperature=10, 60 s after programming)\n  "
        "core02_one_phase_visit01 (visit 1, chamber.temperature=40, 600 s after programming)"
    )


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (CalibrationChoice(visit=2), "has no calibration with --visit 2; there are:\n  core00"),
        (
            CalibrationChoice(at={"chamber.temperature": 25.0}),
            "has no calibration with --at chamber.temperature=25; there are:\n  core00",
        ),
        (
            CalibrationChoice(at={"oven.temperature": 10.0}),
            "--at oven.temperature: the campaign has not set it; it has set chamber.temperature;",
        ),
        (
            CalibrationChoice(at={"chamber.temperature": 10.0}, visit=1),
            "has no calibration with --at chamber.temperature=10 --visit 1; there are:\n  core00",
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
    coefficients = collect_coefficients("run", steps)
    tiles = json.loads(JSON.export(coefficients))["cores"]
    told = [{name: tile[name] for name in HOT_TOLD} for tile in tiles]
    assert told == [HOT_TOLD, COLD_TOLD]
    source = json.loads(str(np.load(io.BytesIO(NPZ.export(coefficients)))["source"]))
    assert source["circumstance"] == {
        "core00_one_phase": HOT_TOLD,
        "core02_one_phase": COLD_TOLD,
    }
    assert list(source["raw_sha256"]) == ["core00_one_phase", "core02_one_phase"]


@pytest.mark.parametrize("exporter", [C_HEADER, READMEMH, YAML], ids=["c", "readmemh", "yaml"])
def test_comments_tell_under_what_each_tile_was_calibrated(
    run: RunDirectory, exporter: Any
) -> None:
    coefficients = collect_coefficients("run", run.read_steps(keys=[HOT, OTHER_COLD]))
    files = make_files(exporter, coefficients, ExportRequest(file_name="x.mem"))
    for content in files.values():
        lines = [line.lstrip(" */#") for line in content.decode().splitlines()]
        assert (
            "calibrated core00_one_phase visit=1 calibrated_utc=2026-01-02T03:04:05+00:00 "
            "age_s=600.0 temperature_c=25.5 chamber.temperature=40.0"
        ) in lines
        assert (
            "calibrated core02_one_phase visit=0 calibrated_utc=2026-01-02T03:04:05+00:00 "
            "age_s=60.0 temperature_c=25.5 chamber.temperature=10.0"
        ) in lines


def test_last_fields_of_csv_tell_it(run: RunDirectory) -> None:
    coefficients = collect_coefficients("run", run.read_steps(keys=[HOT, OTHER_COLD]))
    rows = [line.split(",") for line in CSV.export(coefficients).decode().splitlines()]
    assert rows[0][-5:] == ["visit", "calibrated_utc", "age_s", "temperature_c", "setpoints"]
    utc = "2026-01-02T03:04:05+00:00"
    assert rows[1][-5:] == ["1", utc, "600.0", "25.5", "chamber.temperature=40.0"]
    assert rows[-1][-5:] == ["0", utc, "60.0", "25.5", "chamber.temperature=10.0"]


def test_manifest_of_an_image_tells_it(run: RunDirectory) -> None:
    coefficients = collect_coefficients("run", run.read_steps(keys=[HOT, OTHER_COLD]))
    files = make_files(BINARY, coefficients, ExportRequest(file_name="x.bin"))
    tiles = json.loads(files["x.bin.json"])["tiles"]
    assert [{name: tile[name] for name in HOT_TOLD} for tile in tiles] == [HOT_TOLD, COLD_TOLD]


def test_csv_from_before_it_told_that_is_still_read(run: RunDirectory) -> None:
    coefficients = collect_coefficients("run", run.read_steps(keys=[HOT]))
    lines = CSV.export(coefficients).decode().splitlines()
    old = "".join(",".join(line.split(",")[:-5]) + "\n" for line in lines).encode()
    back = read_back(CSV, {"x.csv": old}, ExportRequest(file_name="x.csv"))
    assert back is not None
    assert back.tiles[0].coefficients_id == coefficients.tiles[0].coefficients_id


def test_what_is_not_known_of_a_calibration_is_null_and_empty() -> None:
    unknown = sample_set()
    tile = json.loads(JSON.export(unknown))["cores"][0]
    assert {name: tile[name] for name in HOT_TOLD} == {
        "visit": 0, "calibrated_utc": None, "age_s": None, "temperature_c": None, "setpoints": {},
    }  # fmt: skip
    assert CSV.export(unknown).decode().splitlines()[1].endswith(",0,,,,")
    assert " * calibrated core00_four_phase visit=0\n" in C_HEADER.export(unknown).decode()


def test_newest_says_which_it_took_and_that_visits_are_mixed(
    partly_hot: RunDirectory, tmp_path: Path
) -> None:
    ended = hil("export", partly_hot.path, "--format", "csv", "-o", tmp_path / "c.csv", "--newest")
    assert (
        "core 0 one_phase: core00_one_phase_visit01 (visit 1, chamber.temperature=40, 600 s after "
        "programming), 2026-01-02 03:04:05\n"
    ) in ended.stderr
    assert "the coefficients are of 2 visits (of each so many): 0 (1), 1 (1); " in ended.stderr


def test_only_the_cores_and_read_modes_that_are_named_are_exported(
    run: RunDirectory, tmp_path: Path
) -> None:
    out = tmp_path / "two.json"
    options = ("--format", "json", "-o", out, "--newest", "--read-mode", "one_phase")
    hil("export", run.path, *options, "--core", "2")
    assert [tile["core"] for tile in json.loads(out.read_text())["cores"]] == [2]
    refused = hil("export", run.path, *options, "--core", "7", "--force")
    assert refused.code == 3
    assert "--core 7: this run has calibrations of 0, 2" in refused.stderr


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
