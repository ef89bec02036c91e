"""A step under construction goes back: what was stored after a block counts as never written."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import example_steps as example
from hil_datasets.step_files.part import StepLayout, StepPart, WantedStep, read_part
from hil_datasets.step_files.writer import StepWriter

ORIGIN = replace(example.ORIGIN, calibration_vectors=12, verification_vectors=8)
LAYOUT = StepLayout(blocks=(0, 4, 8, 12, 16), keeps_outputs=True, config_sha256="c")
WEIGHTS = np.ones((4, 3), np.int8)
INPUTS = np.arange(80, dtype=np.int8).reshape(20, 4)


def write(writer: StepWriter, first: int, level: int) -> None:
    held_out = first >= ORIGIN.calibration_vectors
    writer.write_block(
        first,
        inputs=INPUTS[first : first + 4],
        counts=np.full((4, 2, 3), level, np.uint16),
        expected=np.full((4, 3), level, np.int32),
        outputs=np.full((4, 3), level, np.int8) if held_out else None,
        times=(float(first), float(first + 1)),
    )


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StepWriter]:
    """A writer that has stored all blocks, with counts of 1."""
    with StepWriter(
        tmp_path / "step.h5", key=example.ONE, origin=ORIGIN, weights=WEIGHTS, layout=LAYOUT
    ) as writer:
        for first in LAYOUT.blocks:
            write(writer, first, 1)
        yield writer


def part_of(folder: Path) -> StepPart | None:
    wanted = WantedStep(
        key=example.ONE,
        chip=ORIGIN.chip,
        weights=WEIGHTS,
        inputs=INPUTS,
        calibration_vectors=12,
        layout=LAYOUT,
    )
    return read_part(folder / "step.h5.part", wanted)


@pytest.mark.parametrize("vector", [4, 8, 12, 16, 20])
def test_another_process_goes_on_where_the_writer_went_back_to(
    writer: StepWriter, tmp_path: Path, vector: int
) -> None:
    writer.go_back_to(vector)
    writer.close()
    part = part_of(tmp_path)
    assert part is not None
    assert part.extent.vectors == vector
    assert [first for first, _, _ in part.times] == [
        first for first in LAYOUT.blocks if first < vector
    ]


def test_nothing_is_left_where_the_writer_went_back_to_the_beginning(
    writer: StepWriter, tmp_path: Path
) -> None:
    writer.go_back_to(0)
    writer.close()
    assert part_of(tmp_path) is None


def test_blocks_written_again_take_the_place_of_the_first(
    writer: StepWriter, tmp_path: Path
) -> None:
    writer.go_back_to(8)
    assert writer.first_missing == 8
    for first, level in ((8, 2), (12, 3), (16, 4)):
        write(writer, first, level)
    assert (
        writer.stored_block(0, 20).counts[:, 0, 0].tolist() == [1] * 8 + [2] * 4 + [3] * 4 + [4] * 4
    )
    writer.close()
    part = part_of(tmp_path)
    assert part is not None
    assert part.extent.vectors == 20


def test_step_cannot_be_finished_before_they_are_written_again(writer: StepWriter) -> None:
    writer.go_back_to(16)
    with pytest.raises(ValueError, match="vector 16 was never written"):
        writer.finish(example.CONCLUSION)


@pytest.mark.parametrize("vector", [-4, 3, 24])
def test_only_the_beginning_of_a_stored_block_can_be_gone_back_to(
    writer: StepWriter, vector: int
) -> None:
    with pytest.raises(ValueError, match=f"vector {vector}: no stored block begins there"):
        writer.go_back_to(vector)
