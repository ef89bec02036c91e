"""Drift and temperature of the simulated chip: a power law per cell, straight lines per column."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import DeviceError
from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.conductance_drift import draw_exponents, drifted_weights
from hil_mock_device.profile import ArrayProfile, DriftProfile, MockProfile, TemperatureProfile
from small_profiles import ideal_profile, lifelike_profile

Codes = npt.NDArray[np.int8]

FOUR = ReadMode.FOUR_PHASE


def random_codes(shape: tuple[int, int], seed: int) -> Codes:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


WEIGHTS = random_codes((32, 8), 1)
INPUTS = random_codes((40, 32), 2)


def exponents_of(code: int, *, devices: int = 2, factor: float = 1.0) -> npt.NDArray[np.float64]:
    return draw_exponents(
        np.full((256, 256), code, np.int8),
        DriftProfile(factor=factor),
        devices_per_cell=devices,
        rng=np.random.default_rng(3),
    )


# 0, 32, 64, 95 and 127 of 127 lie within 0.3 % of the specification's points 0 to 1.
@pytest.mark.parametrize("sign", [1, -1], ids=["positive", "negative"])
@pytest.mark.parametrize(
    ("code", "mean", "sigma"),
    [
        (0, 0.130, 0.040),
        (32, 0.068, 0.014),
        (64, 0.056, 0.012),
        (95, 0.040, 0.010),
        (127, 0.017, 0.006),
    ],
)
def test_exponents_have_the_published_mean_and_spread(
    code: int, mean: float, sigma: float, sign: int
) -> None:
    drawn = exponents_of(sign * code, devices=1)
    # 0.2 % of the draws at full conductance fall below 0 and are clipped.
    assert np.mean(drawn) == pytest.approx(mean, abs=4 * sigma / 256 + 0.0004)
    assert np.std(drawn) == pytest.approx(sigma, rel=0.03)


def test_two_devices_spread_less_than_one_and_drift_as_much() -> None:
    one, two = exponents_of(32, devices=1), exponents_of(32, devices=2)
    assert np.std(two) == pytest.approx(0.010, rel=0.03)
    assert np.mean(two) == pytest.approx(np.mean(one), rel=0.01)


def test_exponents_are_never_negative_and_scale_with_the_factor() -> None:
    once, thrice = exponents_of(0), exponents_of(0, factor=3.0)
    assert once.min() == 0.0
    np.testing.assert_allclose(thrice, 3 * once, rtol=1e-12)
    assert not exponents_of(0, factor=0.0).any()


@settings(max_examples=50, deadline=None)
@given(st.floats(1.0, 1e9), st.integers(0, 2**32 - 1))
def test_drifted_weights_follow_the_power_law(ratio: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    held = rng.normal(0, 60, (4, 3))
    exponents = rng.uniform(0.0, 0.2, (4, 3))
    drifted = drifted_weights(held, exponents, age_ratio=ratio)
    np.testing.assert_allclose(drifted, held * np.exp(-exponents * np.log(ratio)), rtol=1e-12)


def programmed_chip(profile: MockProfile, weights: Codes = WEIGHTS) -> ChipModel:
    chip = ChipModel(profile)
    chip.program(0, weights)
    return chip


def test_single_cell_counts_fall_by_its_power_law() -> None:
    # Nothing but drift: the counts of one cell at the full drive give its exponent.
    weights = np.full((1, 200), 64, np.int8)
    profile = ideal_profile(
        array={"rows": 1, "columns": 200},
        counter={"full_scale_products": 8128.0, "counts_at_full_scale": 4000.0},
    )
    chip = programmed_chip(profile, weights)
    full = np.array([[127]], np.int8)
    assert (chip.convert(0, FOUR, full)[0, 0] == 4000).all()
    chip.advance_time(300.0 * 999)
    nu = -np.log(chip.convert(0, FOUR, full)[0, 0] / 4000) / np.log(1000)
    assert np.mean(nu) == pytest.approx(0.056, abs=4 * 0.009 / np.sqrt(200))
    assert np.std(nu) == pytest.approx(0.009, rel=0.2)


def test_time_that_passes_in_steps_is_time_that_passes_at_once() -> None:
    stepwise, at_once = (programmed_chip(lifelike_profile(seed=4)) for _ in range(2))
    for seconds in (60.0, 540.0, 3000.0):
        stepwise.advance_time(seconds)
    at_once.advance_time(3600.0)
    assert stepwise.age_s(0) == at_once.age_s(0) == 3900.0
    assert np.array_equal(stepwise.convert(0, FOUR, INPUTS), at_once.convert(0, FOUR, INPUTS))


def test_grouping_into_blocks_changes_no_count_of_a_drifted_chip() -> None:
    weights, inputs = random_codes((256, 64), 3), random_codes((64, 256), 4)
    profile = MockProfile(array=ArrayProfile(columns=64))
    together, apart = (programmed_chip(profile, weights) for _ in range(2))
    for chip in (together, apart):
        chip.advance_time(86400.0)
    single = [apart.convert(0, FOUR, vector[None]) for vector in inputs]
    assert np.array_equal(np.concatenate(single), together.convert(0, FOUR, inputs))


def test_programming_again_makes_a_core_young_again() -> None:
    chip = programmed_chip(lifelike_profile())
    chip.program(1, WEIGHTS)
    first = chip.convert(0, FOUR, INPUTS)
    chip.advance_time(1e6)
    assert chip.convert(0, FOUR, INPUTS).sum() < 0.9 * first.sum()
    chip.program(0, WEIGHTS)
    assert np.array_equal(chip.convert(0, FOUR, INPUTS), first)
    assert (chip.age_s(0), chip.age_s(1)) == (300.0, 1_000_300.0)


def test_stuck_cells_do_not_drift() -> None:
    profile = ideal_profile(array={"rows": 32, "columns": 8, "stuck_share": 1.0})
    chip = programmed_chip(profile)
    first = chip.convert(0, FOUR, INPUTS)
    assert first.any()
    chip.advance_time(1e8)
    assert np.array_equal(chip.convert(0, FOUR, INPUTS), first)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_time_that_cannot_pass_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        programmed_chip(lifelike_profile()).advance_time(seconds)


def test_age_of_a_core_that_is_not_programmed_is_refused() -> None:
    with pytest.raises(DeviceError, match="core 1 is not programmed"):
        programmed_chip(lifelike_profile()).age_s(1)


def warm_profile(**coefficients: float) -> MockProfile:
    profile = ideal_profile(
        array={"rows": 1, "columns": 400},
        counter={"full_scale_products": 16129.0, "counts_at_full_scale": 2000.0,
                 "offset_mean_counts": 1000.0},
    )  # fmt: skip
    return profile.model_copy(update={"temperature": TemperatureProfile(**coefficients)})


def test_counts_follow_the_temperature_in_a_straight_line() -> None:
    # 2000 counts of current above an offset of 1000, 0.4 %/K: 20 K make 160 counts.
    profile = warm_profile(gain_per_k=0.004, gain_sigma_per_k=0.0, offset_sigma_counts_per_k=0.0)
    chip = programmed_chip(profile, np.full((1, 400), 127, np.int8))
    inputs = np.array([[127], [0]], np.int8)
    for celsius, counts in ((25.0, 3000), (45.0, 3160), (5.0, 2840)):
        chip.set_temperature(celsius)
        assert chip.temperature_c(0, FOUR) == celsius
        read = chip.convert(0, FOUR, inputs)
        assert (read[0, 0] == counts).all()
        assert (read[1] == 1000).all()


def test_temperature_coefficients_spread_over_columns_and_polarities() -> None:
    profile = warm_profile(gain_sigma_per_k=0.0005, offset_sigma_counts_per_k=0.5)
    chip = programmed_chip(profile, np.full((1, 400), 127, np.int8))
    chip.set_temperature(65.0)
    full, none = chip.convert(0, FOUR, np.array([[127], [0]], np.int8)).astype(float)
    gain = (full[0] - none[0]) / 2000 / 40 - 1 / 40
    assert np.mean(gain) == pytest.approx(0.0035, abs=1e-4)
    assert np.std(gain) == pytest.approx(0.0005, rel=0.15)
    offset = (none - 1000) / 40
    assert np.std(offset) == pytest.approx(0.5, rel=0.12)
    assert abs(np.corrcoef(offset)[0, 1]) < 0.2


def test_profile_temperature_warms_the_chip_from_the_start() -> None:
    warm, cold = lifelike_profile().model_copy(update={"temperature_c": 75.0}), lifelike_profile()
    started, heated = programmed_chip(warm), programmed_chip(cold)
    heated.set_temperature(75.0)
    counts = started.convert(0, FOUR, INPUTS)
    assert np.array_equal(counts, heated.convert(0, FOUR, INPUTS))
    assert not np.array_equal(counts, programmed_chip(cold).convert(0, FOUR, INPUTS))


@pytest.mark.parametrize("celsius", [-101.0, 301.0, float("nan")])
def test_temperature_beyond_its_range_is_refused(celsius: float) -> None:
    with pytest.raises(ValueError, match="must be -100 to 300"):
        ChipModel(lifelike_profile()).set_temperature(celsius)
