"""Counting: noise that has its place, a wave in the curve, and no trace of the grouping."""

from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.readout import ReadMode
from hil_mock_device import counting
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.choices import BUILT_IN
from hil_mock_device.counter_noise import NoiseSequence, normal_quantiles
from hil_mock_device.environment import Environment
from hil_mock_device.profile import ArrayProfile, MockProfile, load_profile
from small_profiles import ideal_profile

Codes = npt.NDArray[np.int8]
ONE, FOUR = ReadMode.ONE_PHASE, ReadMode.FOUR_PHASE
BOTH = pytest.mark.parametrize("mode", [ONE, FOUR], ids=str)


def random_codes(shape: tuple[int, int], seed: int) -> Codes:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def small(name: str, *, rows: int = 300, columns: int = 6) -> MockProfile:
    """Return a built-in profile with a small array."""
    profile = load_profile(name, base=Path())
    size = {"cores": 1, "rows": rows, "columns": columns}
    array = ArrayProfile.model_validate(profile.array.model_dump() | size)
    counter = profile.counter.model_copy(update={"full_scale_products": 250_000.0})
    return profile.model_copy(update={"array": array, "counter": counter, "seed": 3})


def programmed(profile: MockProfile) -> ChipModel:
    chip = ChipModel(profile)
    shape = (profile.array.rows, profile.array.columns)
    chip.program(0, (np.random.default_rng(1).normal(0, 35, shape)).clip(-127, 127).astype(np.int8))
    return chip


def test_noise_values_are_standard_normal() -> None:
    values = normal_quantiles()
    assert np.mean(values) == pytest.approx(0.0, abs=1e-12)
    assert np.mean(values**2) == pytest.approx(1.0, abs=1e-12)
    assert np.mean(values**4) == pytest.approx(3.0, abs=0.003)
    # The share below 1 and 2 sigma, of 65,536.
    for sigma in (-2.0, -1.0, 0.0, 1.0, 2.0):
        assert np.mean(values < sigma) == pytest.approx(NormalDist().cdf(sigma), abs=2e-5)


@pytest.mark.parametrize("numbers", [1, 4, 6, 13])
def test_noise_of_a_vector_follows_from_its_place(numbers: int) -> None:
    sequence = NoiseSequence([1, 2], numbers=numbers, rms=1.0)
    together = sequence.source(0).codes(50)
    assert together.shape == (50, numbers)
    for place in (0, 1, 17, 49):
        assert np.array_equal(sequence.source(place).codes(1)[0], together[place])


def test_noise_of_columns_and_vectors_is_not_correlated() -> None:
    sequence = NoiseSequence([5], numbers=8, rms=2.0)
    noise = sequence.values[sequence.source(0).codes(20_000)]
    assert np.std(noise) == pytest.approx(2.0, rel=0.01)
    between_columns = np.corrcoef(noise.T) - np.eye(8)
    between_vectors = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    assert np.abs(between_columns).max() < 5 / np.sqrt(20_000)
    assert abs(between_vectors) < 4 / np.sqrt(160_000)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(BUILT_IN), st.sampled_from([ONE, FOUR]), st.sets(st.integers(1, 199)))
def test_grouping_into_blocks_changes_no_count_of_any_profile(
    name: str, mode: ReadMode, cuts: set[int]
) -> None:
    inputs = random_codes((200, 300), 2)
    together, apart = programmed(small(name)), programmed(small(name))
    for chip in (together, apart):
        chip.advance_time(1000.0)
    blocks = [apart.convert(0, mode, block) for block in np.split(inputs, sorted(cuts))]
    assert np.array_equal(np.concatenate(blocks), together.convert(0, mode, inputs))


@BOTH
@pytest.mark.parametrize("name", ["quickstart", "hermes-like", "stress"])
def test_compiled_loop_counts_what_numpy_counts(name: str, mode: ReadMode) -> None:
    pytest.importorskip("numba")
    inputs = random_codes((5000, 300), 2)
    by_numpy, by_numba = [
        programmed(small(name)).readout(0, mode).count(inputs, compiled=compiled)
        for compiled in (False, True)
    ]
    assert np.array_equal(by_numpy, by_numba)
    assert np.ptp(by_numpy) > 300


@BOTH
def test_number_of_threads_changes_no_count(
    mode: ReadMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = random_codes((5000, 300), 2)
    counts = []
    for threads in (1, 3):
        monkeypatch.setattr(counting, "usable_cores", lambda threads=threads: threads)
        chip = programmed(small("hermes-like", columns=64))
        counts.append(chip.readout(0, mode).count(inputs, compiled=False))
    assert np.array_equal(counts[0], counts[1])


def wave_profile(*, inl: float, columns: int = 64) -> MockProfile:
    # 4000 counts at the full scale, which one cell reaches with 127 * 127.
    return ideal_profile(
        seed=4,
        array={"rows": 1, "columns": columns},
        counter={
            "bits": 16,
            "counts_at_full_scale": 4000.0,
            "full_scale_products": 16129.0,
            "offset_mean_counts": 100.0,
            "inl_counts": inl,
        },
    )


def test_wave_bends_the_curve_by_its_formula_and_no_further_than_stated() -> None:
    profile = wave_profile(inl=40.0)
    chip = ChipModel(profile)
    chip.program(0, np.full((1, 64), 127, np.int8))
    inputs = np.arange(128, dtype=np.int8)[:, None]
    counts = chip.convert(0, ONE, inputs)[:, 0].astype(np.float64)
    u = inputs / 127.0
    deviation = counts - (100 + 4000 * u)
    shape = u * (1 - u) * (1 - 2 * u) / (np.sqrt(3) / 18)
    amplitude = (deviation * shape).sum(axis=0) / (shape**2).sum()
    # Nothing but rounding is left beside the wave.
    assert np.abs(deviation - amplitude * shape).max() < 0.6
    assert 30 < np.abs(amplitude).max() <= 40.05
    assert np.std(amplitude) == pytest.approx(40 / np.sqrt(3), rel=0.2)


def test_wave_spans_two_full_scales_where_two_phases_are_added() -> None:
    chip = ChipModel(wave_profile(inl=40.0))
    chip.program(0, np.full((1, 64), 127, np.int8))
    half_way = chip.convert(0, FOUR, np.array([[127]], np.int8))[0, 0]
    assert np.abs(half_way.astype(int) - 4100).max() <= 1


def test_chip_without_a_wave_has_none() -> None:
    chip = ChipModel(wave_profile(inl=0.0))
    chip.program(0, np.full((1, 64), 127, np.int8))
    counts = chip.convert(0, ONE, np.array([[64]], np.int8))[0, 0]
    assert set(counts.tolist()) == {100 + round(4000 * 64 / 127)}


def single_ended(**counter: object) -> ChipModel:
    profile = ideal_profile(
        array={"rows": 1, "columns": 2},
        counter={"single_ended": True, "alternating_slopes": True, **counter},
    )
    chip = ChipModel(profile)
    chip.program(0, np.array([[1, 1]], np.int8))
    return chip


@BOTH
def test_one_counter_shows_its_sign_by_p_and_n(mode: ReadMode) -> None:
    # 1 count per product: column 0 counts 5 + x, column 1 counts 5 - x.
    chip = single_ended(offset_mean_counts=5.0)
    counts = chip.convert(0, mode, np.array([[20], [-20], [0]], np.int8))
    assert counts.tolist() == [[[25, 0], [0, 15]], [[0, 25], [15, 0]], [[5, 5], [0, 0]]]


def test_one_counter_that_stays_above_zero_never_moves_n() -> None:
    chip = single_ended(offset_mean_counts=500.0)
    counts = chip.convert(0, ONE, np.array([[100], [-100]], np.int8))
    assert counts.tolist() == [[[600, 400], [0, 0]], [[400, 600], [0, 0]]]


def test_single_ended_preset_has_the_published_spreads() -> None:
    chip = ChipModel(load_profile("single-ended", base=Path()))
    gain, offset = chip.converters.gain[0], chip.converters.offset[0]
    is_live = gain != 0
    assert 1 - is_live.mean() == pytest.approx(0.0075, abs=0.005)
    assert (gain[:, 0::2] >= 0).all()
    assert (gain[:, 1::2] <= 0).all()
    # 3,176 columns know their sigma to 1.3 %.
    assert np.std(np.abs(gain[is_live])) == pytest.approx(0.26, rel=0.05)
    assert np.std(offset) == pytest.approx(3.65, rel=0.05)
    assert np.mean(offset) == pytest.approx(7.5, abs=0.3)


def test_simulated_chip_has_an_environment() -> None:
    assert isinstance(ChipModel(ideal_profile()), Environment)
