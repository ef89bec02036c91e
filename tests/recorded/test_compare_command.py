"""`hil calibrate diff`: what it says, and when it refuses."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import example_steps as example
import visited_run as visited
from hil.cli import command_line
from hil.core.correction import Correction
from hil_datasets.run_directory import RunDirectory


def diff(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, ["calibrate", "diff", *map(str, arguments)])


def moved_conclusion() -> Any:
    """Return the example's, with the gain of P of column 0 up by 0.125 LSB/count: 8.8 errors."""
    correction = example.CONCLUSION.correction
    return replace(
        example.CONCLUSION,
        correction=Correction(
            a_p=correction.a_p + np.array([0.125, 0.0, 0.0]), a_n=correction.a_n, b=correction.b
        ),
    )


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return example.write_run(tmp_path_factory.mktemp("a") / "run", example.ONE, example.FOUR)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    raw = example.RAW.copy()
    raw[0, 0, 0] += 1  # other readouts than those of the first run
    folder = tmp_path_factory.mktemp("b") / "run"
    return example.write_run(folder, example.ONE, conclusion=moved_conclusion(), raw=raw)


def test_one_moved_column_is_named_and_ends_with_1(
    before: RunDirectory, after: RunDirectory
) -> None:
    done = diff(before.path, after.path)
    assert done.exit_code == 1
    assert "1 of 2 columns moved by more than 5 standard errors; 3.4e-06 would" in done.stdout
    assert done.stderr == "only in A: core 0 four_phase\n"


def test_json_has_the_numbers_of_moved_columns(before: RunDirectory, after: RunDirectory) -> None:
    done = diff(before.path, after.path, "--json")
    (tile,) = json.loads(done.stdout)["tiles"]
    assert (tile["columns_compared"], tile["columns_moved"]) == (2, 1)
    (column,) = tile["moved"]
    # The output step is 8.5 products: 0.125 LSB/count are 1.0625 products/count.
    assert column["column"] == 0
    assert column["gain_p_change"] == 1.0625
    assert column["gain_p_sigmas"] == pytest.approx(0.125 / (0.01 * 2**0.5))
    assert column["moved_itself"] is True
    assert tile["common_factor_of_gains"] is None
    # Held-out counts of P are 140 and 150: 0.125 LSB of each, as rms.
    assert column["effect_lsb"] == pytest.approx(((17.5**2 + 18.75**2) / 2) ** 0.5)


def test_with_more_sigmas_nothing_has_moved(before: RunDirectory, after: RunDirectory) -> None:
    assert diff(before.path, after.path, "--sigmas", 10).exit_code == 0


def test_csv_has_every_column_and_is_not_replaced(
    before: RunDirectory, after: RunDirectory, tmp_path: Path
) -> None:
    table = tmp_path / "columns.csv"
    assert diff(before.path, after.path, "--csv", table).exit_code == 1
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["column"] for row in rows] == ["0", "1", "2"]
    assert [row["moved"] for row in rows] == ["1", "0", "0"]
    assert rows[1]["offset_a"] == "21.25"  # 2.5 LSB of 8.5 products
    assert rows[2]["gain_p_sigmas"] == ""  # a dead column is not compared
    assert rows[2]["flags_b"] == "dead saturated"
    again = diff(before.path, after.path, "--csv", table)
    assert (again.exit_code, "exists; use --force" in again.stderr) == (3, True)
    assert diff(before.path, after.path, "--csv", table, "--force").exit_code == 1


def test_the_same_calibration_is_called_so(before: RunDirectory) -> None:
    done = diff(before.path, before.path)
    assert done.exit_code == 0
    assert done.stdout.count("the same correction, id ") == 2
    assert "0 of 4 columns moved" in done.stdout


def test_fits_of_the_same_readouts_share_their_errors(before: RunDirectory, tmp_path: Path) -> None:
    again = example.write_run(tmp_path / "run", example.ONE, conclusion=moved_conclusion())
    done = diff(before.path, again.path)
    assert "core 0 one_phase: both were fitted to the same readouts" in done.stderr


def test_other_chips_are_refused_unless_that_is_meant(before: RunDirectory, tmp_path: Path) -> None:
    chip = replace(example.CHIP, serial="43")
    other = example.write_run(
        tmp_path / "run", example.ONE, origin=replace(example.ORIGIN, chip=chip)
    )
    refused = diff(before.path, other.path)
    assert refused.exit_code == 3
    assert "serial 43" in refused.stderr
    assert "--any-chip compares them" in refused.stderr
    assert diff(before.path, other.path, "--any-chip").exit_code == 0


def test_other_firmware_is_the_same_chip(before: RunDirectory, tmp_path: Path) -> None:
    chip = replace(example.CHIP, firmware="2.0")
    other = example.write_run(
        tmp_path / "run", example.ONE, origin=replace(example.ORIGIN, chip=chip)
    )
    assert diff(before.path, other.path).exit_code == 0


def test_each_side_has_its_own_choice(tmp_path: Path) -> None:
    run = visited.write_visited_run(tmp_path / "run").path
    several = diff(run, run)
    assert several.exit_code == 3
    assert "has 2 such calibrations of core 0 one_phase; say which" in several.stderr
    sides = ("--at-a", "chamber.temperature=10", "--newest-b", "--json")
    tiles = json.loads(diff(run, run, *sides).stdout)["tiles"]
    assert [(tile["a"]["step"], tile["b"]["step"]) for tile in tiles] == [
        ("core00_one_phase", "core00_one_phase_visit01"),
        ("core02_one_phase", "core02_one_phase_visit01"),
    ]
    both = json.loads(diff(run, run, "--visit", 1, "--json").stdout)["tiles"]
    assert {tile["same_correction"] for tile in both} == {True}


def test_each_side_is_named_with_its_run_visit_settings_age_and_date(tmp_path: Path) -> None:
    run = visited.write_visited_run(tmp_path / "run").path
    done = diff(run, run, "--visit-a", 0, "--visit-b", 1)
    before, after, *_ = done.stdout.splitlines()
    chip = "Acme AIMC-4x3, serial 42, firmware 1.0"
    date = "2026-01-02 03:04:05"
    assert before == (
        f"A: {run}: visit 0, chamber.temperature=10, 1 min after programming, {date}; {chip}"
    )
    assert after == (
        f"B: {run}: visit 1, chamber.temperature=40, 10 min after programming, {date}; {chip}"
    )
    assert [done.stdout.count(f"{what}, largest") for what in ("gain", "offset", "effect")] == [
        1, 1, 1,
    ]  # fmt: skip
    document = json.loads(diff(run, run, "--visit-a", 0, "--visit-b", 1, "--json").stdout)
    utc = "2026-01-02T03:04:05+00:00"
    assert document["b"] == {
        "run": str(run), "chip": chip, "visits": [1],
        "setpoints": {"chamber.temperature": [40.0]}, "youngest_s": 600.0, "oldest_s": 600.0,
        "first_utc": utc, "last_utc": utc,
    }  # fmt: skip
    assert (document["a"]["visits"], document["a"]["oldest_s"]) == ([0], 60.0)


def test_packed_files_are_compared_and_an_effect_needs_the_readouts_of_one(
    before: RunDirectory, after: RunDirectory, tmp_path: Path
) -> None:
    thin = {}
    for name, run in (("a", before), ("b", after)):
        thin[name] = tmp_path / f"{name}.hil.h5"
        pack = ["data", "pack", str(run.path), "-o", str(thin[name]), "--without-raw"]
        assert CliRunner().invoke(command_line, pack).exit_code == 0
    one = diff(before.path, thin["b"], "--json")
    (tile,) = json.loads(one.stdout)["tiles"]
    assert tile["moved"][0]["effect_lsb"] == pytest.approx(((17.5**2 + 18.75**2) / 2) ** 0.5)
    neither = diff(thin["a"], thin["b"], "--json")
    (tile,) = json.loads(neither.stdout)["tiles"]
    assert (tile["columns_moved"], tile["effect_lsb"]["largest"]) == (1, None)
    assert "note: no effect in output LSB: " in neither.stderr


def test_other_weights_are_told(before: RunDirectory, tmp_path: Path) -> None:
    runs = [example.write_run(tmp_path / name, example.ONE) for name in "ab"]
    for run, digest in zip(runs, ("11", "22"), strict=True):
        run.journal.append("resume", utc="t")
        run.journal.append("program", utc="t", core=0, weights=f"sha256:{digest}", bench_s=0.0)
    assert "core 0 held other weights" in diff(runs[0].path, runs[1].path).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("missing",), 5, "no such folder"),
        (("--sigmas", 0), 2, "0<x<=1000"),
        (("--at", "hot"), 2, "must be NAME=VALUE"),
    ],
    ids=["missing", "sigmas", "at"],
)
def test_wrong_input_is_named(
    before: RunDirectory, arguments: tuple[object, ...], code: int, words: str
) -> None:
    second = () if arguments == ("missing",) else (before.path,)
    done = diff(before.path, *second, *arguments)
    assert done.exit_code == code
    assert words in done.stderr


def test_nothing_in_common_is_refused(before: RunDirectory, tmp_path: Path) -> None:
    other = example.write_run(tmp_path / "run", example.OTHER_CORE)
    done = diff(before.path, other.path)
    assert done.exit_code == 3
    assert "nothing in common" in done.stderr


def test_a_damaged_step_is_refused(before: RunDirectory, tmp_path: Path) -> None:
    other = example.write_run(tmp_path / "run", example.ONE)
    path = other.step_path(example.ONE)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert diff(before.path, other.path).exit_code == 5
