"""What `hil data` says of the result of `hil evaluate`."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from hil.cli import command_line
from hil.inference.conditions.outcome import Condition, ConditionResult, Evaluation
from hil.inference.findings.result_file import read_evaluation, write_evaluation
from hil.inference.findings.summary import summarize_evaluation

DONE, PROBLEMS, CONFIG, DATA = 0, 1, 3, 5
"""Exit codes."""


def _hil_data(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, ["data", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an evaluation of two images on a simulated chip."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "subject.json").write_text("{}")
    result = ConditionResult(
        condition=Condition(correction="nmpu", age_s=3600.0),
        predictions=np.array([1, 0]),
        layer_errors=np.array([0.5]),
        layer_saturation=np.array([0.0]),
        layer_folded=np.array([True]),
    )
    classes = np.array([1, 0])
    write_evaluation(
        Evaluation(
            model="net", chip="chip 7", read_mode="four_phase", layers=("fc",), labels=classes,
            float_predictions=classes, int8_predictions=classes, int8_weight_predictions=classes,
            results=(result,), seed=0, identity={"weights_sha256": "ab", "chip": "chip 7"},
            software={"torch": "2"},
        ),
        out / "evaluation.h5",
        calibrations={
            3600.0: {
                "core": np.array([4]),
                "is_used": np.array([[1, 0]], np.uint8),
                "scale_p_codes": np.array([[7, 0]], np.uint8),
            }
        },
    )  # fmt: skip
    return out


@pytest.mark.parametrize("name", ["", "evaluation.h5"])
def test_info_says_what_was_evaluated(name: str, folder: Path) -> None:
    ended = _hil_data("info", folder / name, "--json")
    assert ended.exit_code == DONE, ended.output
    found = json.loads(ended.stdout)
    assert (found["kind"], found["model"], found["images"]) == ("evaluation", "net", 2)
    assert (found["corrections"], found["ages_s"]) == (["nmpu"], [3600.0])
    assert (found["weights_sha256"], found["chip"]) == ("ab", "chip 7")
    with h5py.File(folder / "evaluation.h5") as file:
        assert found["evaluation_id"] == file.attrs["evaluation_id"]


def test_verify_computes_the_id_again(folder: Path) -> None:
    whole = _hil_data("verify", folder)
    assert (whole.exit_code, whole.stdout) == (
        DONE, f"{folder / 'evaluation.h5'}: whole (an evaluation, 1 condition)\n",
    )  # fmt: skip
    with h5py.File(folder / "evaluation.h5", "r+") as file:
        file["predictions"][0, 1] = 1
    changed = _hil_data("verify", folder, "--json")
    assert changed.exit_code == PROBLEMS
    found = json.loads(changed.stdout)
    assert not found["is_whole"]
    assert found["problems"][0].startswith("evaluation_id: stored ")


_EDITS: dict[str, Callable[[h5py.File], Any]] = {
    "predictions": lambda file: _add(file["predictions"], 1),
    "labels": lambda file: _add(file["labels"], 1),
    "float_predictions": lambda file: _add(file["float_predictions"], 1),
    "int8_predictions": lambda file: _add(file["int8_predictions"], 1),
    "layer_errors": lambda file: _add(file["layer_errors"], 0.125),
    "layer_saturation": lambda file: _add(file["layer_saturation"], 0.125),
    "age": lambda file: _add(file["age_s"], 1.0),
    "treatment": lambda file: file["treatment"].write_direct(np.array([b"adabs"], object)),
    "layer_name": lambda file: file["layer_name"].write_direct(np.array([b"other"], object)),
    "register": lambda file: _add(file["calibrations/3600s/scale_p_codes"], 1),
    "age of a calibration": lambda file: file["calibrations/3600s"].attrs.modify("age_s", 2.0),
    "unit": lambda file: file["age_s"].attrs.modify("units", "h"),
    "notes": lambda file: file.attrs.modify("notes", '["forged"]'),
    "chip": lambda file: file.attrs.modify("chip", "chip 8"),
    "software": lambda file: file.attrs.modify("software", '{"torch": "9"}'),
    "new dataset": lambda file: file.create_dataset("more", data=1),
    "removed dataset": lambda file: file.pop("calibrations/3600s/core"),
    "no hash": lambda file: file.attrs.pop("content_sha256"),
}


def _add(dataset: h5py.Dataset, value: float) -> None:
    dataset[...] = dataset[...] + value


@pytest.mark.parametrize("edit", _EDITS.values(), ids=_EDITS.keys())
def test_every_edit_is_found(edit: Callable[[h5py.File], Any], folder: Path) -> None:
    with h5py.File(folder / "evaluation.h5", "r+") as file:
        edit(file)
    changed = _hil_data("verify", folder, "--json")
    assert changed.exit_code == PROBLEMS, changed.output
    assert json.loads(changed.stdout)["problems"][-1].startswith("content_sha256: stored ")


def test_labels_and_baselines_are_in_the_id(folder: Path) -> None:
    with h5py.File(folder / "evaluation.h5", "r+") as file:
        _add(file["labels"], 1)
    found = json.loads(_hil_data("verify", folder, "--json").stdout)
    assert found["problems"][0].startswith("evaluation_id: stored ")


def test_file_of_version_1_is_whole_as_far_as_anybody_knows(folder: Path) -> None:
    with h5py.File(folder / "evaluation.h5", "r+") as file:
        file.attrs["format_version"] = 1
        del file.attrs["content_sha256"]
        # As version 1 had it: of the identity, and of name and predictions of each condition.
        identity = b'hil evaluation 1\n{"chip": "chip 7", "weights_sha256": "ab"}\n'
        predictions = struct.pack("<2q", 1, 0)
        of_version_1 = hashlib.sha256(identity + b"nmpu_3600s\n" + predictions).hexdigest()
        file.attrs["evaluation_id"] = of_version_1
    (folder / "evaluation.json").write_text("{}")
    ended = _hil_data("verify", folder)
    assert ended.exit_code == DONE, ended.output
    assert "note: a file of format version 1 has no hash of its content: labels, " in ended.stdout
    assert "evaluation.json are not covered\n" in ended.stdout
    info = json.loads(_hil_data("info", folder, "--json").stdout)
    assert info["evaluation_id"] == of_version_1


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("conditions", 0, "accuracy", "value"), 0.999,
         "conditions.0.accuracy.value: says 0.999, the evaluation gives 1.0"),
        (("conditions", 0, "layer_errors", 0), None,
         "conditions.0.layer_errors.0: says None, the evaluation gives 0.5"),
        (("seed",), 1, "seed: says 1, the evaluation gives 0"),
        (("more",), 1, "more: says 1, the evaluation gives nothing"),
        (("layers",), [], "layers: says [], the evaluation gives ['fc']"),
    ],
)  # fmt: skip
def test_edited_document_is_found(
    keys: tuple[Any, ...], value: object, words: str, folder: Path
) -> None:
    document = summarize_evaluation(read_evaluation(folder / "evaluation.h5")).to_dict()
    path = folder / "evaluation.json"
    path.write_text(json.dumps(document))
    assert _hil_data("verify", folder).exit_code == DONE
    changed = json.loads(path.read_text())
    at = changed
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    path.write_text(json.dumps(changed))
    ended = _hil_data("verify", folder)
    assert ended.exit_code == PROBLEMS
    assert f"evaluation.json: {words}\n" in ended.stdout


def test_document_that_is_none_is_told(folder: Path) -> None:
    (folder / "evaluation.json").write_text("{")
    ended = _hil_data("verify", folder)
    assert ended.exit_code == PROBLEMS
    assert "evaluation.json: cannot be compared: " in ended.stdout


def test_damaged_evaluation_is_told(folder: Path) -> None:
    with h5py.File(folder / "evaluation.h5", "r+") as file:
        del file["labels"]
    ended = _hil_data("verify", folder)
    assert ended.exit_code == DATA
    assert "evaluation.h5: cannot be read" in ended.output
    assert "Traceback" not in ended.output


def test_unfinished_evaluation_says_how_to_go_on(folder: Path) -> None:
    (folder / "evaluation.h5").unlink()
    for command in ("info", "verify", "trace"):
        ended = _hil_data(command, folder)
        assert ended.exit_code == DATA, ended.output
        assert "has not finished: run the same hil evaluate again" in ended.stderr


def test_evaluation_with_no_run_has_none_to_trace(folder: Path) -> None:
    ended = _hil_data("trace", folder)
    assert ended.exit_code == CONFIG
    assert "was made with no run, but with chip 7: hil data info shows its identity" in ended.stderr


def test_changed_evaluation_is_not_traced(folder: Path) -> None:
    with h5py.File(folder / "evaluation.h5", "r+") as file:
        del file.attrs["evaluation_id"]
    changed = _hil_data("trace", folder)
    assert changed.exit_code == DATA
    assert "evaluation_id: stored nothing" in changed.stderr


def test_runs_and_evaluations_are_verified_apart(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    ended = _hil_data("verify", folder, tmp_path / "run")
    assert ended.exit_code == CONFIG
    assert "run: is no evaluation, and" in ended.stderr
