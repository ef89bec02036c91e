"""Each flag from a column made to earn it, between columns that do not."""

import math

import numpy as np
import pytest

from hil.core.correction import ColumnFlag, Correction
from hil_calibration.fit import fit_columns
from hil_calibration.moments import ColumnMoments
from hil_calibration.noise import measure_noise
from hil_calibration.quality import (
    QualityLimits,
    flag_columns,
    is_calibrated,
    measure_quality,
)
from synthetic_chip import synthetic_columns

VECTORS = 256


class Bench:
    """Five good columns of y ~ 40 (P - N), the third of which a test may spoil."""

    def __init__(self) -> None:
        columns = synthetic_columns(columns=5, vectors=VECTORS, noise=200.0)
        self.counts = columns.counts.copy()
        self.expected = columns.expected.astype(float)
        self.saturated = np.zeros(5, np.int64)
        self.limits = QualityLimits()
        self.rng = np.random.default_rng(3)

    def silence(self, polarity: int) -> None:
        sign = -1 if polarity else 1
        self.expected[:, 2] += sign * -40.0 * self.counts[:, polarity, 2]
        self.counts[:, polarity, 2] = 0

    def flags(self) -> list[list[str]]:
        moments = ColumnMoments.of(self.counts, self.expected)
        bits = flag_columns(moments, fit_columns(moments), self.saturated, self.limits)
        return [ColumnFlag(int(bit)).names() for bit in bits]

    def flags_of_the_spoiled(self) -> list[str]:
        flags = self.flags()
        assert flags[:2] + flags[3:] == [[]] * 4
        return flags[2]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_good_columns_have_no_flags(bench: Bench) -> None:
    assert bench.flags() == [[]] * 5


@pytest.mark.parametrize("level", [0.0, -17.0, 0.1])
def test_a_constant_expected_output_is_unused(bench: Bench, level: float) -> None:
    bench.expected[:, 2] = level
    assert bench.flags_of_the_spoiled() == ["unused"]


@pytest.mark.parametrize("level", [0, 5])
def test_counts_that_never_move_are_dead_because_stuck(bench: Bench, level: int) -> None:
    bench.counts[:, :, 2] = level
    assert bench.flags_of_the_spoiled() == ["dead", "stuck"]


@pytest.mark.parametrize(("apart", "flags"), [(80, []), (3, ["ill_conditioned"])])
def test_counters_that_nearly_move_together_are_ill_conditioned(
    bench: Bench, apart: int, flags: list[str]
) -> None:
    # var(P) = 13,400; apart by a variance of 533 and of 2/3: conditions of 10 and of 280
    bench.counts[:, 1, 2] = bench.counts[:, 0, 2] + bench.rng.integers(0, apart, VECTORS)
    p, n = bench.counts[:, :, 2].T.astype(float)
    bench.expected[:, 2] = 40 * p - 30 * n
    assert bench.flags_of_the_spoiled() == flags


def test_counts_that_move_by_themselves_are_dead(bench: Bench) -> None:
    bench.counts[:, :, 2] = bench.rng.integers(0, 400, (VECTORS, 2))
    assert bench.flags_of_the_spoiled() == ["dead"]


@pytest.mark.parametrize(("limit", "flags"), [(0.5, []), (0.999999, ["dead"])])
def test_the_limit_of_dead_is_a_parameter(bench: Bench, limit: float, flags: list[str]) -> None:
    bench.limits = QualityLimits(dead_r_squared=limit)
    assert bench.flags() == [flags] * 5


def test_a_signal_below_the_noise_is_weak_not_dead(bench: Bench) -> None:
    bench.counts[:, :, 2] = bench.rng.integers(0, 5, (VECTORS, 2))
    bench.expected[:, 2] = bench.rng.normal(0, 20, VECTORS)  # noise of the others: 200
    assert bench.flags_of_the_spoiled() == ["weak_signal"]


@pytest.mark.parametrize(("clipped", "flags"), [(0, []), (1, ["saturated"])])
def test_more_than_a_thousandth_of_clipped_counts_is_saturated(
    bench: Bench, clipped: int, flags: list[str]
) -> None:
    bench.saturated[2] = clipped  # of 512 counts
    assert bench.flags_of_the_spoiled() == flags


def test_the_share_of_clipped_counts_is_a_parameter(bench: Bench) -> None:
    bench.limits = QualityLimits(saturated_share=10 / 512)
    bench.saturated[:] = [0, 10, 11, 10, 0]
    assert bench.flags_of_the_spoiled() == ["saturated"]


@pytest.mark.parametrize(("noise", "flags"), [(400, []), (1000, ["poor_fit"])])
def test_a_residual_over_three_medians_is_a_poor_fit(
    bench: Bench, noise: float, flags: list[str]
) -> None:
    bench.expected[:, 2] += bench.rng.normal(0, noise, VECTORS)
    assert bench.flags_of_the_spoiled() == flags


def test_perfect_columns_are_no_poor_fits_of_each_other() -> None:
    rng = np.random.default_rng(8)
    counts = rng.integers(0, 4096, (500, 2, 200)).astype(np.uint16)
    gain_p, gain_n = rng.uniform(30, 50, (2, 200))
    moments = ColumnMoments.of(counts, gain_p * counts[:, 0] - gain_n * counts[:, 1])
    flags = flag_columns(moments, fit_columns(moments), np.zeros(200, np.int64), QualityLimits())
    assert not flags.any()


@pytest.mark.parametrize("polarity", [0, 1], ids=["P", "N"])
def test_one_silent_counter_is_single_polarity(bench: Bench, polarity: int) -> None:
    bench.silence(polarity)
    assert bench.flags_of_the_spoiled() == ["single_polarity"]


def test_counts_that_fall_are_a_negative_gain(bench: Bench) -> None:
    bench.counts[:, :, 2] = bench.counts[:, ::-1, 2]
    assert bench.flags_of_the_spoiled() == ["negative_gain"]


def test_a_single_falling_counter_has_both_flags(bench: Bench) -> None:
    bench.silence(1)
    bench.counts[:, :, 2] = bench.counts[:, ::-1, 2]
    assert bench.flags_of_the_spoiled() == ["single_polarity", "negative_gain"]


def test_without_any_live_column_all_are_dead(bench: Bench) -> None:
    bench.counts[:] = 0
    assert bench.flags() == [["dead", "stuck"]] * 5


def test_these_flags_leave_a_column_uncorrected() -> None:
    flags = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 4 + 2, 1024, 2048], np.uint16)
    expected = [True, False, False, True, True, True, True, True, True, False, False, True, True]
    assert is_calibrated(flags).tolist() == expected


def test_the_numbers_behind_the_flags_are_the_hand_worked_ones() -> None:
    # y = P on four vectors, off by 1, -1, 1 and -1; the last count is at the clip.
    counts = np.array([[0, 2, 4, 8], [0, 0, 0, 0]], np.uint16).T[:, :, None]
    expected = np.array([[-1.0], [3.0], [3.0], [9.0]])
    line = Correction(a_p=np.ones(1), a_n=np.ones(1), b=np.zeros(1))
    repeats = np.array([[[[3], [0]], [[5], [0]]]], np.uint16)  # variance (1 + 1) / 1 of P
    quality = measure_quality(
        counts, expected, line, clip_code=8, noise=measure_noise(repeats, bins=1)
    )
    assert quality.residual_rms.tolist() == [1.0]
    assert quality.saturated_share.tolist() == [1 / 8]
    assert quality.outlier_share.tolist() == [0.0]
    assert quality.noise_rms[0] == pytest.approx(2**0.5)
    assert quality.effective_bits[0] == pytest.approx(math.log2(10 / math.sqrt(12)))


def test_rounded_counts_without_noise_are_no_outliers() -> None:
    x = np.arange(-127, 128)
    counts = np.rint(np.stack([np.maximum(x, 0), 1.3 * np.maximum(-x, 0)], axis=1))[:, :, None]
    truth = Correction(a_p=np.ones(1), a_n=np.ones(1) / 1.3, b=np.zeros(1))
    # All of P lie on the line, more than half of the samples, and N but for half a count.
    quality = measure_quality(
        counts.astype(np.uint16), x[:, None].astype(float), truth, clip_code=1024
    )
    assert quality.outlier_share.tolist() == [0.0]
    assert 0.1 < quality.residual_rms[0] < 0.3


def test_a_glitch_shows_in_the_share_of_outliers() -> None:
    columns = synthetic_columns(columns=3, vectors=200, noise=100.0)
    counts = columns.counts.copy()
    counts[:10, 0, 1] += 1000
    truth = Correction(a_p=columns.a_p, a_n=columns.a_n, b=columns.b)
    quality = measure_quality(counts, columns.expected.astype(float), truth, clip_code=1024)
    assert quality.outlier_share.tolist() == [0.0, 0.05, 0.0]
    assert np.isnan(quality.noise_rms).all()
