import numpy as np
import numpy.typing as npt
import pytest

from hil.core.correction import Correction
from hil_calibration.linearity import effective_bits, inl_curves

LINE = Correction(a_p=np.array([0.5]), a_n=np.array([0.25]), b=np.zeros(1))


def ramp(codes: int) -> npt.NDArray[np.uint16]:
    p = np.arange(codes)
    return np.stack([p, 0 * p], axis=1)[:, :, None].astype(np.uint16)


def test_a_bow_is_found_bin_by_bin() -> None:
    # Residual p (p - 255) / 1000, summed over bins of 64 by hand: k-th mean of p**2 - 255 p
    counts = ramp(256)
    p = np.arange(256.0)
    expected = 0.5 * p - p * (p - 255) / 1000
    curves = inl_curves(counts, expected[:, None], LINE, bins=4)
    means = [(64 * k + 31.5) * (64 * k + 31.5 - 255) + (64**2 - 1) / 12 for k in range(4)]
    np.testing.assert_allclose(curves.residual[:, 0, 0], np.array(means) / 1000, rtol=1e-9)
    np.testing.assert_allclose(curves.residual_counts[:, 0, 0], np.array(means) / 500, rtol=1e-9)
    assert curves.largest[0] == pytest.approx(-means[1] / 1000)


def test_noise_of_a_straight_column_is_no_curve() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 400, (4000, 2, 20)).astype(np.uint16)
    line = Correction(a_p=np.full(20, 0.3), a_n=np.full(20, 0.3), b=np.zeros(20))
    expected = line.apply(counts) + rng.normal(0, 2, (4000, 20))
    curves = inl_curves(counts, expected, line, bins=8)
    # 500 samples in a bin: 2 / sqrt(500)
    assert curves.standard_error.mean() == pytest.approx(2 / np.sqrt(500), rel=0.02)
    assert np.mean(np.abs(curves.residual) < 3 * curves.standard_error) > 0.99


def test_a_silent_counter_has_one_filled_bin() -> None:
    curves = inl_curves(ramp(16), 0.5 * np.arange(16.0)[:, None] + 1, LINE, bins=4)
    assert curves.residual[:, 1, 0].tolist() == [-1, 0, 0, 0]
    assert curves.edges[:, 1, 0].tolist() == [0] * 5


def test_a_gain_of_0_has_no_curve_in_counts() -> None:
    line = Correction(a_p=np.zeros(1), a_n=np.zeros(1), b=np.zeros(1))
    assert not inl_curves(ramp(16), np.ones((16, 1)), line).residual_counts.any()


def test_single_samples_are_never_certain() -> None:
    curves = inl_curves(ramp(2), np.array([[0.0], [7.0]]), LINE, bins=2)
    assert curves.standard_error[:, 0, 0].tolist() == [np.inf, np.inf]
    assert curves.largest[0] < 7


@pytest.mark.parametrize("bits", [4, 8])
def test_an_ideal_converter_has_all_its_bits(bits: int) -> None:
    ideal = np.linspace(0, 2**bits, 1 << 16, endpoint=False)
    error = np.floor(ideal) + 0.5 - ideal
    rms = np.sqrt(np.mean(error**2, keepdims=True))
    assert effective_bits(2.0**bits, rms)[0] == pytest.approx(bits, abs=1e-3)


def test_ends_of_the_scale_of_bits() -> None:
    assert effective_bits(1.0, np.array([0.0, 5.0])).tolist() == [np.inf, 0.0]


@pytest.mark.parametrize(
    ("counts", "expected", "bins"),
    [((0, 2, 1), (0, 1), 4), ((5, 2, 1), (5, 2), 4), ((5, 2, 1), (5, 1), 0)],
    ids=["no-vectors", "shapes", "no-bins"],
)
def test_what_gives_no_curve_is_refused(
    counts: tuple[int, ...], expected: tuple[int, ...], bins: int
) -> None:
    with pytest.raises(ValueError, match="at least 1 vector and 1 bin"):
        inl_curves(np.zeros(counts, np.uint16), np.zeros(expected), LINE, bins=bins)


def test_a_column_without_a_range_has_no_effective_bits() -> None:
    assert effective_bits(np.zeros(2), np.array([0.0, 1.0])).tolist() == [0.0, 0.0]
