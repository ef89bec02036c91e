"""Median and worst over the calibrated columns, from steps of literal numbers."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

import example_steps as example
from hil.report.quality import CalibratedColumns, QualitySummary, WorstColumn, summarize_quality
from hil.report.summary import summarize_run
from hil.report.table import print_summary
from hil_datasets.step import StepRecord
from hil_datasets.step_files.reader import read_step


def step(folder: Path, *, bits: list[float], inl: list[float]) -> StepRecord:
    """Read back a step of the tiny chip, whose third column is dead."""
    quality = replace(example.QUALITY, effective_bits=np.array(bits), inl=np.array(inl))
    path = folder / f"{bits[0]}.h5"
    example.write_step(path, conclusion=replace(example.CONCLUSION, quality=quality))
    return read_step(path)


def test_worst_columns_are_named_over_all_steps(tmp_path: Path) -> None:
    one = step(tmp_path, bits=[6.5, 5.25, 0.0], inl=[0.5, 0.75, 99.0])
    two = step(tmp_path, bits=[7.0, 6.0, 0.0], inl=[1.25, 0.0, 99.0])
    two = replace(two, key=example.OTHER_CORE)
    assert summarize_quality([CalibratedColumns.of(one), CalibratedColumns.of(two)]) == (
        QualitySummary(
            median_effective_bits=6.25,
            lowest_effective_bits=WorstColumn(core=0, read_mode="one_phase", column=1, value=5.25),
            largest_inl=WorstColumn(core=2, read_mode="one_phase", column=0, value=1.25),
        )
    )


def test_steps_without_numbers_have_no_summary(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    example.write_step(path, conclusion=replace(example.CONCLUSION, quality=None))
    assert summarize_quality([CalibratedColumns.of(read_step(path))]) is None


def test_step_without_a_calibrated_column_has_no_summary(tmp_path: Path) -> None:
    record = step(tmp_path, bits=[6.5, 5.25, 0.0], inl=[0.5, 0.75, 99.0])
    dead = replace(record.conclusion, flags=np.full(3, 2, np.uint16))
    assert summarize_quality([CalibratedColumns.of(replace(record, conclusion=dead))]) is None


def printed(folder: Path, **conclusion: object) -> str:
    changed = replace(example.CONCLUSION, **conclusion)  # type: ignore[arg-type]
    run = example.write_run(folder / "run", example.ONE, conclusion=changed)
    console = Console(file=io.StringIO(), width=100)
    print_summary(summarize_run(run), console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_table_has_a_line_for_each(tmp_path: Path) -> None:
    quality = replace(example.QUALITY, effective_bits=np.array([6.0, 5.25, 0.0]))
    text = printed(tmp_path, quality=quality)
    assert "effective bits: median 5.6, lowest 5.2 (core 0 one_phase column 1)\n" in text
    assert "INL: largest 0.50 output LSB (core 0 one_phase column 1)\n" in text


def test_table_of_an_old_run_has_none(tmp_path: Path) -> None:
    assert "effective bits" not in printed(tmp_path, quality=None)
