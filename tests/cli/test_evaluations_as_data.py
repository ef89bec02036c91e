"""What `hil data` says of the result of `hil evaluate`."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from hil.cli import command_line
from hil.inference.outcome import Condition, ConditionResult, Evaluation
from hil.inference.result_file import write_evaluation

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
