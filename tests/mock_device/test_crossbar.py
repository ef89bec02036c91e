"""The crossbar: exact sums where it is ideal, the published noise where it is not."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.readout import ReadMode
from hil_mock_device.crossbar import FloatMatrix, multiply, program_weights
from hil_mock_device.profile import ArrayProfile
from small_profiles import ideal_profile

IDEAL = ideal_profile().array
Codes = npt.NDArray[np.int8]


def programmed(weights: Codes, array: ArrayProfile = IDEAL, *, seed: int = 1) -> FloatMatrix:
    return program_weights(
        weights,
        array,
        chip_rng=np.random.default_rng(100),
        programming_rng=np.random.default_rng(seed),
    )


def random_codes(shape: tuple[int, int], seed: int) -> Codes:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def products(inputs: Codes, weights: Codes) -> npt.NDArray[np.int64]:
    """Return every single product, shape (vector, row, column), as integers."""
    return inputs.astype(np.int64)[:, :, None] * weights.astype(np.int64)[None]


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32))


@settings(max_examples=50, deadline=None)
@given(SHAPES)
def test_ideal_array_holds_exactly_the_wanted_weights(shape: tuple[int, int, int, int]) -> None:
    _, rows, columns, seed = shape
    weights = random_codes((rows, columns), seed)
    assert np.array_equal(programmed(weights), weights)


@settings(max_examples=50, deadline=None)
@given(SHAPES)
def test_four_phase_sums_positive_and_negative_products_apart(
    shape: tuple[int, int, int, int],
) -> None:
    vectors, rows, columns, seed = shape
    inputs, weights = random_codes((vectors, rows), seed), random_codes((rows, columns), seed + 1)
    single = products(inputs, weights)
    positive, negative = multiply(inputs, programmed(weights), ReadMode.FOUR_PHASE)
    assert np.array_equal(positive, single.clip(min=0).sum(axis=1))
    assert np.array_equal(negative, (-single).clip(min=0).sum(axis=1))


@settings(max_examples=50, deadline=None)
@given(SHAPES)
def test_four_phase_difference_is_the_net_sum_and_total_that_of_magnitudes(
    shape: tuple[int, int, int, int],
) -> None:
    vectors, rows, columns, seed = shape
    inputs, weights = random_codes((vectors, rows), seed), random_codes((rows, columns), seed + 1)
    single = products(inputs, weights)
    positive, negative = multiply(inputs, programmed(weights), ReadMode.FOUR_PHASE)
    assert np.array_equal(positive - negative, single.sum(axis=1))
    assert np.array_equal(positive + negative, np.abs(single).sum(axis=1))


@settings(max_examples=50, deadline=None)
@given(SHAPES)
def test_one_phase_gives_the_net_sum_to_one_polarity(shape: tuple[int, int, int, int]) -> None:
    vectors, rows, columns, seed = shape
    inputs, weights = random_codes((vectors, rows), seed), random_codes((rows, columns), seed + 1)
    net = products(inputs, weights).sum(axis=1)
    positive, negative = multiply(inputs, programmed(weights), ReadMode.ONE_PHASE)
    assert np.array_equal(positive, np.where(net > 0, net, 0))
    assert np.array_equal(negative, np.where(net < 0, -net, 0))


def test_sums_over_noisy_weights_are_exact_at_the_largest_core() -> None:
    # The oracle counts in whole 65536ths of a code with Python's integers.
    weights = random_codes((4096, 2), 5)
    held = programmed(weights, ArrayProfile(programming_noise=100.0))
    inputs = random_codes((3, 4096), 6)
    held_units = [[int(value) for value in column] for column in (held.T * 65536)]
    positive, negative = multiply(inputs, held, ReadMode.FOUR_PHASE)
    for vector in range(3):
        drive = [int(code) for code in inputs[vector]]
        for column in range(2):
            single = [x * w for x, w in zip(drive, held_units[column], strict=True)]
            assert int(positive[vector, column] * 65536) == sum(s for s in single if s > 0)
            assert int(negative[vector, column] * 65536) == -sum(s for s in single if s < 0)


# 32, 64, 95 and 127 of 127 lie within 0.2 % of the published points 0.25 to 1.
PUBLISHED = [
    (1, 0, 0.015),
    (1, 32, 0.059),
    (1, 64, 0.084),
    (1, 95, 0.094),
    (1, 127, 0.097),
    (2, 0, 0.008),
    (2, 32, 0.043),
    (2, 64, 0.048),
    (2, 95, 0.044),
    (2, 127, 0.053),
]


@pytest.mark.parametrize(("devices", "code", "sigma"), PUBLISHED)
@pytest.mark.parametrize("sign", [1, -1], ids=["positive", "negative"])
def test_programming_noise_has_the_published_sigma(
    devices: int, code: int, sigma: float, sign: int
) -> None:
    array = ArrayProfile.model_validate({"devices_per_cell": devices, "stuck_share": 0.0})
    weights = np.full((256, 256), sign * code, dtype=np.int8)
    deviation = (programmed(weights, array) - sign * code) / 127
    # 65,536 samples know their sigma to 0.28 %.
    assert np.std(deviation) == pytest.approx(sigma, rel=0.015)
    assert abs(np.mean(deviation)) < 4 * sigma / 256


def test_programming_noise_scales_with_its_factor() -> None:
    weights = random_codes((64, 64), 3)
    once, thrice = (
        programmed(weights, ArrayProfile(programming_noise=factor, stuck_share=0.0)) - weights
        for factor in (1.0, 3.0)
    )
    # Held weights are multiples of 2**-16 codes.
    assert np.abs(thrice - 3 * once).max() <= 2 * 2.0**-16


def test_stuck_cells_have_their_share_and_are_zero_or_full() -> None:
    weights = np.full((512, 512), 50, dtype=np.int8)
    array = ArrayProfile(programming_noise=0.0, stuck_share=0.02, stuck_high_share=0.25)
    held = programmed(weights, array)
    values, counts = np.unique(held, return_counts=True)
    assert values.tolist() == [-127.0, 0.0, 50.0, 127.0]
    stuck = counts[[0, 1, 3]].sum()
    # 5,243 of 262,144 expected, 72 standard deviation; a quarter of them high, either sign.
    assert abs(stuck - 5243) < 4 * 72
    assert counts[[0, 3]].sum() / stuck == pytest.approx(0.25, abs=0.025)
    assert counts[0] / counts[[0, 3]].sum() == pytest.approx(0.5, abs=0.06)


def test_same_cells_are_stuck_whatever_is_programmed() -> None:
    array = ArrayProfile(programming_noise=1.0, stuck_share=0.05)
    stuck = [
        np.isin(programmed(np.full((128, 128), code, np.int8), array, seed=code), (-127, 0, 127))
        for code in (40, 90)
    ]
    assert stuck[0].sum() > 0
    assert np.array_equal(stuck[0], stuck[1])


def test_nothing_is_stuck_where_the_share_is_zero() -> None:
    weights = np.full((128, 128), 50, dtype=np.int8)
    held = programmed(weights, ArrayProfile(programming_noise=0.0, stuck_share=0.0))
    assert (held == 50).all()
