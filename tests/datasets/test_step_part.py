"""What of a step under construction can be gone on with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
from hil_datasets.step_files.part import StepLayout, StepPart, WantedStep, read_part
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.writer import StepWriter

LAYOUT = StepLayout(blocks=(0, 2, 4), keeps_outputs=True, config_sha256="c0")
WANTED = WantedStep(
    key=example.ONE,
    chip=example.CHIP,
    weights=example.WEIGHTS,
    inputs=example.INPUTS,
    calibration_vectors=example.CALIBRATION_VECTORS,
    layout=LAYOUT,
)
BEGAN = ("2026-01-02T03:04:05.250000+00:00", 12.5)


def writer_of(
    path: Path, part: StepPart | None = None, clock: Callable[[], float] = lambda: 0.0
) -> StepWriter:
    return StepWriter(
        path,
        key=example.ONE,
        origin=example.ORIGIN,
        weights=example.WEIGHTS,
        layout=LAYOUT,
        began=BEGAN,
        part=part,
        clock=clock,
    )


def write_blocks(writer: StepWriter, *firsts: int) -> None:
    for first in firsts:
        block = slice(first, first + 2)
        writer.write_block(
            first,
            inputs=example.INPUTS[block],
            counts=example.RAW[block],
            expected=example.EXPECTED[block],
            outputs=example.OUTPUTS if first == 4 else None,
            times=(first + 0.5, first + 1.0),
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A step of which two blocks are there."""
    with writer_of(tmp_path / "step.h5") as writer:
        write_blocks(writer, 0, 2)
    return tmp_path / "step.h5"


def part_of(path: Path, wanted: WantedStep = WANTED) -> StepPart | None:
    return read_part(path.with_name("step.h5.part"), wanted)


def test_part_tells_its_whole_blocks_and_when_they_were_read(path: Path) -> None:
    part = part_of(path)
    assert part is not None
    assert part.extent.vectors == 4
    assert part.times == ((0, 0.5, 1.0), (2, 2.5, 3.0))
    assert (part.began_utc, part.since_run_began_s) == BEGAN
    assert (part.measured_utc, part.temperature_c) == ("2026-01-02T03:04:05+00:00", 25.5)


def test_step_that_went_on_is_equal_to_one_that_did_not(path: Path) -> None:
    with writer_of(path, part_of(path)) as writer:
        assert writer.first_missing == 4
        assert writer.stored_block(2, 4).counts.tolist() == example.RAW[2:4].tolist()
        write_blocks(writer, 4)
        stored = writer.stored_block(4, 6).outputs
        assert stored is not None
        assert stored.tolist() == example.OUTPUTS.tolist()
        writer.finish(example.CONCLUSION, example.TIMING, example.CONDITIONS)
    other = path.with_name("other.h5")
    example.write_step(other)
    mine, whole = read_step(path), read_step(other)
    assert mine.raw_sha256 == whole.raw_sha256
    assert mine.origin == whole.origin
    assert mine.timing is not None
    assert mine.timing.began_s.tolist() == [0.5, 1.25]
    assert [found.name for found in sorted(path.parent.iterdir())] == ["other.h5", "step.h5"]


@pytest.mark.parametrize(
    "wanted",
    [
        replace(WANTED, key=example.FOUR),
        replace(WANTED, chip=replace(example.CHIP, serial="43")),
        replace(WANTED, weights=-example.WEIGHTS),
        replace(WANTED, inputs=-example.INPUTS),
        replace(WANTED, layout=replace(LAYOUT, blocks=(0, 4))),
        replace(WANTED, layout=replace(LAYOUT, keeps_outputs=False)),
    ],
    ids=["step", "chip", "weights", "inputs", "blocks", "outputs"],
)
def test_part_of_something_else_is_of_no_use(path: Path, wanted: WantedStep) -> None:
    assert part_of(path, wanted) is None


def test_other_configuration_keeps_the_calibration_vectors(path: Path) -> None:
    with writer_of(path, part_of(path)) as writer:
        write_blocks(writer, 4)
    changed = replace(WANTED, layout=replace(LAYOUT, config_sha256="c1"))
    whole, kept = part_of(path), part_of(path, changed)
    assert whole is not None
    assert kept is not None
    assert (whole.extent.vectors, kept.extent.vectors) == (6, 4)


def test_other_configuration_adds_no_vectors_that_were_not_read(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    with writer_of(path) as writer:
        write_blocks(writer, 0)
    kept = part_of(path, replace(WANTED, layout=replace(LAYOUT, config_sha256="c1")))
    assert kept is not None
    assert kept.extent.vectors == 2


def test_block_that_the_head_does_not_name_yet_is_read_again(path: Path) -> None:
    head = path.with_name("step.h5.part").read_bytes()[:512]
    with writer_of(path, part_of(path)) as writer:
        write_blocks(writer, 4)
    with path.with_name("step.h5.part").open("r+b") as file:
        file.write(head)  # as where a kill came between the block and the head
    part = part_of(path)
    assert part is not None
    assert part.extent.vectors == 4


def test_vectors_that_a_power_failure_has_taken_leave_those_on_the_disk(tmp_path: Path) -> None:
    seconds = iter([0.0, 5.0, 5.0, 5.1])
    path = tmp_path / "step.h5"
    with writer_of(path, clock=lambda: next(seconds)) as writer:
        write_blocks(writer, 0, 2)  # only the first is synced
    with h5py.File(path.with_name("step.h5.part"), "r+") as file:
        file["raw"][2:4] = 0  # its head came to the disk, it did not
    part = part_of(path)
    assert part is not None
    assert part.extent.vectors == 2


def test_damaged_counts_are_of_no_use(path: Path) -> None:
    with h5py.File(path.with_name("step.h5.part"), "r+") as file:
        file["raw"][0, 0, 0] ^= np.uint16(1)
    assert part_of(path) is None


@pytest.mark.parametrize("content", [b"", b"hil", bytes(4096)])
def test_file_that_is_none_is_of_no_use(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "step.h5.part").write_bytes(content)
    assert part_of(tmp_path / "step.h5") is None


def test_missing_part_is_none(tmp_path: Path) -> None:
    assert part_of(tmp_path / "step.h5") is None
