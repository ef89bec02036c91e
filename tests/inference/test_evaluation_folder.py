"""What the folder of an evaluation believes of its files, and who may work in it."""

import fcntl
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.core.errors import ConfigError, DatasetError
from hil.inference.conditions.baselines import Baselines
from hil.inference.conditions.outcome import Condition, ConditionResult
from hil.inference.findings.core_tables import LONG_NAMES
from hil.inference.findings.result_sizes import ResultSizes
from hil.inference.findings.store import EvaluationFolder, open_folder

SIZES = ResultSizes(images=4, classes=3, layers=2)
FRESH, AGED = Condition(correction="nmpu"), Condition(correction="nmpu", age_s=60.0)
_Change = Callable[[dict[str, Any]], None]


def _opened(path: Path, seed: str = "0") -> EvaluationFolder:
    return open_folder(path, {"seed": seed}, sizes=SIZES)


def _result(condition: Condition = FRESH, **changed: Any) -> ConditionResult:
    whole: dict[str, Any] = {
        "predictions": np.array([0, 1, 2, 0]),
        "layer_errors": np.array([0.5, np.nan]),
        "layer_saturation": np.array([0.0, 1.0]),
        "layer_folded": np.array([True, False]),
        "seconds": 2.0,
    }
    return ConditionResult(condition=condition, **whole | changed)


def _tables(value: float) -> dict[str, Any]:
    """Tables of two cores with three columns."""
    per_core = {"core", "output_lsb", "folded_output_lsb", "shift", "is_folded"}
    tables: dict[str, Any] = {
        name: np.full(2 if name in per_core else (2, 3), value) for name in LONG_NAMES
    }
    return tables


def _edited(path: Path, change: _Change) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(path, **arrays)


def _refusal(path: Path, read: Callable[[], object]) -> str:
    with pytest.raises(DatasetError) as raised:
        read()
    message = str(raised.value)
    assert message.startswith(f"{path}: is damaged: ")
    assert message.endswith("; delete it, and it is computed again")
    return message


@pytest.mark.parametrize("kind", ["conditions", "calibrations", "switched_off", "baselines"])
def test_file_of_another_evaluation_is_refused(kind: str, tmp_path: Path) -> None:
    readers: dict[str, tuple[str, Callable[[EvaluationFolder], object]]] = {
        "conditions": ("conditions/nmpu_0s.npz", lambda folder: folder.find(FRESH)),
        "calibrations": ("calibrations/0s.npz", lambda folder: folder.calibrations([0.0])),
        "switched_off": ("switched_off/ir_drop.npz", lambda folder: folder.find_flaw("IR drop")),
        "baselines": ("baselines.npz", lambda folder: folder.find_baselines()),
    }
    classes = np.array([0, 1, 2, 0])
    for name in ("mine", "other"):
        folder = _opened(tmp_path / name, seed=name)
        folder.keep(_result())
        folder.keep_tables(_tables(1.0), age_s=0.0)
        folder.keep_flaw("IR drop", classes)
        folder.keep_baselines(
            Baselines(as_float=classes, with_int8_weights=classes, with_int8=classes)
        )
    file, read = readers[kind]
    mine = _opened(tmp_path / "mine", seed="mine")
    assert read(mine) is not None
    path = tmp_path / "mine" / file
    path.write_bytes((tmp_path / "other" / file).read_bytes())
    assert "it is of another evaluation" in _refusal(path, lambda: read(mine))


def test_files_that_were_renamed_are_refused(tmp_path: Path) -> None:
    folder = _opened(tmp_path / "out")
    folder.keep(_result())
    folder.keep_tables(_tables(1.0), age_s=0.0)
    here, there = (tmp_path / "out" / "conditions" / f"nmpu_{age}.npz" for age in ("0s", "60s"))
    here.rename(there)
    message = _refusal(there, lambda: folder.find(AGED))
    assert "it is conditions/nmpu_0s.npz under another name" in message
    here, there = (tmp_path / "out" / "calibrations" / f"{age}.npz" for age in ("0s", "60s"))
    here.rename(there)
    message = _refusal(there, lambda: folder.calibrations([60.0]))
    assert "it is calibrations/0s.npz under another name" in message


def _set(name: str, value: Any) -> _Change:
    return lambda arrays: arrays.update({name: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("predictions", np.array([0, 1, 2, 1])), "is not what its hash says"),
        (_set("layer_errors", np.array([0.25, np.nan])), "is not what its hash says"),
        (_set("seconds", np.float64(3.0)), "is not what its hash says"),
        (_set("more", np.zeros(1)), "is not what its hash says"),
        (_set("predictions", np.array(["a"])), "predictions holds <U1, must hold numbers"),
        (lambda arrays: arrays.pop("subject_sha256"), "of another evaluation, or of an older"),
        (lambda arrays: arrays.pop("predictions"), "is not what its hash says"),
    ],
    ids=["class", "error", "seconds", "more", "text", "no subject", "no classes"],
)
def test_edited_condition_is_refused(change: _Change, words: str, tmp_path: Path) -> None:
    folder = _opened(tmp_path / "out")
    folder.keep(_result())
    path = tmp_path / "out" / "conditions" / "nmpu_0s.npz"
    _edited(path, change)
    assert words in _refusal(path, lambda: folder.find(FRESH))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"predictions": np.array([0, 1])}, "predictions has shape (2,), must be (4,)"),
        ({"predictions": np.zeros((1, 4), int)}, "predictions has shape (1, 4), must be (4,)"),
        ({"predictions": np.array([0, 1, 2, 3])}, "predictions are 0 to 3, must be 0 to 2"),
        ({"predictions": np.array([0, 1, -1, 0])}, "predictions are -1 to 1, must be 0 to 2"),
        ({"predictions": np.full(4, np.nan)}, "predictions are float64, must be integers"),
        ({"layer_errors": np.zeros(1)}, "layer_errors has shape (1,), must be (2,)"),
        ({"layer_errors": np.array([-0.5, 1.0])}, "layer_errors is -0.5 to 1"),
        ({"layer_saturation": np.array([0.0, 1.5])}, "layer_saturation is 0 to 1.5"),
        ({"layer_folded": np.zeros(2)}, "layer_folded is float64, must be bool"),
        ({"seconds": np.nan}, "seconds is nan"),
    ],
)
def test_condition_of_other_images_classes_or_layers_is_refused(
    changed: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = _opened(tmp_path / "out")
    folder.keep(_result(**changed))
    path = tmp_path / "out" / "conditions" / "nmpu_0s.npz"
    assert words in _refusal(path, lambda: folder.find(FRESH))


def test_tables_of_other_shapes_are_refused(tmp_path: Path) -> None:
    folder = _opened(tmp_path / "out")
    path = tmp_path / "out" / "calibrations" / "0s.npz"
    folder.keep_tables(_tables(1.0) | {"a_p": np.ones((2, 4))}, age_s=0.0)
    assert "a_p has shape (2, 4)" in _refusal(path, lambda: folder.calibrations([0.0]))
    tables = _tables(1.0)
    del tables["swap"]
    folder.keep_tables(tables, age_s=0.0)
    assert "holds no swap" in _refusal(path, lambda: folder.calibrations([0.0]))


def _take(path: Path, seed: str, together: Any, said: Any) -> None:
    together.wait()
    try:
        with _opened(path, seed=seed).held():
            said.put(seed)
            together.wait()
    except ConfigError as error:
        said.put(str(error))
        together.wait()


def test_of_two_subjects_at_once_one_takes_a_new_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(10):
        together, said = context.Barrier(2, timeout=60), context.Queue()
        path = tmp_path / f"out{number}"
        both = [
            context.Process(target=_take, args=(path, seed, together, said)) for seed in ("1", "2")
        ]
        for process in both:
            process.start()
        answers = sorted((said.get(timeout=60) for _ in both), key=len)
        for process in both:
            process.join(60)
        assert answers[0] in ("1", "2"), answers
        assert "holds another evaluation" in answers[1] or "is at work" in answers[1]
        stored = json.loads((path / "subject.json").read_text())
        assert stored == {"seed": answers[0]}


def test_new_folder_that_is_being_made_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / "evaluation.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another hil evaluate is at work in this folder"):
            _opened(out)
    assert not (out / "subject.json").exists()
