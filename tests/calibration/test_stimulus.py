import numpy as np
import pytest

from hil_calibration.stimulus import gaussian_weights, uniform_inputs


def test_inputs_are_sign_and_magnitude_with_the_share_of_zeros() -> None:
    codes = uniform_inputs(np.random.default_rng(0), vectors=400, rows=256, zeros=0.3)
    assert codes.dtype == np.int8
    assert codes.shape == (400, 256)
    assert (codes.min(), codes.max()) == (-127, 127)
    # 0.3 + 0.7 / 255; five standard deviations of a share of 102,400
    assert np.mean(codes == 0) == pytest.approx(0.30275, abs=0.0072)


def test_inputs_without_zeros_are_uniform() -> None:
    codes = uniform_inputs(np.random.default_rng(0), vectors=400, rows=256, zeros=0.0)
    # Standard deviation of 255 equal steps: sqrt((255**2 - 1) / 12) = 73.61
    assert np.std(codes.astype(float)) == pytest.approx(73.61, abs=0.6)
    assert np.mean(codes) == pytest.approx(0.0, abs=1.2)


def test_weights_are_gaussian_and_clipped() -> None:
    codes = gaussian_weights(np.random.default_rng(0), rows=400, columns=256)
    assert codes.dtype == np.int8
    assert codes.shape == (400, 256)
    assert (codes.min(), codes.max()) == (-127, 127)
    # A Gaussian of sigma 127/3 clipped at three sigma: 42.33 * 0.9966
    assert np.std(codes.astype(float)) == pytest.approx(42.19, abs=0.5)


def test_one_seed_gives_one_stimulus() -> None:
    drawn = [
        uniform_inputs(np.random.default_rng(seed), vectors=5, rows=6, zeros=0.3)
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_fewer_vectors_are_the_first_of_more() -> None:
    few, many = (
        uniform_inputs(np.random.default_rng(3), vectors=count, rows=6, zeros=0.3)
        for count in (4, 9)
    )
    assert np.array_equal(few, many[:4])
