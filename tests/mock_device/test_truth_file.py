"""The truth file: what the chip really is, and a chip that can be served again."""

from pathlib import Path

import numpy as np
import pytest

from hil.core.errors import ConfigError
from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.profile import CounterProfile, MockProfile
from small_profiles import ideal_profile, lifelike_profile

CURVED = lifelike_profile(seed=4).model_copy(
    update={"counter": CounterProfile(full_scale_products=70_000.0, curvature_sigma=0.02)}
)


def truth_of(profile: MockProfile, path: Path) -> dict[str, np.ndarray]:
    ChipModel(profile).write_truth(path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_truth_holds_every_curve_per_core_and_column(tmp_path: Path) -> None:
    truth = truth_of(CURVED, tmp_path / "truth.npz")
    curves = {f"{name}_{side}" for name in ("gain", "curvature", "offset", "wave") for side in "pn"}
    assert set(truth) == curves | {"counts_per_product"}
    assert {truth[name].shape for name in curves} == {(2, 8)}


def test_truth_of_an_ideal_chip_is_nominal(tmp_path: Path) -> None:
    profile = ideal_profile(counter={"full_scale_products": 840.0, "offset_mean_counts": 3.0})
    truth = truth_of(profile, tmp_path / "truth.npz")
    assert truth["counts_per_product"] == 0.5
    for side in "pn":
        assert truth[f"gain_{side}"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
        assert truth[f"curvature_{side}"].tolist() == [[0.0, 0.0], [0.0, 0.0]]
        assert truth[f"offset_{side}"].tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_truth_predicts_the_counts_of_a_chip_without_noise(tmp_path: Path) -> None:
    profile = ideal_profile(
        array={"rows": 1, "columns": 16},
        counter={
            "full_scale_products": 16129.0,
            "gain_sigma": 0.071,
            "offset_mean_counts": 10.0,
            "offset_sigma_counts": 2.0,
            "curvature_sigma": 0.02,
        },
    )
    truth = truth_of(profile, tmp_path / "truth.npz")
    chip = ChipModel(profile)
    chip.program(0, np.full((1, 16), 127, np.int8))
    # 127 * 127 products are the full-scale current: i = 1 in P, 0 in N.
    counts = chip.convert(0, ReadMode.ONE_PHASE, np.array([[127]], np.int8))[0]
    p_curve = 420 * truth["gain_p"][0] / (1 + truth["curvature_p"][0]) + truth["offset_p"][0]
    assert np.abs(counts[0] - p_curve).max() <= 0.501
    assert np.abs(counts[1] - truth["offset_n"][0]).max() <= 0.501
    assert np.ptp(counts[0]) > 20


def test_dead_column_has_gain_zero_in_the_truth(tmp_path: Path) -> None:
    truth = truth_of(ideal_profile(array={"dead_column_chance": 1.0}), tmp_path / "truth.npz")
    assert np.array_equal(truth["gain_p"] == 0, truth["gain_n"] == 0)
    assert (truth["gain_p"] == 0).sum(axis=1).tolist() == [1, 1]


def test_truth_served_as_measured_chip_reads_the_same(tmp_path: Path) -> None:
    truth_of(CURVED, tmp_path / "truth.npz")
    weights, inputs = (
        np.random.default_rng(5).integers(-127, 128, shape).astype(np.int8)
        for shape in ((32, 8), (64, 32))
    )
    drawn = ChipModel(CURVED)
    served = ChipModel(CURVED.model_copy(update={"measured": tmp_path / "truth.npz"}))
    for chip in (drawn, served):
        chip.program(1, weights)
    assert np.array_equal(
        drawn.convert(1, ReadMode.FOUR_PHASE, inputs),
        served.convert(1, ReadMode.FOUR_PHASE, inputs),
    )


def test_measured_chip_counts_by_its_arrays(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "chip.npz",
        gain_p=np.array([[2.0, 0.5], [1.0, 1.0]]),
        gain_n=np.array([[1.0, -1.0], [1.0, 1.0]]),
        offset_p=np.array([[5.0, 0.0], [0.0, 0.0]]),
        offset_n=np.array([[0.0, 100.0], [0.0, 0.0]]),
    )
    chip = ChipModel(ideal_profile().model_copy(update={"measured": tmp_path / "chip.npz"}))
    chip.program(0, np.array([[30, 20], [-6, -1], [0, 0]], np.int8))
    # P sums 30 and 20, N sums 12 and 2: 2 * 30 + 5, 0.5 * 20; 1 * 12, 100 - 2.
    counts = chip.convert(0, ReadMode.FOUR_PHASE, np.array([[1, 2, 3]], np.int8))
    assert counts.tolist() == [[[65, 10], [12, 98]]]


def test_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"cannot be written as truth file: File exists"):
        ChipModel(ideal_profile()).write_truth(path)
    assert path.read_text() == "mine"


def test_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone/truth\.npz: cannot be written"):
        ChipModel(ideal_profile()).write_truth(tmp_path / "gone" / "truth.npz")
