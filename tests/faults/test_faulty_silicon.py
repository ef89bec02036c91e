"""What becomes of counts, weights and temperature when the chip itself has a fault."""

import numpy as np
import numpy.typing as npt
import pytest

from faulty_device import script
from hil.core.errors import DeviceError
from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.environment import Environment
from hil_mock_device.faults.fault_kinds import MockFault
from hil_mock_device.faults.faulty_silicon import FaultySilicon
from hil_mock_device.faults.injector import FaultInjector
from hil_mock_device.silicon import Silicon
from small_profiles import ideal_profile

FOUR = ReadMode.FOUR_PHASE
WEIGHTS = np.array([[1, 2], [3, 4], [5, 6]], np.int8)
INPUTS = np.array([[10, 0, 0], [0, 10, 0], [0, 0, 10]], np.int8)
COUNTS = [[10, 20], [30, 40], [50, 60]]
"""Counts of P: 1 per product unit."""


def faulty(*rules: str, seed: int = 0) -> tuple[FaultySilicon, FaultInjector, ChipModel]:
    chip = ChipModel(ideal_profile())
    injector = FaultInjector(script(*rules, seed=seed))
    silicon = FaultySilicon(chip, injector)
    silicon.program(0, WEIGHTS)
    return silicon, injector, chip


def read(silicon: Silicon, inputs: npt.NDArray[np.int8] = INPUTS) -> list[list[int]]:
    """Return the counts of P (vector, column)."""
    counts: list[list[int]] = silicon.convert(0, FOUR, inputs)[:, 0].tolist()
    return counts


def test_chip_without_faults_counts_as_it_is() -> None:
    silicon, injector, _ = faulty()
    assert read(silicon) == COUNTS
    assert injector.counts == {}


def test_frozen_column_stays_at_its_first_count_until_the_faults_are_cleared() -> None:
    silicon, injector, _ = faulty("kind=frozen_column,at=[2],column=1")
    assert read(silicon) == COUNTS
    assert read(silicon) == [[10, 20], [30, 20], [50, 20]]
    assert read(silicon, INPUTS[::-1]) == [[50, 20], [30, 20], [10, 20]]
    injector.clear()
    assert read(silicon) == COUNTS
    assert injector.counts == {MockFault.FROZEN_COLUMN: 1}


def test_frozen_column_may_thaw_by_itself() -> None:
    silicon, _, _ = faulty("kind=frozen_column,at=[1],column=0,conversions=2")
    assert [read(silicon)[2] for _ in range(3)] == [[10, 60], [10, 60], [50, 60]]


def test_gain_jumps_and_stays() -> None:
    silicon, _, _ = faulty("kind=gain_jump,at=[2],column=0,factor=1.5")
    assert [read(silicon)[1] for _ in range(3)] == [[30, 40], [45, 40], [45, 40]]


def test_gain_that_jumps_ever_higher_ends_at_the_highest_count() -> None:
    silicon, _, _ = faulty("kind=gain_jump,every=1,column=0,factor=100")
    assert [read(silicon)[1] for _ in range(2)] == [[3000, 40], [4095, 40]]


def test_all_counters_overflow_in_a_storm_of_share_1_and_then_no_more() -> None:
    silicon, _, _ = faulty("kind=saturation,at=[2],share=1")
    assert read(silicon) == COUNTS
    assert silicon.convert(0, FOUR, INPUTS).tolist() == [[[4095, 4095]] * 2] * 3
    assert read(silicon) == COUNTS


def test_share_of_the_counters_overflows_and_the_seed_says_which() -> None:
    inputs = np.zeros((1000, 3), np.int8)

    def storm(seed: int) -> npt.NDArray[np.uint16]:
        silicon, _, _ = faulty("kind=saturation,every=1,share=0.25", seed=seed)
        return silicon.convert(0, FOUR, inputs)

    share = (storm(1) == 4095).mean()
    assert 0.22 < share < 0.28  # 0.25, and 4 times its spread of 0.007
    assert (storm(1) == storm(1)).all()
    assert (storm(1) != storm(2)).any()


def test_chip_is_warmer_for_so_many_multiplications() -> None:
    silicon, _, chip = faulty("kind=temperature,at=[2],kelvin=30,conversions=2")
    start = chip.ambient_c
    seen = []
    for _ in range(4):
        read(silicon)
        seen.append(chip.ambient_c - start)
    # The second of the warm ones ends the excursion.
    assert seen == [0, 30, 0, 0]


def test_temperature_comes_back_when_the_faults_are_cleared() -> None:
    silicon, injector, chip = faulty("kind=temperature,at=[1],kelvin=-20")
    start = chip.ambient_c
    read(silicon)
    assert silicon.temperature_c(0, FOUR) == start - 20
    injector.clear()
    assert silicon.temperature_c(0, FOUR) == start


def test_power_fails_after_half_of_the_rows() -> None:
    silicon, injector, chip = faulty("kind=brown_out,at=[2]")
    with pytest.raises(DeviceError, match="power failed while core 0 was programmed"):
        silicon.program(0, np.int8(-1) * WEIGHTS)
    assert chip.shown_weights(0).tolist() == [[-1, -2], [3, 4], [5, 6]]
    assert injector.counts == {MockFault.BROWN_OUT: 1}


def test_rows_of_a_core_that_never_held_weights_stay_empty() -> None:
    silicon, _, chip = faulty("kind=brown_out,at=[1],core=1")
    with pytest.raises(DeviceError):
        silicon.program(1, WEIGHTS)
    assert chip.shown_weights(1).tolist() == [[1, 2], [0, 0], [0, 0]]


def test_fault_of_one_core_leaves_the_others_alone() -> None:
    silicon, injector, _ = faulty("kind=gain_jump,every=1,column=0,factor=0,core=1")
    assert read(silicon) == COUNTS
    assert injector.counts == {}


def test_column_that_is_not_there_is_refused() -> None:
    silicon, injector, _ = faulty("kind=frozen_column,every=1,column=2")
    with pytest.raises(DeviceError, match="a fault of column 2: there are 2"):
        read(silicon)
    assert injector.counts == {}


def test_what_only_some_chips_have_is_there() -> None:
    silicon, _, chip = faulty()
    assert isinstance(silicon, Environment)
    silicon.advance_time(5.0)
    assert chip.elapsed_s == 5.0
    assert not hasattr(silicon, "plays_recording")
