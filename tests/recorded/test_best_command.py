"""Calibrations over temperature and time, on simulated chips behind the real protocol."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import example_steps as example
from command_line import served_mock
from hil.cli import command_line

PROFILE = """
[array]
cores = 1
rows = 32
columns = 16
[counter]
full_scale_products = 70000.0
"""
CAMPAIGN = """
schema_version = 1
[campaign]
title = "Swept"
cores = [0]
read_modes = ["four_phase"]
[device]
resource = "{resource}"
[vectors]
calibration = 128
verification = 64
"""
SWEPT = """
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {value}"
query = "TEMP?"
unit = "degC"
lower = -20
upper = 85
settle = { tolerance = 0.2, stable_s = 60, timeout_s = 3600 }
safe = 25
[[sweep]]
quantity = "chamber.temperature"
values = [25, 60]
[steps.calibrate]
[steps.probe]
at = { "chamber.temperature" = 60 }
[steps.drift-watch]
first = "20h"
until = "20h"
per_decade = 1
error_limit = 0.0001
at = { "chamber.temperature" = 25 }
"""


def hil(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, [*map(str, arguments)])


def campaign(folder: Path, resource: str, rest: str = "", name: str = "campaign.toml") -> Path:
    path = folder / name
    path.write_text(CAMPAIGN.format(resource=resource) + rest)
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with calibrations at 25 and 60 degrees, and one at 25 degrees 20 hours later."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "small.toml").write_text(PROFILE)
    path = campaign(folder, "mock://small.toml?time=virtual", SWEPT)
    done = hil("run", path, "--out", folder / "run", "--quiet")
    assert done.exit_code == 0, done.output
    return folder / "run"


def ranked(done: Result) -> list[dict[str, Any]]:
    (core,) = json.loads(done.stdout)["cores"]
    return core["ranked"]  # type: ignore[no-any-return]


def best(*arguments: object) -> Result:
    return hil("calibrate", "best", *arguments, "--json")


def test_table_tells_how_old_the_weights_were(swept: Path) -> None:
    asked = ("--among", swept, "--probe", swept, "--probe-visit", 1)
    title, heads, _, first, *_ = hil("calibrate", "best", *asked).stdout.splitlines()
    assert re.search(r", [0-9.]+ min after programming", title)
    shown = first[: heads.index("age then") + len("age then")]
    assert shown.endswith(f" {ranked(best(*asked))[0]['age_s'] / 60:.3g} min")


def test_the_calibration_of_the_right_temperature_wins(swept: Path) -> None:
    done = best("--among", swept, "--probe", swept, "--probe-visit", 1)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [each["step"] for each in ranked(done)] == [
        "core00_four_phase_visit01",
        "core00_four_phase",
        "core00_four_phase_visit02",
    ]
    assert [each["is_as_good_as_best"] for each in ranked(done)] == [True, False, False]


def test_the_calibration_of_the_right_age_wins(swept: Path) -> None:
    done = best("--among", swept, "--probe", swept, "--probe-visit", 2)
    assert ranked(done)[0]["step"] == "core00_four_phase_visit02"
    assert ranked(done)[0]["probe_is_its_own"] is True


def test_a_diff_over_the_temperature_sees_the_core_move_as_a_whole(swept: Path) -> None:
    done = hil("calibrate", "diff", swept, swept, "--visit-a", 0, "--visit-b", 1, "--json")
    assert done.exit_code == 1
    (tile,) = json.loads(done.stdout)["tiles"]
    factor = tile["common_factor_of_gains"]
    # The mock's counts rise by 0.35 % a kelvin, give or take 0.05 %: 1 / (1 + 35 * 0.0035) less
    # what 5 minutes of drift put on top of it.
    assert 0.87 < factor["value"] < 0.95
    assert factor["error"] < 0.01
    assert tile["effect_lsb"]["median"] > 1


def test_history_tells_temperature_and_age_apart(swept: Path) -> None:
    done = hil("calibrate", "history", "quickstart-0", "--root", swept, "--no-book", "--json")
    document = json.loads(done.stdout)
    assert [round(point["temperature_c"]) for point in document["calibrations"]] == [25, 60, 25]
    assert [point["age_s"] < 3600 for point in document["calibrations"]] == [True, True, False]
    gain = [point["gain_p"] for point in document["calibrations"]]
    assert gain[1] < gain[0] < gain[2]


def test_a_chip_that_holds_its_weights_is_probed_without_wear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMC_HIL_DATA", str(tmp_path / "data"))
    profile = tmp_path / "small.toml"
    profile.write_text(PROFILE)
    with served_mock("--profile", profile) as resource:
        path = campaign(tmp_path, resource)
        assert hil("run", path, "--out", tmp_path / "run", "--quiet").exit_code == 0
        (book,) = (tmp_path / "data" / "chips").iterdir()
        written = book.read_bytes()
        done = best("--among", tmp_path, "--resource", resource, "--vectors", 16)
        assert (done.exit_code, done.stderr) == (0, "")
        (core,) = json.loads(done.stdout)["cores"]
        assert (core["vectors"], core["chip"]) == (16, "aimc-hil mock-chip, serial quickstart-0")
        assert 0 < core["ranked"][0]["error"] < 0.3
        assert core["ranked"][0]["probe_is_its_own"] is False
        assert best("--among", tmp_path, path).exit_code == 0
        assert book.read_bytes() == written


def test_a_core_without_the_weights_is_programmed_only_if_that_is_said(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMC_HIL_DATA", str(tmp_path / "data"))
    (tmp_path / "small.toml").write_text(PROFILE)
    limited = "[limits]\nprogrammings_per_core = 1\n"
    path = campaign(tmp_path, "mock://small.toml", limited)
    refused = best("--among", swept, path)
    assert refused.exit_code == 1
    assert "--program programs those of the newest one, which wears the core" in refused.stderr
    assert not (tmp_path / "data").exists()
    done = best("--among", swept, path, "--program")
    assert done.exit_code == 0, done.stderr
    assert ranked(done)[0]["step"] == "core00_four_phase"  # fresh, and at 25 degrees
    books = hil("chip", "list", "--json")
    assert json.loads(books.stdout)[0]["totals"]["cores"]["0"]["programmings"] == 1
    worn = best("--among", swept, path, "--program")
    assert worn.exit_code == 6
    assert "at most 1 in the chip's life" in worn.stderr


def test_calibrations_of_other_chips_are_no_candidates(swept: Path, tmp_path: Path) -> None:
    example.write_run(tmp_path / "other", example.FOUR)
    done = best("--among", tmp_path, "--among", swept, "--probe", swept, "--probe-visit", 1)
    (core,) = json.loads(done.stdout)["cores"]
    assert [one["reason"] for one in core["not_applicable"]] == [
        "is of another chip: Acme AIMC-4x3, serial 42"
    ]
    alone = hil("calibrate", "best", "--among", tmp_path, "--probe", swept)
    assert alone.exit_code == 1
    assert "no stored calibration applies" in alone.stdout


def test_of_copies_the_probed_run_is_kept(swept: Path, tmp_path: Path) -> None:
    for name in ("r1", "r2", "r3"):
        shutil.copytree(swept, tmp_path / name)
    done = best("--among", tmp_path, "--probe", tmp_path / "r2")
    assert {each["run"] for each in ranked(done)} == {str(tmp_path / "r2")}
    assert f"{tmp_path / 'r1'} is left out: 3 of its calibrations were found before" in done.stderr
    assert f"{tmp_path / 'r3'} is left out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "say what to probe"),
        (("--probe", "x", "--resource", "y"), 2, "say what to probe"),
        (("--probe", "missing"), 5, "no such folder"),
        (("--resource", "mock://nothing"), 3, "no such profile"),
    ],
    ids=["nothing", "both", "missing", "resource"],
)
def test_wrong_input_is_named(
    swept: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = hil("calibrate", "best", "--among", swept, *arguments)
    assert done.exit_code == code, done.output
    assert words in done.stderr


def test_a_chip_without_any_calibration_ends_with_1(swept: Path, tmp_path: Path) -> None:
    example.write_run(tmp_path / "other", example.FOUR)
    (tmp_path / "small.toml").write_text(PROFILE)
    done = best("--among", tmp_path, "--resource", f"mock://{tmp_path / 'small.toml'}")
    assert done.exit_code == 1
    assert "no stored calibration is of this chip" in done.stderr
    assert "Acme AIMC-4x3, serial 42" in done.stderr


def test_a_place_without_runs_is_refused(swept: Path, tmp_path: Path) -> None:
    done = best("--among", tmp_path, "--probe", swept)
    assert done.exit_code == 5
    assert f"{tmp_path}: holds no run, and no packed file" in done.stderr


def test_a_probe_of_too_few_vectors_is_refused(swept: Path, tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.FOUR)
    done = best("--among", swept, "--probe", run.path)
    assert done.exit_code == 3
    assert "core00_four_phase has 2 vectors to probe with, fewer than 8" in done.stderr
