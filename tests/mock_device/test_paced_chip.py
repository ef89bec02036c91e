"""A paced chip: the same counts, at the time when a device would have them."""

import time

import numpy as np
import pytest

from hil.core.readout import ReadMode
from hil_drivers.chip_driver import ChipOptions, find_chip_driver
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.conversation import Wait
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.launch import MockProcess
from hil_mock_device.paced_chip import PacedChip, VectorPace
from small_profiles import ideal_profile, lifelike_profile


class SetTime:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_vectors_wait_for_those_that_are_under_way() -> None:
    clock = SetTime()
    pace = VectorPace(0.25, clock)
    assert pace.left_s() == 0
    pace.begin(4)
    clock.now_s = 0.5
    assert pace.left_s() == 0.5
    pace.begin(2)
    assert pace.left_s() == 1.0
    clock.now_s = 5.0
    assert pace.left_s() == 0
    pace.begin(4)
    assert pace.left_s() == 1.0


@pytest.mark.parametrize("vector_s", [-0.1, 1.5, float("nan"), float("inf")])
def test_pace_that_no_device_has_is_refused(vector_s: float) -> None:
    with pytest.raises(ValueError, match="0 to 1 seconds"):
        VectorPace(vector_s, SetTime())


def test_pace_leaves_the_counts_as_they_are() -> None:
    weights = np.arange(32 * 32, dtype=np.int8).reshape(32, 32)
    inputs = np.ones((5, 32), dtype=np.int8)
    profile = lifelike_profile()
    plain, paced = ChipModel(profile), PacedChip(profile, VectorPace(0.001, SetTime()))
    for chip in (plain, paced):
        chip.program(0, weights[: profile.array.rows, : profile.array.columns])
    inputs = inputs[:, : profile.array.rows]
    expected = plain.convert(0, ReadMode.FOUR_PHASE, inputs)
    np.testing.assert_array_equal(paced.convert(0, ReadMode.FOUR_PHASE, inputs), expected)


def test_answer_waits_for_its_vectors_and_one_without_vectors_does_not() -> None:
    pace = VectorPace(0.5, SetTime())
    chip = PacedChip(ideal_profile(), pace)
    chip.program(0, np.ones((3, 2), dtype=np.int8))
    firmware = Firmware(chip)
    conversation = pace.around(lambda: MockDevice(firmware))()
    assert list(conversation.answers(b"*OPC?\n")) == [b"1\n"]
    chip.convert(0, ReadMode.ONE_PHASE, np.ones((3, 3), dtype=np.int8))
    assert list(conversation.answers(b"*OPC?\n")) == [Wait(1.5), b"1\n"]


def test_served_chip_takes_the_time_that_it_is_told() -> None:
    driver = find_chip_driver("aimc-board")
    with MockProcess(["--profile", "quickstart", "--vector-s", "0.004"]) as mock:
        chip = driver.open_chip(mock.resource, ChipOptions(timeout_s=10.0))
        try:
            chip.program(0, np.zeros((256, 256), dtype=np.int8))
            began_s = time.monotonic()
            chip.read_counts(0, ReadMode.ONE_PHASE, np.zeros((100, 256), dtype=np.int8))
            assert time.monotonic() - began_s >= 0.4  # 100 vectors, 4 ms each
        finally:
            chip.close()
