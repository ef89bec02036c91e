"""The crossbar: exact sums where it is ideal, the published noise where it is not."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_mock_device.crossbar import (
    FloatMatrix,
    drive,
    exact_groups,
    magnitude_sums,
    net_sums,
    program_weights,
)
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


def summed(
    inputs: Codes, weights: FloatMatrix, *, asymmetry: float = 0.0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the net sums and the sums of magnitudes, (vector, column)."""
    groups = exact_groups(weights, input_steps=4 if asymmetry else 1)
    net = np.empty((len(inputs), weights.shape[1]), np.float32)
    magnitude = np.empty_like(net)
    driven = drive(inputs, asymmetry=asymmetry)
    net_sums(driven, groups, out=net)
    magnitude_sums(driven, groups, out=magnitude)
    return net, magnitude


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32))


@settings(max_examples=50, deadline=None)
@given(SHAPES)
def test_ideal_array_holds_exactly_the_wanted_weights(shape: tuple[int, int, int, int]) -> None:
    _, rows, columns, seed = shape
    weights = random_codes((rows, columns), seed)
    assert np.array_equal(programmed(weights), weights)


@settings(max_examples=50, deadline=None)
@given(SHAPES)
def test_sums_over_an_ideal_array_are_those_of_the_integers(
    shape: tuple[int, int, int, int],
) -> None:
    vectors, rows, columns, seed = shape
    inputs, weights = random_codes((vectors, rows), seed), random_codes((rows, columns), seed + 1)
    single = products(inputs, weights)
    net, magnitude = summed(inputs, programmed(weights))
    assert np.array_equal(net, single.sum(axis=1))
    assert np.array_equal(magnitude, np.abs(single).sum(axis=1))


@pytest.mark.parametrize("asymmetry", [0.0, 0.03])
@pytest.mark.parametrize("noise", [1.0, 100.0])
def test_sums_over_noisy_weights_are_exact_in_every_group(noise: float, asymmetry: float) -> None:
    # The oracle counts in whole steps of 2**-18 with Python's integers: 16 bits of a weight, 2 of
    # an input.
    weights, inputs = random_codes((256, 3), 5), random_codes((4, 256), 6)
    held = programmed(weights, ArrayProfile(programming_noise=noise))
    (group,) = exact_groups(held, input_steps=4 if asymmetry else 1)
    units = [[int(value) for value in column] for column in group.weights.T.astype(float) * 65536]
    driven = [[int(4 * x) for x in vector] for vector in drive(inputs, asymmetry=asymmetry)]
    net, magnitude = summed(inputs, held, asymmetry=asymmetry)
    for vector in range(4):
        for column in range(3):
            single = [x * w for x, w in zip(driven[vector], units[column], strict=True)]
            assert int(float(net[vector, column]) * 2**18) == sum(single)
            assert int(float(magnitude[vector, column]) * 2**18) == sum(map(abs, single))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 600), st.integers(0, 2**32), st.booleans(), st.floats(0.1, 300.0))
def test_order_of_the_rows_of_a_group_changes_no_sum(
    rows: int, seed: int, is_asymmetric: bool, size: float
) -> None:
    # What BLAS does with the order of a sum: backwards, one by one, and its own.
    rng = np.random.default_rng(seed)
    weights, inputs = rng.normal(0, size, (rows, 2)), random_codes((2, rows), seed)
    driven = drive(inputs, asymmetry=0.05 * is_asymmetric)
    for group in exact_groups(weights, input_steps=4 if is_asymmetric else 1):
        part = driven[:, group.rows]
        one_by_one = np.zeros((2, 2), np.float32)
        for row in range(part.shape[1]):
            one_by_one += part[:, row, None] * group.weights[row]
        assert np.array_equal(part @ group.weights, one_by_one)
        assert np.array_equal(part[:, ::-1] @ group.weights[::-1], one_by_one)


def test_rounding_moves_a_weight_of_a_full_core_by_less_than_a_sixteenth_of_a_code() -> None:
    weights = np.random.default_rng(1).normal(0, 32, (256, 64)).clip(-127, 127)
    (group,) = exact_groups(weights, input_steps=1)
    assert np.abs(group.weights - weights).max() <= 1 / 16


def test_negative_inputs_drive_less_by_the_asymmetry() -> None:
    # 3 % less: -100 becomes -97, -127 becomes -123.19, to the next quarter -123.25.
    inputs = np.array([[100, -100, -127, 0, 1]], np.int8)
    assert drive(inputs, asymmetry=0.03).tolist() == [[100.0, -97.0, -123.25, 0.0, 1.0]]
    assert drive(inputs, asymmetry=0.0).tolist() == [[100.0, -100.0, -127.0, 0.0, 1.0]]


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
