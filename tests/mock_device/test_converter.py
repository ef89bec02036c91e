"""The converters: the transfer curve by hand, and the spread of the drawn ones."""

from pathlib import Path

import numpy as np
import pytest

from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.converter import Converters, draw_converters
from hil_mock_device.profile import ArrayProfile, CounterProfile, MockProfile
from small_profiles import ideal_profile


def counts_of(
    current: float,
    curve: tuple[float, float, float],
    bits: int,
    folder: Path,
    *,
    compiled: bool = False,
) -> list[int]:
    """Return P of a chip of one cell whose current at the largest input is `current`."""
    a, b, c = (np.full((1, 1), value) for value in curve)
    np.savez(
        folder / "chip.npz", gain_p=a, gain_n=a, offset_p=c, offset_n=c,
        curvature_p=b, curvature_n=b,
    )  # fmt: skip
    profile = ideal_profile(
        array={"cores": 1, "rows": 1, "columns": 1},
        counter={
            "bits": bits,
            "counts_at_full_scale": 1.0,
            "full_scale_products": 127 * 127 / (current or 1.0),
        },
    )
    chip = ChipModel(profile.model_copy(update={"measured": folder / "chip.npz"}))
    chip.program(0, np.full((1, 1), 127, np.int8))
    inputs = np.array([[127 if current else 0]], np.int8)
    counts = chip.readout(0, ReadMode.ONE_PHASE).count(inputs, compiled=compiled)
    return [int(count) for count in counts[0, 0]]


@pytest.mark.parametrize(
    ("current", "curve", "bits", "count"),
    [
        (0.5, (400.0, 0.0, 10.0), 12, 210),
        (0.0, (400.0, 0.0, 10.0), 12, 10),
        (0.5, (400.0, 0.0, 11.75), 12, 212),
        (0.0, (400.0, 0.0, -5.0), 12, 0),
        (2.0, (3000.0, 0.0, 0.0), 12, 4095),
        (2.0, (3000.0, 0.0, 0.0), 10, 1023),
        (40.0, (3000.0, 0.0, 0.0), 16, 65535),
        (1.0, (400.0, 0.25, 0.0), 12, 320),
        (2.0, (400.0, 0.25, 0.0), 12, 533),
        (1.0, (400.0, -0.2, 0.0), 12, 500),
        (0.5, (-400.0, 0.0, 500.0), 12, 300),
        (2.0, (-400.0, 0.0, 500.0), 12, 0),
        (1.0, (0.0, 0.0, 7.0), 12, 7),
        (2.0, (400.0, -0.5, 0.0), 12, 4095),
        (3.0, (400.0, -0.5, 0.0), 12, 4095),
        (3.0, (0.0, -0.5, 7.0), 12, 7),
    ],
    ids=[
        "line", "offset", "rounded", "clipped at 0", "overflow at 12 bits",
        "overflow at 10 bits", "overflow at 16 bits", "droop 20 %", "droop twice as far",
        "expansion", "negative gain", "negative gain clipped", "dead", "at the pole",
        "beyond the pole", "dead beyond the pole",
    ],
)  # fmt: skip
@pytest.mark.parametrize("compiled", [False, True], ids=["numpy", "numba"])
def test_count_is_the_hand_computed_one(
    current: float,
    curve: tuple[float, float, float],
    bits: int,
    count: int,
    *,
    compiled: bool,
    tmp_path: Path,
) -> None:
    if compiled:
        pytest.importorskip("numba")
    assert counts_of(current, curve, bits, tmp_path, compiled=compiled) == [count]


def drawn(profile: MockProfile, seed: int = 7) -> Converters:
    return draw_converters(
        profile, np.random.default_rng(seed), wave_rng=np.random.default_rng(seed + 1)
    )


@pytest.fixture(scope="module")
def spread() -> Converters:
    return drawn(
        MockProfile(
            array=ArrayProfile(cores=64, dead_column_chance=0.0),
            counter=CounterProfile(curvature_sigma=0.01),
        )
    )


# 32,768 samples know their sigma to 0.4 %; clipping at 2.96 sigma takes 1 % of it.
def test_gains_spread_by_the_published_sigma(spread: Converters) -> None:
    assert spread.gain.shape == (2, 64, 256)
    assert np.std(spread.gain) == pytest.approx(0.0705, abs=0.0012)
    assert np.mean(spread.gain) == pytest.approx(1.0, abs=0.002)


def test_gains_are_clipped_at_the_published_limit(spread: Converters) -> None:
    assert spread.gain.min() == pytest.approx(0.79, abs=1e-12)
    assert spread.gain.max() == pytest.approx(1.21, abs=1e-12)
    # 0.31 % of a normal distribution lies beyond 2.96 sigma: 101 of 32,768, plus or minus 10.
    at_limit = np.isclose(np.abs(spread.gain - 1), 0.21, atol=1e-12).sum()
    assert 60 < at_limit < 145


def test_gains_of_p_and_n_are_independent(spread: Converters) -> None:
    correlation = np.corrcoef(spread.gain[0].ravel(), spread.gain[1].ravel())[0, 1]
    assert abs(correlation) < 4 / 128


def test_offsets_spread_round_their_mean(spread: Converters) -> None:
    assert np.mean(spread.offset) == pytest.approx(10.0, abs=0.05)
    assert np.std(spread.offset) == pytest.approx(2.0, rel=0.02)


def test_curvature_spreads_up_to_two_sigma(spread: Converters) -> None:
    # Clipped at two sigma, a normal distribution keeps 0.9595 of its sigma.
    assert np.std(spread.curvature) == pytest.approx(0.9595 * 0.01, rel=0.02)
    assert np.abs(spread.curvature).max() == pytest.approx(0.02, abs=1e-12)


def test_dead_column_is_dead_in_both_polarities() -> None:
    gain = drawn(MockProfile(array=ArrayProfile(cores=100, dead_column_chance=1.0))).gain
    assert np.array_equal(gain[0] == 0, gain[1] == 0)
    assert ((gain[0] == 0).sum(axis=1) == 1).all()


def test_half_of_the_cores_have_a_dead_column_by_default() -> None:
    gain = drawn(MockProfile(array=ArrayProfile(cores=1000, columns=4))).gain
    # 500 expected, 16 standard deviation.
    assert abs(int((gain[0] == 0).any(axis=1).sum()) - 500) < 64


def test_dead_columns_leave_the_other_gains_alone() -> None:
    whole, holed = (
        drawn(MockProfile(array=ArrayProfile(cores=10, dead_column_chance=chance))).gain
        for chance in (0.0, 1.0)
    )
    assert np.array_equal(whole[holed != 0], holed[holed != 0])


def test_no_spread_gives_nominal_converters() -> None:
    counter = CounterProfile(gain_sigma=0.0, offset_sigma_counts=0.0, curvature_sigma=0.0)
    flat = drawn(MockProfile(array=ArrayProfile(dead_column_chance=0.0), counter=counter))
    assert (flat.gain == 1).all()
    assert (flat.offset == 10).all()
    assert (flat.curvature == 0).all()
