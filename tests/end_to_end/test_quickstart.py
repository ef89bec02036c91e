"""The main job on the default mock chip, as `make demo` runs it."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from command_line import PROJECT, QUICKSTART, hil, served_mock


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    ended = hil("run", QUICKSTART, "--out", folder / "run")
    assert ended.code == 0, ended.stderr
    assert "NMPU" in ended.stdout
    assert ended.stderr == "", "no progress bar where nobody watches"
    return folder / "run"


@pytest.fixture(scope="module")
def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = hil("info", run, "--json").json
    return found


def exported(run: Path, name: str) -> bytes:
    path = run.parent / f"{run.name}.{name}"
    if not path.exists():
        ended = hil("export", run, "--format", name, "-o", path)
        assert ended.code == 0, ended.stderr
    return path.read_bytes()


def without_circumstance(tiles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tiles without when they were calibrated, how old and how warm the chip was then."""
    told = {"visit", "calibrated_utc", "age_s", "temperature_c", "setpoints"}
    return [{name: tile[name] for name in tile if name not in told} for tile in tiles]


def test_every_planned_step_is_finished(summary: dict[str, Any]) -> None:
    assert summary["status"] == "complete"
    assert [(step["core"], step["read_mode"]) for step in summary["steps"]] == [
        (core, mode) for core in range(4) for mode in ("four_phase", "one_phase")
    ]


def test_nmpu_error_is_within_half_a_point_of_float(summary: dict[str, Any]) -> None:
    for step in summary["steps"]:
        assert step["errors"]["nmpu"] - step["errors"]["float"] < 0.005


def test_four_phase_error_falls_below_a_third_of_uncorrected(summary: dict[str, Any]) -> None:
    steps = [step for step in summary["steps"] if step["read_mode"] == "four_phase"]
    assert len(steps) == 4
    for step in steps:
        assert step["errors"]["nmpu"] < step["errors"]["uncorrected"] / 3


def test_one_phase_error_falls_below_uncorrected(summary: dict[str, Any]) -> None:
    steps = [step for step in summary["steps"] if step["read_mode"] == "one_phase"]
    assert len(steps) == 4
    for step in steps:
        assert step["errors"]["nmpu"] < step["errors"]["uncorrected"]


def test_chip_and_model_agree_bit_for_bit(summary: dict[str, Any]) -> None:
    assert [step["nmpu_mismatches"] for step in summary["steps"]] == [0] * 8


def test_gain_spread_is_the_profiles(summary: dict[str, Any]) -> None:
    for step in summary["steps"]:
        assert step["gain_spread"] == pytest.approx(0.071, abs=0.01)


def test_readme_states_these_errors(summary: dict[str, Any]) -> None:
    rows = {
        line.split("|")[1].strip(): [float(cell.strip(" %")) for cell in line.split("|")[2:6]]
        for line in (PROJECT / "README.md")
        .read_text()
        .split("What a correction wins")[1]
        .split("On a real layer")[0]
        .splitlines()
        if line.startswith(("| four", "| one"))
    }
    for name, mode in (("four-phase", "four_phase"), ("one-phase", "one_phase")):
        steps = [step["errors"] for step in summary["steps"] if step["read_mode"] == mode]
        means = [
            100 * sum(errors[correction] for errors in steps) / len(steps)
            for correction in ("uncorrected", "float", "fp16", "nmpu")
        ]
        assert rows[name] == pytest.approx(means, abs=0.02)


def test_dead_columns_are_flagged_with_their_numbers(summary: dict[str, Any]) -> None:
    flagged = [column for step in summary["steps"] for column in step["flagged"]]
    assert flagged
    for column in flagged:
        assert column["flags"] == ["dead"]
        assert column["r_squared"] < 0.1


def test_index_reads_through_to_the_raw_readouts(run: Path) -> None:
    with h5py.File(run / "campaign.h5") as index:
        raw = index["cores/00/one_phase/raw"]
        assert raw.shape == (768, 2, 256)
        assert raw[...].max() > 300
        assert index["coefficients/scale_p"].shape == (4, 2, 256)


def test_stored_outputs_follow_from_stored_counts_and_codes(run: Path) -> None:
    # The default format by hand: shift S cuts 6 + S bits, half up; then half LSBs, half up.
    with h5py.File(run / "steps" / "core02_four_phase.h5") as step:
        shift = json.loads(step["coefficients"].attrs["nmpu"])["shift"]
        counts = step["raw"][512:].astype(np.int64)
        codes = {name: step[f"coefficients/{name}"][...].astype(np.int64) for name in
                 ("scale_p", "scale_n", "offset", "swap")}  # fmt: skip
        stored = step["verification/outputs"][...]
    assert not codes["swap"].any()
    cut = 6 + shift
    difference = counts[:, 0] * codes["scale_p"] - counts[:, 1] * codes["scale_n"]
    halves = ((difference + (1 << (cut - 1))) >> cut) + codes["offset"]
    assert np.array_equal(np.clip((halves + 1) >> 1, -128, 127), stored)


def test_replay_twice_gives_identical_bytes(folder: Path, run: Path) -> None:
    for name in ("replay-a", "replay-b"):
        ended = hil("replay", run, "--out", folder / name)
        assert ended.code == 0, ended.stderr
    for path in sorted((folder / "replay-a" / "steps").iterdir()):
        assert path.read_bytes() == (folder / "replay-b" / "steps" / path.name).read_bytes()
    for name in ("json", "csv", "npz"):
        content = exported(run, name)
        assert exported(folder / "replay-a", name) == content
        assert exported(folder / "replay-b", name) == content


def test_recording_served_as_a_device_gives_the_same_coefficients(folder: Path, run: Path) -> None:
    with served_mock("--replay", run) as resource:
        campaign = folder / "replayed.toml"
        campaign.write_text(QUICKSTART.read_text().replace("mock://quickstart", resource))
        ended = hil("run", campaign, "--out", folder / "from-device")
        assert ended.code == 0, ended.stderr
    original = json.loads(exported(run, "json"))
    again = json.loads(exported(folder / "from-device", "json"))
    assert without_circumstance(again["cores"]) == without_circumstance(original["cores"])
    assert again["source"]["chip"] == original["source"]["chip"]


def test_recording_served_as_a_device_refuses_what_was_not_recorded(
    folder: Path, run: Path
) -> None:
    with served_mock("--replay", run) as resource:
        campaign = folder / "other-seed.toml"
        text = QUICKSTART.read_text().replace("mock://quickstart", resource)
        campaign.write_text(text.replace("seed = 1 ", "seed = 2 "))
        ended = hil("run", campaign, "--out", folder / "refused")
    assert ended.code == 4
    assert "recorded with other weights" in ended.stderr


def test_replay_with_another_campaign_file_takes_its_format(folder: Path, run: Path) -> None:
    campaign = folder / "truncating.toml"
    campaign.write_text(QUICKSTART.read_text().replace('"half_up"', '"floor"'))
    ended = hil("replay", run, "--campaign", campaign, "--out", folder / "floor", "--json")
    assert ended.code == 0, ended.stderr
    original = hil("info", run, "--json").json
    for again, step in zip(ended.json["steps"], original["steps"], strict=True):
        assert again["raw_sha256"] == step["raw_sha256"]
        assert again["errors"]["float"] == step["errors"]["float"]
        assert again["errors"]["nmpu"] != step["errors"]["nmpu"]
        assert again["nmpu_mismatches"] is None, "the chip's outputs for these are unknown"


def test_served_recording_answers_a_campaign_with_fewer_vectors(folder: Path, run: Path) -> None:
    with served_mock("--replay", run) as resource:
        campaign = folder / "fewer.toml"
        text = QUICKSTART.read_text().replace("mock://quickstart", resource)
        text = text.replace("calibration = 512", "calibration = 128")
        campaign.write_text(text.replace("cores = [0, 1, 2, 3]", "cores = [2]"))
        ended = hil("run", campaign, "--out", folder / "fewer", "--json")
    assert ended.code == 0, ended.stderr
    assert [step["calibration_vectors"] for step in ended.json["steps"]] == [128, 128]


def test_visa_gives_the_same_coefficients_as_the_raw_socket(folder: Path, run: Path) -> None:
    campaign = folder / "visa.toml"
    text = QUICKSTART.read_text().replace("[device]", '[device]\ntransport = "visa"')
    campaign.write_text(text.replace("cores = [0, 1, 2, 3]", "cores = [3]"))
    ended = hil("run", campaign, "--out", folder / "visa")
    assert ended.code == 0, ended.stderr
    original = json.loads(exported(run, "json"))["cores"]
    again = json.loads(exported(folder / "visa", "json"))["cores"]
    assert without_circumstance(again) == without_circumstance(original[-2:])


def test_same_seed_gives_the_same_data_in_another_process(folder: Path, run: Path) -> None:
    ended = hil("run", QUICKSTART, "--out", folder / "again", "--json")
    original = hil("info", run, "--json").json
    assert [step["raw_sha256"] for step in ended.json["steps"]] == [
        step["raw_sha256"] for step in original["steps"]
    ]


def test_three_formats_say_the_same(run: Path) -> None:
    tiles = json.loads(exported(run, "json"))["cores"]
    arrays = np.load(io.BytesIO(exported(run, "npz")))
    rows = list(csv.DictReader(io.StringIO(exported(run, "csv").decode())))
    assert len(rows) == 8 * 256
    for number, tile in enumerate(tiles):
        at = (number // 2, number % 2)
        for name in ("scale_p", "scale_n", "offset", "swap"):
            assert arrays[name][at].astype(int).tolist() == tile[name]
            column = [int(row[name]) for row in rows[number * 256 : (number + 1) * 256]]
            assert column == tile[name]


def test_export_keeps_an_existing_file_unless_forced(run: Path) -> None:
    content = exported(run, "csv")
    path = run.parent / f"{run.name}.csv"
    refused = hil("export", run, "--format", "json", "-o", path)
    assert (refused.code, path.read_bytes()) == (3, content)
    assert "--force" in refused.stderr
