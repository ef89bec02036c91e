"""The simulated chip: repeatable from its seed, and as noisy as its profile says."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.profile import MockProfile
from small_profiles import ideal_profile, lifelike_profile

Counts = npt.NDArray[np.uint16]
Codes = npt.NDArray[np.int8]

ONE, FOUR = ReadMode.ONE_PHASE, ReadMode.FOUR_PHASE
BOTH = pytest.mark.parametrize("mode", [ONE, FOUR], ids=str)


def random_codes(shape: tuple[int, int], seed: int) -> Codes:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


WEIGHTS = random_codes((32, 8), 1)
INPUTS = random_codes((40, 32), 2)


def programmed_chip(profile: MockProfile, weights: Codes = WEIGHTS, core: int = 0) -> ChipModel:
    chip = ChipModel(profile)
    chip.program(core, weights)
    return chip


@BOTH
def test_same_seed_gives_the_same_counts(mode: ReadMode) -> None:
    first, second = (
        programmed_chip(lifelike_profile(seed=9)).convert(0, mode, INPUTS) for _ in range(2)
    )
    assert np.array_equal(first, second)


@BOTH
def test_other_seed_gives_another_chip(mode: ReadMode) -> None:
    first, second = (
        programmed_chip(lifelike_profile(seed=seed)).convert(0, mode, INPUTS) for seed in (9, 10)
    )
    assert (first != second).mean() > 0.5


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(1, 39)), st.sampled_from([ONE, FOUR]))
def test_grouping_into_blocks_changes_no_count(cuts: set[int], mode: ReadMode) -> None:
    together = programmed_chip(lifelike_profile()).convert(0, mode, INPUTS)
    chip = programmed_chip(lifelike_profile())
    apart = [chip.convert(0, mode, block) for block in np.split(INPUTS, sorted(cuts))]
    assert np.array_equal(np.concatenate(apart), together)


def test_vectors_one_by_one_give_the_same_counts_as_together_at_full_size() -> None:
    # A matrix-vector product takes its sums in another order than a matrix product: over 256 rows
    # that once moved a count in ten thousand across a rounding edge.
    weights, inputs = random_codes((256, 256), 3), random_codes((256, 256), 4)
    together = programmed_chip(MockProfile(), weights).convert(0, FOUR, inputs)
    chip = programmed_chip(MockProfile(), weights)
    apart = np.concatenate([chip.convert(0, FOUR, vector[None]) for vector in inputs])
    assert np.array_equal(apart, together)


def test_noise_goes_on_from_one_readout_to_the_next() -> None:
    chip = programmed_chip(lifelike_profile())
    assert not np.array_equal(chip.convert(0, FOUR, INPUTS), chip.convert(0, FOUR, INPUTS))


def test_reset_begins_the_noise_again() -> None:
    chip = programmed_chip(lifelike_profile())
    first = chip.convert(0, FOUR, INPUTS)
    chip.reset()
    assert np.array_equal(chip.convert(0, FOUR, INPUTS), first)


def test_programming_again_begins_the_noise_of_that_core_again() -> None:
    chip = programmed_chip(lifelike_profile())
    chip.program(1, WEIGHTS)
    first = chip.convert(0, FOUR, INPUTS)
    other = chip.convert(1, FOUR, INPUTS[:20])
    chip.program(0, WEIGHTS)
    assert np.array_equal(chip.convert(0, FOUR, INPUTS), first)
    reference = programmed_chip(lifelike_profile(), core=1).convert(1, FOUR, INPUTS)
    assert np.array_equal(np.concatenate([other, chip.convert(1, FOUR, INPUTS[20:])]), reference)


def test_same_weights_are_programmed_to_the_same_array_after_others() -> None:
    chip = programmed_chip(lifelike_profile())
    first = chip.convert(0, FOUR, INPUTS)
    chip.program(0, random_codes((32, 8), 99))
    chip.program(0, WEIGHTS)
    assert np.array_equal(chip.convert(0, FOUR, INPUTS), first)


def readout(core: int, mode: ReadMode, *, order: list[tuple[int, ReadMode]]) -> Counts:
    """Return what a core in a mode reads, where every step of `order` is taken on one chip."""
    chip = ChipModel(lifelike_profile())
    taken = {}
    for step_core, step_mode in order:
        chip.program(step_core, WEIGHTS)
        taken[step_core, step_mode] = chip.convert(step_core, step_mode, INPUTS)
    return taken[core, mode]


@BOTH
def test_core_reads_the_same_whatever_was_done_to_others_before(mode: ReadMode) -> None:
    alone = readout(1, mode, order=[(1, mode)])
    last = readout(1, mode, order=[(0, ONE), (0, FOUR), (1, mode)])
    assert np.array_equal(alone, last)


def test_read_modes_have_noise_of_their_own() -> None:
    chip = programmed_chip(lifelike_profile())
    alone = chip.convert(0, FOUR, INPUTS)
    chip.reset()
    chip.convert(0, ONE, INPUTS)
    assert np.array_equal(chip.convert(0, FOUR, INPUTS), alone)


def test_cores_with_the_same_weights_differ() -> None:
    chip = ChipModel(lifelike_profile())
    for core in (0, 1):
        chip.program(core, WEIGHTS)
    differ = chip.convert(0, FOUR, INPUTS) != chip.convert(1, FOUR, INPUTS)
    assert differ.mean() > 0.5


def test_core_that_is_not_programmed_is_refused_with_its_number() -> None:
    chip = programmed_chip(lifelike_profile())
    with pytest.raises(DeviceError, match="core 1 is not programmed") as caught:
        chip.convert(1, FOUR, INPUTS)
    assert caught.value.code == -221


@pytest.mark.parametrize(("mode", "variance"), [(ONE, 25.0), (FOUR, 50.0)], ids=str)
def test_noise_adds_up_over_the_phases_of_a_counter(mode: ReadMode, variance: float) -> None:
    # Four-phase: two phases of 5 counts rms in each counter. Rounding adds 1/12.
    profile = ideal_profile(counter={"offset_mean_counts": 1000.0, "read_noise_counts": 5.0})
    chip = programmed_chip(profile, np.zeros((3, 2), np.int8))
    counts = chip.convert(0, mode, np.zeros((8192, 3), np.int8))
    # 32,768 samples know their variance to 0.8 %.
    assert np.var(counts) == pytest.approx(variance + 1 / 12, rel=0.035)
    assert np.mean(counts) == pytest.approx(1000.0, abs=0.16)


def test_noise_of_p_and_n_is_independent() -> None:
    profile = ideal_profile(counter={"offset_mean_counts": 1000.0, "read_noise_counts": 5.0})
    chip = programmed_chip(profile, np.zeros((3, 2), np.int8))
    counts = chip.convert(0, FOUR, np.zeros((8192, 3), np.int8))
    assert abs(np.corrcoef(counts[:, 0].ravel(), counts[:, 1].ravel())[0, 1]) < 4 / 128


@pytest.mark.parametrize(
    ("mode", "counts"),
    [(FOUR, [[30, 2], [12, 20]]), (ONE, [[18, 0], [0, 18]])],
    ids=str,
)
def test_ideal_chip_counts_one_per_product_unit(mode: ReadMode, counts: list[list[int]]) -> None:
    # Column 0: 1*30 - 2*6 + 3*0. Column 1: 1*-20 + 2*1 + 3*0.
    weights = np.array([[30, -20], [-6, 1], [0, 0]], np.int8)
    inputs = np.array([[1, 2, 3]], np.int8)
    chip = programmed_chip(ideal_profile(), weights)
    assert chip.convert(0, mode, inputs).tolist() == [counts]


def test_nmpu_of_the_chip_computes_the_worked_example() -> None:
    # 100 * 1.0 - 7 * 0.5 - 1.5 = 95 and 8 * 0.5 - 3 * 1.0 + 2 = 3.
    registers = NmpuRegisters(
        scale_p=np.array([128, 64], np.uint8),
        scale_n=np.array([64, 128], np.uint8),
        offset=np.array([-3, 4], np.int16),
        swap=np.array([False, False]),
    )
    counts = np.array([[[100, 8], [7, 3]]], np.uint16)
    chip = ChipModel(ideal_profile())
    assert chip.correct(0, FOUR, counts, NmpuFormat(), registers).tolist() == [[95, 3]]


def test_identity_names_the_profile_and_the_seed() -> None:
    identity = ChipModel(ideal_profile(seed=3)).identity
    assert (identity.manufacturer, identity.model) == ("aimc-hil", "mock-chip")
    assert (identity.serial, identity.firmware) == ("ideal-3", "1.0")


@pytest.mark.parametrize(("columns", "vectors"), [(2, 4096), (256, 4096), (4096, 4095)])
def test_counts_of_the_largest_request_fit_a_block_of_64_mib(columns: int, vectors: int) -> None:
    geometry = ChipModel(ideal_profile(array={"columns": columns})).geometry
    assert geometry.max_vectors == vectors
    assert 32 + vectors * 2 * columns * 2 + 4 <= 64 * 1024 * 1024


def test_geometry_and_temperature_are_those_of_the_profile() -> None:
    chip = ChipModel(MockProfile(temperature_c=31.5))
    size = chip.geometry
    assert (size.cores, size.rows, size.columns, size.counter_bits) == (4, 256, 256, 12)
    assert chip.temperature_c(0, FOUR) == 31.5
