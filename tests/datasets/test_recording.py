from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil.core.nmpu_format import NmpuRegisters
from hil.core.readout import ReadMode
from hil_datasets.recording import NotRecordedError, Recording
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_files.reader import read_step

FMT = example.CONCLUSION.fmt
REGISTERS = example.CONCLUSION.registers
SAME = example.INPUTS[0]
"""The input of vectors 0 (calibration) and 4 (held out)."""
WriteStep = Callable[..., StepRecord]


@pytest.fixture
def step(tmp_path: Path) -> WriteStep:
    def write(key: StepKey = example.ONE, **changes: Any) -> StepRecord:
        path = tmp_path / f"{key.name}.h5"
        example.write_step(path, key, **changes)
        return read_step(path)

    return write


@pytest.fixture
def recording(step: WriteStep) -> Recording:
    return Recording([step(example.OTHER_CORE), step(example.ONE)])


def registers_with(**changes: Any) -> NmpuRegisters:
    return replace(REGISTERS, **changes)


def counts_of(recording: Recording, *vectors: npt.NDArray[np.int8]) -> list[Any]:
    return list(recording.counts(example.ONE, np.stack(vectors)).tolist())


def test_steps_are_sorted(recording: Recording) -> None:
    assert recording.keys == [example.ONE, example.OTHER_CORE]


def test_recorded_vectors_give_exactly_their_counts(recording: Recording) -> None:
    counts = recording.counts(example.ONE, example.INPUTS[[5, 1]])
    assert counts.dtype == np.uint16
    assert counts.tolist() == [
        [[150, 151, 4095], [50, 51, 0]],
        [[110, 111, 112], [10, 11, 12]],
    ]


def test_all_vectors_at_once_give_the_counts_in_recorded_order(recording: Recording) -> None:
    assert counts_of(recording, *example.INPUTS) == example.RAW.tolist()


def test_repeated_vector_gives_its_counts_in_recorded_order_then_from_the_first(
    recording: Recording,
) -> None:
    first, second = example.RAW[0].tolist(), example.RAW[4].tolist()
    assert counts_of(recording, SAME, SAME, SAME) == [first, second, first]
    assert counts_of(recording, SAME) == [second]


def test_steps_repeat_apart_from_each_other(recording: Recording) -> None:
    counts_of(recording, SAME)
    other = recording.counts(example.OTHER_CORE, SAME[np.newaxis])
    assert other.tolist() == [example.RAW[0].tolist()]


def test_rewinding_gives_the_first_counts_again(recording: Recording) -> None:
    counts_of(recording, SAME)
    recording.rewind()
    assert counts_of(recording, SAME) == [example.RAW[0].tolist()]


def test_unknown_input_is_refused_by_its_place(recording: Recording) -> None:
    unknown = np.array([9, 9, 9, 9], dtype=np.int8)
    with pytest.raises(
        NotRecordedError,
        match=r"^input vector 1 of this request was not recorded for core00_one_phase$",
    ):
        counts_of(recording, example.INPUTS[1], unknown)


def test_refused_request_uses_up_no_repeat(recording: Recording) -> None:
    unknown = np.array([9, 9, 9, 9], dtype=np.int8)
    with pytest.raises(NotRecordedError):
        counts_of(recording, SAME, unknown)
    assert counts_of(recording, SAME) == [example.RAW[0].tolist()]


def test_vector_of_another_length_is_unknown(recording: Recording) -> None:
    with pytest.raises(NotRecordedError, match="input vector 0"):
        counts_of(recording, np.array([1, 0, 0], dtype=np.int8))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (example.FOUR, "^core 0 was not recorded in four_phase mode$"),
        (StepKey(7, ReadMode.ONE_PHASE), "^core 7 was not recorded in one_phase mode$"),
    ],
)
def test_step_that_was_not_recorded_is_refused(
    recording: Recording, key: StepKey, reason: str
) -> None:
    with pytest.raises(NotRecordedError, match=reason):
        recording.counts(key, example.INPUTS[:1])


def test_recorded_weights_are_accepted(recording: Recording) -> None:
    recording.check_weights(2, example.WEIGHTS)


def test_other_weights_are_refused(recording: Recording) -> None:
    with pytest.raises(NotRecordedError, match=r"^core 0 was recorded with other weights$"):
        recording.check_weights(0, example.WEIGHTS + np.int8(1))


def test_weights_of_a_core_that_was_not_recorded_are_refused(recording: Recording) -> None:
    with pytest.raises(NotRecordedError, match=r"^core 1 was not recorded$"):
        recording.check_weights(1, example.WEIGHTS)


def test_held_out_vectors_give_the_recorded_outputs(recording: Recording) -> None:
    counts_of(recording, example.INPUTS[5])
    outputs = recording.outputs(example.ONE, FMT, REGISTERS)
    assert outputs.dtype == np.int8
    assert outputs.tolist() == [[127, -128, 0]]


def test_outputs_follow_the_repeat_that_was_given(recording: Recording) -> None:
    counts_of(recording, SAME)
    counts_of(recording, example.INPUTS[5], SAME)
    assert recording.outputs(example.ONE, FMT, REGISTERS).tolist() == [[127, -128, 0], [1, -1, 0]]


def test_vector_whose_nmpu_was_off_is_refused(recording: Recording) -> None:
    counts_of(recording, example.INPUTS[5], example.INPUTS[3])
    with pytest.raises(NotRecordedError, match="the NMPU was off for some of these vectors"):
        recording.outputs(example.ONE, FMT, REGISTERS)


@pytest.mark.parametrize(
    ("fmt", "registers"),
    [
        (FMT.with_shift(2), REGISTERS),
        (replace(FMT, saturate=False), REGISTERS),
        (FMT, registers_with(scale_p=np.array([127, 64, 0], np.uint8))),
        (FMT, registers_with(offset=np.array([-3, 5, 1], np.int16))),
        (FMT, registers_with(swap=np.array([True, True, False]))),
    ],
    ids=["shift", "format", "scale", "offset", "swap"],
)
def test_other_registers_are_refused(
    recording: Recording, fmt: Any, registers: NmpuRegisters
) -> None:
    counts_of(recording, example.INPUTS[5])
    with pytest.raises(NotRecordedError, match="was recorded with other NMPU registers"):
        recording.outputs(example.ONE, fmt, registers)


def test_device_without_nmpu_has_no_outputs(step: WriteStep) -> None:
    recording = Recording([step(conclusion=replace(example.CONCLUSION, outputs=None))])
    counts_of(recording, example.INPUTS[5])
    with pytest.raises(NotRecordedError, match="was recorded without the device's NMPU"):
        recording.outputs(example.ONE, FMT, REGISTERS)


def test_two_chips_are_refused(step: WriteStep) -> None:
    chip = replace(example.CHIP, serial="43")
    other = step(example.OTHER_CORE, origin=replace(example.ORIGIN, chip=chip))
    with pytest.raises(DatasetError, match="recording: holds 2 chips: must be one chip's"):
        Recording([step(), other])


def test_cores_of_two_sizes_are_refused(step: WriteStep) -> None:
    small = step()
    other = replace(small, key=example.OTHER_CORE, weights=np.ones((5, 3), np.int8))
    with pytest.raises(DatasetError, match="recording: its cores differ in size"):
        Recording([small, other])


def test_recording_of_nothing_is_refused() -> None:
    with pytest.raises(DatasetError, match="recording: holds no step"):
        Recording([])


def test_step_recorded_twice_is_refused(step: WriteStep) -> None:
    with pytest.raises(DatasetError, match="recording: holds core00_one_phase twice"):
        Recording([step(), step()])
