"""Under what a step was taken: stored with it, read back, refused where it cannot be meant."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets.circumstance import FIRST_CALIBRATION, Circumstance, CorrectionSource
from hil_datasets.seal import seal_file
from hil_datasets.step import StepKey, StepKind
from hil_datasets.step_files.part import StepLayout, StepPart, WantedStep, read_part
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.writer import StepWriter

SOURCE = CorrectionSource(step="core00_one_phase", raw_sha256="0123456789abcdef" * 4)
PROBE = StepKey(0, example.ONE.read_mode, visit=7, kind=StepKind.PROBE)
PROBED = Circumstance(kind=StepKind.PROBE, visit=7, age_s=86400.5, correction_of=SOURCE)
ORIGIN = replace(
    example.ORIGIN,
    calibration_vectors=0,
    verification_vectors=example.VECTORS,
    circumstance=PROBED,
)
OUTPUTS = np.arange(18, dtype=np.int8).reshape(6, 3)
CONCLUSION = replace(example.CONCLUSION, outputs=OUTPUTS)


def write_probe(path: Path) -> str:
    return example.write_step(path, PROBE, origin=ORIGIN, conclusion=CONCLUSION, timing=None)


def test_step_without_a_fit_is_read_back(tmp_path: Path) -> None:
    write_probe(tmp_path / "step.h5")
    record = read_step(tmp_path / "step.h5")
    assert record.key == PROBE
    assert record.key.name == "core00_one_phase_visit07_probe"
    assert record.origin == ORIGIN
    assert record.origin.circumstance.correction_of == SOURCE
    assert record.conclusion.outputs is not None
    assert record.conclusion.outputs.tolist() == OUTPUTS.tolist()


def test_calibration_is_read_back_with_the_age_of_its_weights(tmp_path: Path) -> None:
    example.write_step(tmp_path / "step.h5")
    circumstance = read_step(tmp_path / "step.h5").origin.circumstance
    assert circumstance == Circumstance(kind=StepKind.CALIBRATE, visit=0, age_s=60.5)


def test_file_with_nothing_to_say_has_no_group_as_files_before_it(tmp_path: Path) -> None:
    origin = replace(example.ORIGIN, circumstance=FIRST_CALIBRATION)
    example.write_step(tmp_path / "step.h5", origin=origin)
    with h5py.File(tmp_path / "step.h5") as file:
        assert "circumstance" not in file
    record = read_step(tmp_path / "step.h5")
    assert record.key == StepKey(0, example.ONE.read_mode)
    assert (record.origin.circumstance.kind, record.origin.circumstance.visit) == ("calibrate", 0)
    assert math.isnan(record.origin.circumstance.age_s)


def test_age_that_is_not_known_is_read_back_so(tmp_path: Path) -> None:
    origin = replace(ORIGIN, circumstance=replace(PROBED, age_s=math.nan))
    example.write_step(tmp_path / "step.h5", PROBE, origin=origin, conclusion=CONCLUSION)
    circumstance = read_step(tmp_path / "step.h5").origin.circumstance
    assert math.isnan(circumstance.age_s)
    assert circumstance.correction_of == SOURCE


def test_origin_of_another_step_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^core00_one_phase: its origin is of visit 7, probe$"):
        StepWriter(tmp_path / "step.h5", key=example.ONE, origin=ORIGIN, weights=example.WEIGHTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("kind", "bake", "attribute kind: 'bake' is not a valid StepKind"),
        ("kind", np.int64(1), "attribute kind: is np.int64(1): must be text"),
        ("visit", np.int64(-1), "visit is -1: must be 0 or more"),
        ("age_s", np.float64(-0.5), "age_s is -0.5: must be 0 or more and finite, or NaN"),
        ("age_s", np.inf, "age_s is inf: must be 0 or more and finite, or NaN"),
        ("correction_of", "{", "attribute correction_of: Expecting property name"),
        ("correction_of", "7", "attribute correction_of: must be null, or the name and content"),
        (
            "correction_of",
            '{"step": "core00_one_phase", "raw_sha256": "0"}',
            "attribute correction_of: must be null, or the name and content hash of a step",
        ),
        ("correction_of", "[" * 100000, "attribute correction_of: "),
    ],
)
def test_circumstance_that_cannot_be_meant_is_refused(
    tmp_path: Path, name: str, value: Any, reason: str
) -> None:
    path = tmp_path / "step.h5"
    write_probe(path)
    with h5py.File(path, "r+") as file:
        file["circumstance"].attrs[name] = value
    seal_file(path)
    with pytest.raises(DatasetError) as caught:
        read_step(path)
    assert str(caught.value).startswith(f"{path}: /circumstance: {reason}")


@pytest.mark.parametrize("name", ["kind", "visit", "age_s", "correction_of"])
def test_part_of_a_circumstance_is_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / "step.h5"
    write_probe(path)
    with h5py.File(path, "r+") as file:
        del file["circumstance"].attrs[name]
    seal_file(path)
    with pytest.raises(DatasetError, match=f"/circumstance: attribute {name}: missing$"):
        read_step(path)


WANTED = WantedStep(
    key=PROBE,
    chip=example.CHIP,
    weights=example.WEIGHTS,
    inputs=example.INPUTS,
    calibration_vectors=0,
    layout=StepLayout(blocks=(0, 3), keeps_outputs=True, config_sha256="c0"),
    correction_of=SOURCE,
)
"""A probe in two blocks."""


def half_a_probe(path: Path) -> Callable[[WantedStep], StepPart | None]:
    writer = StepWriter(
        path, key=PROBE, origin=ORIGIN, weights=example.WEIGHTS, layout=WANTED.layout
    )
    with writer:
        writer.write_block(
            0,
            inputs=example.INPUTS[:3],
            counts=example.RAW[:3],
            expected=example.EXPECTED[:3],
            outputs=OUTPUTS[:3],
            times=(0.5, 1.0),
        )
    return lambda wanted: read_part(path.with_name("step.h5.part"), wanted)


def test_half_a_probe_is_gone_on_with_at_the_age_it_began_at(tmp_path: Path) -> None:
    part = half_a_probe(tmp_path / "step.h5")(WANTED)
    assert part is not None
    assert (part.extent.vectors, part.age_s) == (3, 86400.5)


@pytest.mark.parametrize(
    "wanted",
    [
        replace(WANTED, key=replace(PROBE, visit=8)),
        replace(WANTED, key=replace(PROBE, kind=StepKind.VERIFY)),
        replace(WANTED, correction_of=replace(SOURCE, raw_sha256="0" * 64)),
        replace(WANTED, correction_of=None),
    ],
    ids=["visit", "kind", "correction", "own_correction"],
)
def test_half_a_probe_of_something_else_is_of_no_use(tmp_path: Path, wanted: WantedStep) -> None:
    assert half_a_probe(tmp_path / "step.h5")(wanted) is None
