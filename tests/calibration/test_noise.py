import numpy as np
import numpy.typing as npt
import pytest

from hil.core.correction import Correction
from hil_calibration.fit import fit_columns
from hil_calibration.moments import ColumnMoments
from hil_calibration.noise import (
    CodeNoise,
    find_repeats,
    measure_noise,
    noise_weights,
    other_than_noise,
)

GAIN = 40.0
ONE_GAIN = Correction(a_p=np.full(400, GAIN), a_n=np.full(400, GAIN), b=np.zeros(400))


def test_noise_of_hand_worked_repeats() -> None:
    # P: 9, 11 and 19, 21, 23: repeats 10 +- 1 about 10, and 20, 24 about 22; N is silent.
    p = np.array([[9, 11], [20, 24], [10, 10]])
    repeats = np.stack([p, 0 * p], axis=2)[:, :, :, None].astype(np.uint16)
    noise = measure_noise(repeats, bins=2)
    assert noise.edges.tolist() == [0, 11, 22]
    assert noise.freedom[:, 0, 0].tolist() == [2, 1]
    assert noise.variance[:, 0, 0].tolist() == [(2 + 0) / 2, 8.0]
    assert noise.variance[:, 1, 0].tolist() == [0, 0]
    assert noise.rms[0, 0] == pytest.approx(np.sqrt(10 / 3))


def test_an_empty_bin_has_the_variance_of_the_whole_counter() -> None:
    p = np.array([[0, 2], [96, 100]])
    repeats = np.stack([p, p], axis=2)[:, :, :, None].astype(np.uint16)
    noise = measure_noise(repeats, bins=4)
    assert noise.freedom[:, 0, 0].tolist() == [1, 0, 0, 1]
    assert noise.variance[:, 0, 0].tolist() == [2, 5, 5, 8]


def test_each_count_has_the_variance_of_its_bin() -> None:
    noise = CodeNoise(
        edges=np.array([0.0, 10, 20]),
        variance=np.array([[[1.0], [2.0]], [[3.0], [4.0]]]),
        freedom=np.ones((2, 2, 1), np.int64),
    )
    counts = np.array([[[0], [10]], [[9], [19]], [[500], [3]]], np.uint16)
    assert noise.at(counts)[:, :, 0].tolist() == [[1, 4], [1, 4], [3, 2]]


def read_noisily(
    rng: np.random.Generator, true: npt.NDArray[np.float64], times: int
) -> npt.NDArray[np.uint16]:
    """Read with a noise of one count at 0 and of twenty at 1000."""
    sigma = 1 + 19 * true / 1000
    shape = (len(true), times, *true.shape[1:])
    drawn = true[:, None] + sigma[:, None] * rng.standard_normal(shape)
    return np.maximum(np.rint(drawn), 0).astype(np.uint16)


@pytest.fixture(scope="module")
def noisy() -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64], CodeNoise]:
    """One-phase readouts of 400 columns, their expected outputs, and the noise by code."""
    rng = np.random.default_rng(1)
    true = rng.uniform(20, 1000, (256, 2, 400))
    silent = rng.random((256, 400)) < 0.5
    true[:, 0][silent], true[:, 1][~silent] = 20, 20
    noise = measure_noise(read_noisily(rng, true[:64], 16), bins=8)
    return read_noisily(rng, true, 1)[:, 0], GAIN * (true[:, 0] - true[:, 1]), noise


def test_noise_that_grows_with_the_code_is_found(
    noisy: tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64], CodeNoise],
) -> None:
    _, _, noise = noisy
    middle = (noise.edges[1:] + noise.edges[:-1]) / 2
    found = np.sqrt(noise.variance.mean(axis=(1, 2)))
    assert found[1:] == pytest.approx(1 + 19 * middle[1:] / 1000, rel=0.05)


def test_weights_by_noise_bring_the_offset_closer(
    noisy: tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64], CodeNoise],
) -> None:
    counts, expected, noise = noisy
    plain = fit_columns(ColumnMoments.of(counts, expected))
    weights = noise_weights(counts, noise, ONE_GAIN, other_rms=np.array(0.0))
    weighted = fit_columns(ColumnMoments.of(counts, expected, weights=weights))
    errors = [np.sqrt(np.mean(np.square(fits.correction.b))) for fits in (plain, weighted)]
    assert errors[1] < 0.6 * errors[0]
    np.testing.assert_allclose(weights.mean(axis=0), 1, rtol=1e-12)


def test_equal_noise_gives_equal_weights() -> None:
    noise = CodeNoise(
        edges=np.array([0.0, 100]),
        variance=np.ones((1, 2, 3)),
        freedom=np.ones((1, 2, 3), np.int64),
    )
    line = Correction(a_p=np.full(3, 2.0), a_n=np.full(3, 5.0), b=np.zeros(3))
    counts = np.random.default_rng(2).integers(0, 100, (20, 2, 3)).astype(np.uint16)
    assert noise_weights(counts, noise, line, other_rms=np.array(1.0)).tolist() == [[1.0] * 3] * 20


def test_repeats_that_never_differ_weigh_no_more_than_their_rounding_allows() -> None:
    noise = CodeNoise(
        edges=np.array([0.0, 10, 20]),
        variance=np.array([[[0.0], [0.0]], [[1.0], [1.0]]]),
        freedom=np.ones((2, 2, 1), np.int64),
    )
    line = Correction(a_p=np.ones(1), a_n=np.ones(1), b=np.zeros(1))
    counts = np.array([[[5], [5]], [[15], [15]]], np.uint16)
    low, high = noise_weights(counts, noise, line, other_rms=np.array(0.0))[:, 0]
    assert low / high == pytest.approx(12)


def test_what_is_not_noise_is_the_rest_of_the_residual() -> None:
    noise = CodeNoise(
        edges=np.array([0.0, 1]), variance=np.full((1, 2, 2), 4.0), freedom=np.ones((1, 2, 2), int)
    )
    line = Correction(a_p=np.array([3.0, 3]), a_n=np.array([4.0, 4]), b=np.zeros(2))
    # Noise of 3 * 2 and 4 * 2 makes 10; 26 holds 24 more, 5 holds none.
    assert other_than_noise(np.array([26.0, 5.0]), noise, line).tolist() == [24.0, 0.0]


@pytest.mark.parametrize(
    ("shape", "message"),
    [((5, 2, 3), "must be"), ((5, 1, 2, 3), "5 vectors read 1 times"), ((0, 2, 2, 3), "0 vectors")],
    ids=["axes", "one-repeat", "no-vectors"],
)
def test_repeats_that_show_no_noise_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_noise(np.zeros(shape, np.uint16))


def test_equal_inputs_are_paired_once_each() -> None:
    # Vector number k // 3 comes three times: one pair, and one readout left over.
    inputs = (np.arange(48) // 3)[:, None].repeat(2, axis=1).astype(np.int8)
    counts = np.arange(48, dtype=np.uint16)[:, None, None].repeat(2, axis=1)
    order = np.random.default_rng(5).permutation(48)
    pairs = find_repeats(inputs[order], counts[order])
    assert pairs is not None
    assert pairs.shape == (16, 2, 2, 1)
    assert (pairs[:, 0] // 3 == pairs[:, 1] // 3).all()
    assert len(set(pairs[:, :, 0, 0].ravel().tolist())) == 32


@pytest.mark.parametrize("pairs", [0, 15])
def test_too_few_pairs_are_no_repeats(pairs: int) -> None:
    inputs = np.concatenate([np.arange(20), np.arange(pairs)]).astype(np.int8)[:, None]
    assert find_repeats(inputs, np.zeros((20 + pairs, 2, 1), np.uint16)) is None
