"""One step under one format, in this process and in others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from example_steps import RAW, write_step
from hil.core.errors import DatasetError
from hil.core.nmpu_format import NmpuFormat
from hil.explore.evaluate import CalibrationSettings, StepEvaluator, Task, evaluate_task
from hil.scale.pool import open_pool
from hil_calibration.quality import QualityLimits
from hil_datasets.step import StepRecord
from hil_datasets.step_files.reader import read_step
from synthetic_chip import synthetic_columns

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


def lively_record(folder: Path) -> StepRecord:
    """Return a step of counts up to 400, 256 vectors to calibrate and 64 held out."""
    columns = synthetic_columns(vectors=320, columns=6)
    write_step(folder / "lively.h5")
    record = read_step(folder / "lively.h5")
    origin = replace(
        record.origin, calibration_vectors=256, verification_vectors=64, columns_used=6
    )
    return replace(record, origin=origin, raw=columns.counts, expected=columns.expected)


def test_format_too_narrow_for_the_counts_is_refused_with_the_smallest_that_holds(
    tmp_path: Path,
) -> None:
    evaluator = StepEvaluator(lively_record(tmp_path), SETTINGS)
    refusal = evaluator.evaluate(NmpuFormat(in_bits=8)).refusal
    assert "8 input bits hold 255" in refusal
    assert refusal.endswith("the smallest format that holds it has in_bits = 9")
    assert evaluator.evaluate(NmpuFormat(in_bits=9)).refusal == ""


def test_result_does_not_depend_on_the_block(tmp_path: Path) -> None:
    record = lively_record(tmp_path)
    few, many = (
        StepEvaluator(record, replace(SETTINGS, block=block)).evaluate(NmpuFormat())
        for block in (7, 4096)
    )
    assert few == many


@pytest.mark.parametrize("workers", [1, 2])
def test_step_that_was_replaced_meanwhile_is_named(tmp_path: Path, workers: int) -> None:
    task = task_for(silent_step(tmp_path), raw_sha256="0" * 64)
    with (
        open_pool(workers=workers) as pool,
        pytest.raises(DatasetError, match=r"silent\.h5: /: was replaced while it was studied"),
    ):
        list(pool.map(evaluate_task, [task, task]))
