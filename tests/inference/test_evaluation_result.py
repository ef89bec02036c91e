"""What an evaluation leaves: its files, read by others, and its numbers."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hil.core.errors import ConfigError, DatasetError
from hil.inference.conditions.outcome import Condition, ConditionResult, Evaluation
from hil.inference.conditions.treatment import Treatment
from hil.inference.findings.result_file import read_evaluation, write_evaluation
from hil.inference.findings.store import make_folder, open_folder
from hil.inference.findings.summary import summarize_evaluation

LABELS = [0, 1, 2, 3]


def _result(correction: str, predictions: list[int], **condition: object) -> ConditionResult:
    return ConditionResult(
        condition=Condition(correction=correction, **condition),  # type: ignore[arg-type]
        predictions=np.array(predictions),
        layer_errors=np.array([0.5, np.nan]),
        layer_saturation=np.array([0.25, np.nan]),
        layer_folded=np.array([True, False]),
        seconds=1.5,
    )


def _evaluation(*results: ConditionResult, identity: str = "w") -> Evaluation:
    return Evaluation(
        model="net",
        chip="chip",
        read_mode="four_phase",
        layers=("conv1", "fc"),
        labels=np.array(LABELS),
        float_predictions=np.array([0, 1, 2, 3]),
        int8_predictions=np.array([0, 1, 2, 0]),
        int8_weight_predictions=np.array([0, 1, 2, 3]),
        results=results,
        seed=7,
        identity={"weights_sha256": identity},
        software={"aimc-hil": "1"},
        notes=("one",),
    )


FRESH = _result("fp16", [0, 1, 2, 0])
AGED = _result("nmpu", [0, 1, 0, 0], age_s=3600.0, treatment=Treatment.RECALIBRATED)


def test_file_has_named_axes_and_units_for_plain_h5py(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.h5"
    tables = {
        "core": np.array([4]),
        "is_used": np.array([[1, 1, 0]], np.uint8),
        "a_p": np.array([[0.5, 0.25, np.nan]]),
    }
    write_evaluation(_evaluation(FRESH, AGED), path, calibrations={3600.0: tables})
    with h5py.File(path) as file:
        assert file.attrs["file_format"] == "hil-evaluation"
        assert json.loads(file.attrs["identity"]) == {"weights_sha256": "w"}
        assert len(file.attrs["evaluation_id"]) == 64
        assert file["correction"].asstr()[:].tolist() == ["fp16", "nmpu"]
        assert (file["age_s"][:].tolist(), file["age_s"].attrs["units"]) == ([0.0, 3600.0], "s")
        assert file["treatment"].asstr()[:].tolist() == ["kept", "recalibrated"]
        assert file["predictions"][:].tolist() == [[0, 1, 2, 0], [0, 1, 0, 0]]
        assert [axis.label for axis in file["predictions"].dims] == ["condition", "image"]
        assert file["predictions"].dims[1][0].name == "/image"
        assert file["layer_folded"][:].tolist() == [[1, 0], [1, 0]]
        assert file["layer_name"].asstr()[:].tolist() == ["conv1", "fc"]
        calibration = file["calibrations/3600s"]
        assert calibration["core"][:].tolist() == [4]
        assert calibration["a_p"][0, :2].tolist() == [0.5, 0.25]
        assert calibration["a_p"].attrs["units"] == "output LSB per count"
        assert [axis.label for axis in calibration["a_p"].dims] == ["core", "column"]


def test_xarray_opens_the_file(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    pytest.importorskip("h5netcdf", reason="h5netcdf is not installed")
    path = tmp_path / "evaluation.h5"
    write_evaluation(_evaluation(FRESH, AGED), path)
    with xarray.open_dataset(path, engine="h5netcdf") as found:
        right = (found.predictions == found.labels).mean("image")
        assert right.values.tolist() == [0.75, 0.5]


def test_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.h5"
    write_evaluation(_evaluation(FRESH, AGED), path)
    found = read_evaluation(path)
    assert found.results[1].condition == AGED.condition
    assert found.results[1].predictions.tolist() == [0, 1, 0, 0]
    assert found.results[0].layer_folded.tolist() == [True, False]
    assert found.notes == ("one",)
    assert found.id == _evaluation(FRESH, AGED).id


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file.attrs["file_format"] = "other"
    with pytest.raises(DatasetError, match="is no evaluation of version 1"):
        read_evaluation(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_evaluation(path)


def test_id_depends_on_what_went_in_and_what_came_out() -> None:
    ids = {
        _evaluation(FRESH).id,
        _evaluation(FRESH, identity="v").id,
        _evaluation(_result("fp16", [0, 1, 2, 3])).id,
        _evaluation(FRESH, AGED).id,
    }
    assert len(ids) == 4
    assert _evaluation(FRESH).id in ids


def test_summary_pairs_each_condition_with_fp16_of_the_same_age() -> None:
    aged_fp16 = _result("fp16", [0, 1, 2, 3], age_s=3600.0, treatment=Treatment.RECALIBRATED)
    summary = summarize_evaluation(_evaluation(FRESH, AGED, aged_fp16))
    fresh, aged, _ = summary.conditions
    assert (fresh.accuracy.value, aged.accuracy.value) == (0.75, 0.5)
    assert fresh.against_fp16 is not None
    assert fresh.against_fp16.drop == 0.0
    assert aged.against_fp16 is not None
    # Images 2 and 3 are right with FP16 alone: 2 of 4 are lost, none gained, 2 predicted alike.
    assert (aged.against_fp16.lost, aged.against_fp16.gained) == (2, 0)
    assert (aged.against_fp16.drop, aged.against_fp16.agreement) == (0.5, 0.5)
    # Two discordant images of one kind: p = 2 * (1/2)**2.
    assert aged.against_fp16.p_value == 0.5
    assert aged.against_float.drop == 0.5
    assert summary.int8_against_float.drop == 0.25


def test_loss_is_split_over_what_was_evaluated() -> None:
    nmpu = _result("nmpu", [1, 1, 2, 0])
    cores = "cores and counters: noise, gains, clipping (float correction)"
    registers = "registers and integer arithmetic of the NMPU"
    whole = summarize_evaluation(_evaluation(_result("float", [0, 1, 2, 0]), FRESH, nmpu))
    assert [(one.source, one.cost.drop) for one in whole.loss_sources] == [
        ("weights in int8", 0.0), ("layer inputs in int8", 0.25), (cores, 0.0),
        ("FP16 arithmetic of the correction", 0.0), (registers, 0.25),
    ]  # fmt: skip
    part = summarize_evaluation(_evaluation(nmpu))
    assert [(one.source, one.cost.drop) for one in part.loss_sources][2:] == [
        (f"cores and counters, and {registers}", 0.25)
    ]


def test_stored_coefficients_cost_what_new_ones_do_not() -> None:
    def anew(correction: str, predictions: list[int]) -> ConditionResult:
        return _result(correction, predictions, treatment=Treatment.RECALIBRATED)

    stored = [_result("float", [0, 1, 1, 0]), _result("nmpu", [1, 1, 1, 0])]
    both = replace(
        _evaluation(*stored, anew("float", [0, 1, 2, 0]), anew("nmpu", [0, 1, 2, 0])),
        identity={"coefficients_set_id": "c"},
    )
    told = "coefficients that the run has stored"
    assert [
        (one.source, one.cost.drop, one.accuracy.value)
        for one in summarize_evaluation(both).loss_sources
    ][2:] == [
        ("cores and counters: noise, gains, clipping (float correction)", 0.0, 0.75),
        ("registers and integer arithmetic of the NMPU", 0.0, 0.75),
        (f"{told}, instead of new ones", 0.5, 0.25),
    ]
    kept = replace(both, results=tuple(stored))
    assert [(one.source, one.cost.drop) for one in summarize_evaluation(kept).loss_sources][2:] == [
        (f"{told}, and cores and counters: noise, gains, clipping (float correction)", 0.25),
        ("registers and integer arithmetic of the NMPU", 0.25),
    ]


def test_without_fp16_there_is_no_paired_drop_against_it() -> None:
    (only,) = summarize_evaluation(_evaluation(AGED)).conditions
    assert only.against_fp16 is None


def test_json_says_null_where_nobody_knows() -> None:
    document = summarize_evaluation(_evaluation(FRESH)).to_dict()
    text = json.dumps(document, allow_nan=False)
    condition = json.loads(text)["conditions"][0]
    assert condition["layer_errors"] == [0.5, None]
    assert condition["layer_saturation"] == [0.25, None]
    assert condition["layer_folded"] == [True, False]


def test_finished_condition_is_found_again(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "out", {"seed": "0"})
    assert folder.find(AGED.condition) is None
    folder.keep(AGED)
    found = open_folder(tmp_path / "out", {"seed": "0"}).find(AGED.condition)
    assert found is not None
    assert found.predictions.tolist() == [0, 1, 0, 0]
    assert np.isnan(found.layer_errors[1])
    assert found.seconds == 1.5
    with np.load(tmp_path / "out" / "conditions" / "nmpu_3600s_recalibrated.npz") as stored:
        assert stored["predictions"].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_damaged_condition_is_named(content: bytes, tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "out", {"seed": "0"})
    folder.keep(FRESH)
    path = tmp_path / "out" / "conditions" / "fp16_0s.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"is damaged: .*; delete it, and it is computed again"):
        folder.find(FRESH.condition)
    with path.open("wb") as file:
        np.savez(file, predictions=np.zeros(3))
    with pytest.raises(DatasetError, match="is damaged"):
        folder.find(FRESH.condition)


def test_folder_of_another_subject_is_refused(tmp_path: Path) -> None:
    open_folder(tmp_path / "out", {"read_mode": "four_phase", "seed": "0"})
    with pytest.raises(ConfigError, match="read mode: four_phase there, one_phase asked; choose"):
        open_folder(tmp_path / "out", {"read_mode": "one_phase", "seed": "0"})
    (tmp_path / "out" / "subject.json").write_text("[]")
    with pytest.raises(DatasetError, match="is no evaluation"):
        open_folder(tmp_path / "out", {"seed": "0"})


def test_two_evaluations_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "out", {"seed": "0"})
    with (
        folder.held(),
        pytest.raises(ConfigError, match="another hil evaluate is at work"),
        open_folder(tmp_path / "out", {"seed": "0"}).held(),
    ):
        pytest.fail("both hold it")


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match="cannot be used as output folder"):
        make_folder(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
