"""``hil calibrate until``: what a drift watch predicts, held to what later probes have measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import Ended, campaign_file, hil

PROFILE = """\
schema_version = 1
name = "small"
seed = 3
[array]
cores = 1
rows = 64
columns = 64
"""
WATCH = """\
[steps.calibrate]
[steps.drift-watch]
first = "10min"
until = "{until}"
per_decade = 3
error_limit = 0.5
"""
FRESH = ("--fresh-age", 300)


def watched(folder: Path, until: str) -> Path:
    """Watch the drift of one core of 64 x 64, which is not calibrated again; return the run."""
    folder.mkdir()
    (folder / "small.toml").write_text(PROFILE)
    campaign = campaign_file(
        folder, resource="mock://small.toml?time=virtual", campaign='read_modes = ["four_phase"]',
        vectors="calibration = 512\nverification = 128",
        rest=WATCH.format(until=until).replace("error_limit", "vectors = 128\nerror_limit"),
    )  # fmt: skip
    ended = hil("run", campaign, "--quiet")
    assert ended.code == 0, ended.stderr
    return folder / "run"


def until(run: Path, *arguments: object) -> Ended:
    return hil("calibrate", "until", run, *arguments)


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return watched(tmp_path_factory.mktemp("validity") / "two", "2h")


@pytest.fixture(scope="module")
def a_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same chip, weights and vectors, watched for longer."""
    return watched(tmp_path_factory.mktemp("validity") / "day", "24h")


def probes_of(run: Path) -> list[tuple[float, float]]:
    """Return age and error of every probe, oldest last."""
    steps = hil("info", run, "--json").json["steps"]
    return sorted(
        (step["age_s"], step["errors"]["nmpu"]) for step in steps if step["kind"] == "probe"
    )


def test_age_that_two_hours_predict_is_near_the_one_a_day_has_measured(
    two_hours: Path, a_day: Path
) -> None:
    age_s, error = probes_of(a_day)[-1]
    assert age_s == pytest.approx(86400, abs=60)
    (told,) = until(two_hours, *FRESH, "--error-limit", error, "--json").json["cores"]
    assert told["probes"] == 5  # at 10, 21.5, 46.4, 100 and 120 minutes
    assert told["last_age_s"] == pytest.approx(7200, abs=60)
    assert age_s / 2 < told["until_s"] < 2 * age_s
    assert told["until_low_s"] < told["until_s"] < told["until_high_s"]
    assert (told["reason"], told["is_endless"]) == ("", False)


def test_limit_is_that_of_the_watch_where_none_is_given(two_hours: Path) -> None:
    (told,) = until(two_hours, *FRESH, "--json").json["cores"]
    assert told["error_limit"] == 0.5
    assert told["calibration"] == "core00_four_phase"
    shown = until(two_hours, *FRESH)
    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[-1] == "limit: 50.00 %"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "core00_four_phase was read at an age of 0"),
        ((*FRESH, "--error-limit", 0.05), "a limit of 0.05 is not above the error of 0."),
    ],
)
def test_reason_is_told_where_nothing_can_be(
    two_hours: Path, arguments: tuple[object, ...], reason: str
) -> None:
    ended = until(two_hours, *arguments, "--json")
    (told,) = ended.json["cores"]
    assert (ended.code, told["until_s"]) == (0, None)
    assert told["reason"].startswith(reason)
    shown = until(two_hours, *arguments).stdout
    assert "not told" in shown
    assert f"core00_four_phase: {reason}" in shown


def test_run_without_watch_or_probes_is_told_what_is_missing(run: Path) -> None:
    refused = until(run)
    assert (refused.code, refused.stdout) == (3, "")
    assert "--error-limit: is missing: the run had no drift watch" in refused.stderr
    no_core = until(run, "--error-limit", 0.2, "--core", 40)
    assert no_core.code == 3
    assert "has no calibration of these cores in these read modes" in no_core.stderr
    document: Any = json.loads(until(run, *FRESH, "--error-limit", 0.2, "--json").stdout)
    assert {core["until_s"] for core in document["cores"]} == {None}
    assert {core["reason"] for core in document["cores"]} == {
        "its probes span less than a factor of 1.5 in age"
    }
    wrong = until(run, "--error-limit", 0)
    assert wrong.code == 2
    assert "0 is not in the range 0<x<=10" in wrong.stderr


def test_packed_run_without_readouts_is_refused(two_hours: Path, tmp_path: Path) -> None:
    packed = tmp_path / "small.hil.h5"
    assert hil("data", "pack", two_hours, "-o", packed, "--without-raw").code == 0
    refused = until(packed, *FRESH)
    assert (refused.code, refused.stdout) == (5, "")
    assert "readouts" in refused.stderr
