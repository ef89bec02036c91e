"""One step under one format, in this process and in others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from example_steps import RAW, write_step
from hil.core.errors import DatasetError
from hil.core.nmpu_format import NmpuFormat
from hil.explore.evaluate import CalibrationSettings, FormatResult, StepEvaluator, Task
from hil.explore.workers import evaluate_all
from hil_calibration.quality import QualityLimits
from hil_datasets.step_reader import read_step

SETTINGS = CalibrationSettings(block=2, headroom=1.5, limits=QualityLimits())


def silent_step(folder: Path) -> Path:
    """Write a step of the tiny chip on which no counter ever moves."""
    path = folder / "silent.h5"
    write_step(path, raw=np.full_like(RAW, 7))
    return path


def task_for(path: Path, **changes: str) -> Task:
    task = Task(
        step="core00_one_phase",
        path=path,
        raw_sha256=read_step(path).raw_sha256,
        format_text=NmpuFormat().to_text(),
        settings=SETTINGS,
    )
    return replace(task, **changes)  # type: ignore[arg-type]


def test_step_that_cannot_be_calibrated_is_refused_with_the_reason(tmp_path: Path) -> None:
    evaluator = StepEvaluator(read_step(silent_step(tmp_path)), SETTINGS)
    result = evaluator.evaluate(NmpuFormat())
    assert "no column responds to its inputs" in result.refusal
    assert result.errors == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(tmp_path: Path, workers: int) -> None:
    path = silent_step(tmp_path)
    texts = [NmpuFormat(in_bits=bits).to_text() for bits in range(8, 13)]
    kept: list[FormatResult] = []
    tasks = [task_for(path, format_text=text) for text in texts]
    evaluate_all(tasks, workers=workers, keep=kept.append)
    assert [result.format_text for result in kept] == texts


@pytest.mark.parametrize("workers", [1, 2])
def test_step_that_was_replaced_meanwhile_is_named(tmp_path: Path, workers: int) -> None:
    task = task_for(silent_step(tmp_path), raw_sha256="0" * 64)
    kept: list[FormatResult] = []
    with pytest.raises(DatasetError, match=r"silent\.h5: /: was replaced while it was studied"):
        evaluate_all([task, task], workers=workers, keep=kept.append)
    assert kept == []
