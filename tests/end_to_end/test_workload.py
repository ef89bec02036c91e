"""Weights and inputs of the user's own: spread over cores, one-sided, inverted, real."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from command_line import PROJECT, campaign_file, hil

REAL_LAYER = PROJECT.parent / "shared" / "data" / "resnet20_layer3_2_conv1_workload.npz"

SMALL_CHIP = """schema_version = 1
name = "small"
[array]
cores = 4
rows = 32
columns = 16
stuck_share = 0.0
dead_column_chance = 0.0
programming_noise = 0.0
[counter]
full_scale_products = 100000.0
"""


def run_workload(
    folder: Path, weights: npt.NDArray[Any], inputs: npt.NDArray[Any], **parts: str
) -> dict[str, Any]:
    (folder / "small.toml").write_text(parts.pop("profile", SMALL_CHIP))
    np.savez(folder / "layer.npz", weights=weights, inputs=inputs)
    campaign = 'workload = "layer.npz"\n' + parts.pop("campaign", "")
    path = campaign_file(folder, resource="mock://small.toml", campaign=campaign, **parts)
    ended = hil("run", path, "--json")
    assert ended.code == 0, ended.stderr
    summary: dict[str, Any] = ended.json
    return summary


def codes(rng: np.random.Generator, *shape: int, lowest: int = -127) -> npt.NDArray[np.int8]:
    return rng.integers(lowest, 128, shape, dtype=np.int8)


def test_rows_beyond_a_core_spread_evenly_over_cores_and_their_sum_is_reported(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(1)
    weights, inputs = codes(rng, 90, 16), codes(rng, 200, 90)
    summary = run_workload(tmp_path, weights, inputs)
    assert [step["core"] for step in summary["steps"]] == [0, 0, 1, 1, 2, 2]
    assert set(summary["layer"]) == {"one_phase", "four_phase"}
    assert summary["layer"]["four_phase"]["nmpu"] < summary["layer"]["four_phase"]["uncorrected"]
    parts = []
    for core in range(3):
        with h5py.File(tmp_path / f"run/steps/core0{core}_four_phase.h5") as step:
            assert step.attrs["rows_used"] == 30
            parts.append(step["weights"][:30])
            assert not step["weights"][30:].any()
    assert np.array_equal(np.concatenate(parts), weights)


def test_vectors_come_from_the_real_inputs_each_at_most_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    weights, inputs = codes(rng, 32, 16), codes(rng, 96, 32)
    run_workload(tmp_path, weights, inputs)
    with h5py.File(tmp_path / "run/steps/core00_four_phase.h5") as step:
        used = step["inputs"][...]
    assert sorted(map(bytes, used)) == sorted(map(bytes, inputs))


def test_columns_beyond_a_core_take_more_cores(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    summary = run_workload(tmp_path, codes(rng, 32, 40), codes(rng, 200, 32))
    widths = [step["columns_used"] for step in summary["steps"] if step["read_mode"] == "one_phase"]
    assert widths == [13, 13, 14]
    assert summary["layer"] == {}


def test_unused_columns_are_neither_calibrated_nor_flagged_as_faulty(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    summary = run_workload(tmp_path, codes(rng, 32, 5), codes(rng, 200, 32))
    step = summary["steps"][0]
    assert (step["columns_calibrated"], step["columns_used"], step["flagged"]) == (5, 5, [])


@pytest.fixture(scope="module")
def inverted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A chip with one counter per column, every second of them falling as its input rises."""
    folder = tmp_path_factory.mktemp("inverted")
    sign = np.where(np.arange(16) % 2 == 0, 1.0, -1.0) * np.ones((4, 1))
    np.savez(
        folder / "measured.npz",
        gain_p=sign,
        gain_n=np.zeros((4, 16)),
        offset_p=np.where(sign > 0, 10.0, 500.0),
        offset_n=np.full((4, 16), -50.0),  # far below zero: N is always 0
    )
    rng = np.random.default_rng(5)
    weights, inputs = codes(rng, 32, 16, lowest=0), codes(rng, 600, 32, lowest=0)
    summary = run_workload(
        folder,
        weights,
        inputs,
        profile=SMALL_CHIP.replace("[array]", 'measured = "measured.npz"\n[array]').replace(
            "full_scale_products = 100000.0", "full_scale_products = 250000.0"
        ),
        campaign='read_modes = ["one_phase"]\ncores = [2]',
        vectors="calibration = 400\nverification = 200",
    )
    return folder / "run", summary


def test_single_polarity_columns_with_negative_gains_are_corrected(
    inverted: tuple[Path, dict[str, Any]],
) -> None:
    run, summary = inverted
    (step,) = summary["steps"]
    assert step["columns_calibrated"] == 16
    assert step["flagged"] == []
    assert step["nmpu_mismatches"] == 0
    assert step["errors"]["float"] < 0.02
    assert step["errors"]["nmpu"] < step["errors"]["float"] + 0.01
    assert step["errors"]["uncorrected"] > 0.2
    with h5py.File(run / "steps/core02_one_phase.h5") as file:
        assert not file["raw"][:, 1].any(), "N never counts"


def test_swap_bit_holds_the_sign_of_a_negative_gain(
    inverted: tuple[Path, dict[str, Any]],
) -> None:
    run, _ = inverted
    path = run.with_name("codes.json")
    assert hil("export", run, "--format", "json", "-o", path, "--force").code == 0
    (tile,) = json.loads(path.read_text())["cores"]
    assert tile["swap"] == [0, 1] * 8
    # P is multiplied by scale_p, or by scale_n where it is swapped; the other scale is 0.
    assert all(code > 0 for code in tile["scale_p"][::2] + tile["scale_n"][1::2])
    assert not any(tile["scale_n"][::2] + tile["scale_p"][1::2])
    assert tile["flags"] == [["single_polarity"], ["single_polarity", "negative_gain"]] * 8


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        pytest.param({"inputs": np.zeros((9, 4), np.int8)}, "weights: this array is missing",
                     id="array missing"),
        pytest.param({"weights": np.zeros((4, 4)), "inputs": np.zeros((9, 4), np.int8)},
                     "float64 of shape (4, 4): must be int8, two axes; integers of -127 to 127 "
                     "convert with .astype(np.int8)", id="floats"),
        pytest.param({"weights": np.zeros((4, 4), np.int8), "inputs": np.zeros((9, 5), np.int8)},
                     "inputs: have 5 rows, the weights 4", id="rows differ"),
        pytest.param({"weights": np.full((4, 4), -128, np.int8),
                      "inputs": np.zeros((9, 4), np.int8)}, "holds -128", id="-128"),
        pytest.param({"weights": np.ones((4, 4), np.int8), "inputs": np.ones((9, 4), np.int8)},
                     "hold 9 vectors", id="too few vectors"),
        pytest.param({"weights": np.ones((2000, 4), np.int8),
                      "inputs": np.ones((96, 2000), np.int8)}, "need 8 cores", id="too many rows"),
        pytest.param({"weights": np.array([[{}]], object), "inputs": np.ones((9, 4), np.int8)},
                     "cannot be read as .npz", id="pickled objects"),
    ],
)  # fmt: skip
def test_bad_workload_is_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "layer.npz", **arrays)
    ended = hil("run", campaign_file(tmp_path, campaign='workload = "layer.npz"'))
    assert ended.code == 3, ended.stderr
    assert "layer.npz" in ended.stderr
    assert words in ended.stderr


def test_truncated_workload_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "layer.npz", weights=np.ones((4, 4), np.int8))
    whole = (tmp_path / "layer.npz").read_bytes()
    (tmp_path / "layer.npz").write_bytes(whole[: len(whole) // 2])
    ended = hil("run", campaign_file(tmp_path, campaign='workload = "layer.npz"'))
    assert ended.code == 3
    assert "cannot be read as .npz" in ended.stderr


def test_workload_with_a_raw_member_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "layer.npz", "w") as archive:
        archive.writestr("weights", b"1 2 3")
    ended = hil("run", campaign_file(tmp_path, campaign='workload = "layer.npz"'))
    assert ended.code == 3
    assert "layer.npz: weights: is no array" in ended.stderr


@pytest.fixture(scope="module")
def weights_only(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, npt.NDArray[np.int8]]:
    """Return a run of 300 x 20 weights without inputs, on cores of 256 x 32, and the weights."""
    folder = tmp_path_factory.mktemp("weights")
    weights = codes(np.random.default_rng(6), 300, 20)
    np.save(folder / "layer.npy", weights)
    profile = SMALL_CHIP.replace("rows = 32\ncolumns = 16", "rows = 256\ncolumns = 32")
    (folder / "small.toml").write_text(
        profile.replace("full_scale_products = 100000.0", "full_scale_products = 1000000.0")
    )
    path = campaign_file(
        folder,
        resource="mock://small.toml",
        campaign='workload = "layer.npy"\nread_modes = ["one_phase"]',
        vectors='calibration = 64\nverification = 32\namplitudes = "spread"',
    )
    ended = hil("run", path)
    assert ended.code == 0, ended.stderr
    return folder, weights


def test_weights_alone_are_spread_over_cores_and_calibrated(
    weights_only: tuple[Path, npt.NDArray[np.int8]],
) -> None:
    folder, weights = weights_only
    summary = hil("info", folder / "run", "--json").json
    steps = [(step["core"], step["columns_calibrated"]) for step in summary["steps"]]
    assert steps == [(0, 20), (1, 20)]
    layer = summary["layer"]["one_phase"]
    assert layer["nmpu"] < 0.8 * layer["uncorrected"]
    parts = []
    for core in range(2):
        with h5py.File(folder / f"run/steps/core0{core}_one_phase.h5") as step:
            parts.append(step["weights"][:150, :20])
    assert np.array_equal(np.concatenate(parts), weights)


def test_vectors_of_weights_alone_are_drawn_for_the_whole_layer(
    weights_only: tuple[Path, npt.NDArray[np.int8]],
) -> None:
    folder, _ = weights_only
    inputs = []
    for core in range(2):
        with h5py.File(folder / f"run/steps/core0{core}_one_phase.h5") as step:
            inputs.append(step["inputs"][...])
            assert not inputs[-1][:, 150:].any(), "beyond the rows of the tile nothing is driven"
    upper, lower = (part[:, :150].astype(float) for part in inputs)
    assert upper.shape == (96, 150)
    assert not np.array_equal(upper, lower)
    # One amplitude for both halves of a vector: their lengths go together.
    lengths = np.corrcoef(np.linalg.norm(upper, axis=1), np.linalg.norm(lower, axis=1))
    assert lengths[0, 1] > 0.95


def test_repaired_run_that_has_lost_no_part_keeps_the_sum_over_its_layer(
    weights_only: tuple[Path, npt.NDArray[np.int8]], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(weights_only[0] / "run", broken)
    lines = (broken / "journal.jsonl").read_text().splitlines(keepends=True)
    (broken / "journal.jsonl").write_text("".join(lines[:-1]))  # the stop event
    ended = hil("data", "repair", broken, "--out", tmp_path / "saved")
    assert ended.code == 0, ended.stderr
    before = hil("info", weights_only[0] / "run", "--json").json
    after = hil("info", tmp_path / "saved", "--json").json
    assert (before["status"], after["status"]) == ("complete", "incomplete")
    assert after["layer"] == before["layer"] != {}


def test_archive_without_inputs_is_weights_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "layer.npz", weights=np.ones((300, 20), np.int8))
    campaign = campaign_file(tmp_path, campaign='workload = "layer.npz"')
    ended = hil("plan", campaign, "--no-device")
    assert ended.code == 0, ended.stderr
    ended = hil("config", "check", campaign)
    assert ended.code == 0, ended.stderr


def weights_file(folder: Path, content: bytes) -> Path:
    (folder / "layer.npy").write_bytes(content)
    return campaign_file(folder, campaign='workload = "layer.npy"')


def stored(save: Callable[..., None], **arrays: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    if save is np.save:
        save(stream, *arrays.values())
    else:
        save(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(stored(np.save, w=np.ones((300, 20), np.int8))[:-7],
                     "layer.npy: cannot be read as .npy", id="cut short"),
        pytest.param(b"weights", "layer.npy: cannot be read as .npy", id="no array"),
        pytest.param(stored(np.savez, weights=np.ones((300, 20), np.int8)),
                     "cannot be read as .npy: is an .npz archive: name it .npz", id="archive"),
        pytest.param(stored(np.save, w=np.ones((300, 20))),
                     "weights: is float64 of shape (300, 20): must be int8, two axes; integers of "
                     "-127 to 127 convert with .astype(np.int8)", id="floats"),
        pytest.param(stored(np.save, w=np.ones(300, np.int8)),
                     "weights: is int8 of shape (300,): must be int8, two axes", id="one axis"),
        pytest.param(stored(np.save, w=np.full((4, 4), -128, np.int8)),
                     "weights: holds -128", id="-128"),
    ],
)  # fmt: skip
def test_bad_weights_alone_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    ended = hil("run", weights_file(tmp_path, content))
    assert ended.code == 3, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["layer.npz", "campaign.toml"])
def test_fifo_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    campaign = campaign_file(tmp_path, campaign='workload = "layer.npz"')
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    ended = hil("run", campaign)
    assert ended.code == 3
    assert f"{name}: is no regular file" in ended.stderr


def test_silent_workload_fails_each_step_with_the_reason(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "layer.npz", weights=np.zeros((4, 4), np.int8), inputs=np.ones((96, 4), np.int8)
    )
    ended = hil("run", campaign_file(tmp_path, campaign='workload = "layer.npz"'), "--json")
    assert ended.code == 1
    assert ended.json["status"] == "incomplete"
    assert len(ended.json["failures"]) == 2
    assert "no column responds" in ended.json["failures"][0]


@pytest.mark.skipif(not REAL_LAYER.exists(), reason=f"no real layer at {REAL_LAYER}")
def test_real_layer_of_resnet20_is_calibrated_over_three_cores(tmp_path: Path) -> None:
    example = (PROJECT / "examples" / "resnet20_layer.toml").read_text()
    path = tmp_path / "layer.toml"
    path.write_text(
        example.replace("../../shared/data/resnet20_layer3_2_conv1_workload.npz", str(REAL_LAYER))
    )
    ended = hil("run", path, "--out", tmp_path / "run", "--json")
    assert ended.code == 0, ended.stderr
    summary = ended.json
    assert [step["core"] for step in summary["steps"]] == [0, 0, 1, 1, 2, 2]
    for step in summary["steps"]:
        assert step["gain_spread"] < 0.12, "hardly known gains do not count"
    for errors in [*(step["errors"] for step in summary["steps"]), *summary["layer"].values()]:
        assert errors["nmpu"] < errors["float"] + 0.005
    assert (
        summary["layer"]["four_phase"]["nmpu"] < 0.6 * summary["layer"]["four_phase"]["uncorrected"]
    )
    assert (
        summary["layer"]["one_phase"]["nmpu"] < 0.7 * summary["layer"]["one_phase"]["uncorrected"]
    )
