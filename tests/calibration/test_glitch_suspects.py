"""Glitches of one side: found from a twentieth of the samples to a third; bends are none."""

import functools

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.correction import ColumnFlag, Correction
from hil.core.nmpu_format import NmpuFormat
from hil_calibration import glitch_suspects
from hil_calibration.calibrate import CoreCalibration, calibrate_core
from hil_calibration.fit import fit_columns
from hil_calibration.glitch_suspects import suspicious_columns
from hil_calibration.kernels.robust_sums import SampleSums
from hil_calibration.moments import ColumnMoments
from hil_calibration.robust_fit import fit_robust
from hil_calibration.trimmed_start import quick_line

Counts = npt.NDArray[np.uint16]
Outputs = npt.NDArray[np.int32]
GAIN = 2
COLUMNS = 40
VECTORS = 512


def four_phase(*, share: float, size: int, noise: float = 0.0) -> tuple[Counts, Outputs]:
    """Return counts of y = 2 P - 2 N - 4, of 16 inputs; a share of P is too high by a size."""
    rng = np.random.default_rng(1)
    weights = rng.integers(-5, 6, (16, COLUMNS))
    inputs = rng.integers(-15, 16, (VECTORS, 16))
    products = inputs[:, :, None] * weights
    p = np.maximum(products, 0).sum(axis=1) + 5
    n = np.maximum(-products, 0).sum(axis=1) + 3
    p += 50 + np.rint(noise * rng.standard_normal(p.shape)).astype(int)
    n += 50
    p[rng.random(p.shape) < share] += size
    return np.stack([p, n], axis=1).astype(np.uint16), (GAIN * (inputs @ weights)).astype(np.int32)


def suspects(counts: Counts, expected: Outputs) -> int:
    line = fit_columns(ColumnMoments.of(counts, expected)).correction
    return len(suspicious_columns(counts, expected, line))


def calibrate(counts: Counts, expected: Outputs) -> CoreCalibration:
    return calibrate_core(
        ColumnMoments.of(counts, expected),
        fmt=NmpuFormat(),
        saturated_counts=np.zeros(COLUMNS, np.int64),
        sample_counts=counts,
        sample_expected=expected,
        largest_expected=float(np.abs(expected).max()),
    )


@pytest.mark.parametrize("size", [150, 400, 3000])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.35])
def test_glitches_of_one_side_make_a_column_suspicious(share: float, size: int) -> None:
    assert suspects(*four_phase(share=share, size=size)) == COLUMNS


def test_glitches_of_one_side_are_seen_through_the_noise_of_counts() -> None:
    assert suspects(*four_phase(share=0.2, size=150, noise=5.0)) == COLUMNS


@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_columns_without_glitches_are_hardly_ever_suspicious(noise: float) -> None:
    assert suspects(*four_phase(share=0.0, size=0, noise=noise)) <= 2


def bent() -> tuple[Counts, Outputs]:
    """Return one-phase counts that fall short of a line by a fifth at their ends."""
    x = np.linspace(-1, 1, VECTORS)
    near = np.stack([np.maximum(x, 0), np.maximum(-x, 0)], axis=1)
    counts = np.rint(600 * (near - 0.2 * near**5) + 20)
    return counts[:, :, None].astype(np.uint16), np.rint(9000 * x)[:, None].astype(np.int32)


def test_bent_transfer_is_no_glitch() -> None:
    counts, expected = bent()
    # Half of its samples are near a line and a fifth are far from it, as with glitches.
    assert fit_robust(counts, expected).outlier_share[0] > 0.2
    assert suspects(counts, expected) == 0


@pytest.mark.parametrize("share", [0.1, 0.15, 0.2])
def test_core_with_glitches_of_one_side_in_every_column_has_true_gains(share: float) -> None:
    calibration = calibrate(*four_phase(share=share, size=400))
    assert np.all(calibration.flags == ColumnFlag.GLITCHY)
    gains = calibration.correction.a_p * calibration.output_lsb
    np.testing.assert_allclose(gains, GAIN, rtol=1e-6)
    np.testing.assert_allclose(calibration.glitch_share, share, atol=0.07)


@pytest.mark.parametrize("share", [0.28, 0.35])
def test_robust_fit_tells_the_line_from_a_third_of_glitches(share: float) -> None:
    robust = fit_robust(*four_phase(share=share, size=400))
    np.testing.assert_allclose(robust.fits.correction.a_p, GAIN, rtol=1e-6)
    np.testing.assert_allclose(robust.outlier_share, share, atol=0.08)


@pytest.mark.parametrize("share", [0.25, 0.28, 0.45])
def test_no_gain_is_wrong_without_a_flag_that_says_so(share: float) -> None:
    counts, expected = four_phase(share=share, size=400)
    clean, outputs = four_phase(share=0.0, size=0)
    counts[:, :, 0], expected[:, 0] = clean[:, :, 0], outputs[:, 0]  # so that one can be calibrated
    calibration = calibrate(counts, expected)
    gains = calibration.correction.a_p * calibration.output_lsb
    is_wrong = np.abs(gains - GAIN) > 0.02 * GAIN
    said = np.uint16(ColumnFlag.DEAD | ColumnFlag.POOR_FIT)
    assert is_wrong.any()
    assert np.all((calibration.flags[is_wrong] & said) > 0)
    assert calibration.flags[0] == 0
    np.testing.assert_allclose(gains[0], GAIN, rtol=1e-6)


def test_columns_that_lose_the_line_beside_hopeless_ones_are_poor_fits() -> None:
    calibration = calibrate(*four_phase(share=0.45, size=400))
    is_dead = (calibration.flags & np.uint16(ColumnFlag.DEAD)) > 0
    assert 0 < (~is_dead).sum() < COLUMNS / 2
    assert np.all((calibration.flags[~is_dead] & np.uint16(ColumnFlag.POOR_FIT)) > 0)


def two_sided(*, share: float, size: int) -> tuple[Counts, Outputs]:
    """Return the same with as many samples of P too low as too high."""
    counts, expected = four_phase(share=0.0, size=0, noise=2.0)
    rng = np.random.default_rng(2)
    sides = rng.choice([-1, 1], (VECTORS, COLUMNS)) * (rng.random((VECTORS, COLUMNS)) < share)
    counts[:, 0] = np.maximum(counts[:, 0] + size * sides, 0)
    return counts, expected


class OneLineAtATime(SampleSums):
    """The search as it is written down: every line by itself."""

    def halves(self, lines: npt.NDArray[np.float64]) -> ColumnMoments:
        each = [self.half(Correction(a_p=p, a_n=n, b=b)) for p, n, b in lines.swapaxes(0, 1)]
        return ColumnMoments(
            vectors=each[0].vectors,
            mean=np.concatenate([moments.mean for moments in each], axis=1),
            products=np.concatenate([moments.products for moments in each], axis=2),
            weight=np.concatenate([moments.weight for moments in each]),
            samples=np.concatenate([moments.samples for moments in each]),
        )

    def halves_squares(self, lines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack(
            [self.half_squares(Correction(a_p=p, a_n=n, b=b)) for p, n, b in lines.swapaxes(0, 1)]
        )


@pytest.mark.parametrize(
    "readouts",
    [
        pytest.param(four_phase(share=0.0, size=0, noise=3.0), id="clean"),
        pytest.param(four_phase(share=0.08, size=40, noise=3.0), id="few and small, of one side"),
        pytest.param(four_phase(share=0.35, size=400, noise=3.0), id="many, of one side"),
        pytest.param(four_phase(share=0.2, size=3000, noise=3.0), id="large, of one side"),
        pytest.param(two_sided(share=0.08, size=40), id="few and small, of both sides"),
        pytest.param(two_sided(share=0.35, size=400), id="many, of both sides"),
    ],
)
def test_search_of_all_lines_together_finds_what_one_line_at_a_time_finds(
    readouts: tuple[Counts, Outputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, expected = readouts
    plain = fit_columns(ColumnMoments.of(counts, expected)).correction
    found, robust = suspicious_columns(counts, expected, plain), fit_robust(counts, expected)
    slow = functools.partial(quick_line, sums=OneLineAtATime)
    monkeypatch.setattr(glitch_suspects, "quick_line", slow)
    assert found.tolist() == suspicious_columns(counts, expected, plain).tolist()
    one_by_one = fit_robust(counts, expected, sums=OneLineAtATime)
    assert np.array_equal(robust.is_kept, one_by_one.is_kept)
    gains, known = (fits.fits.correction.a_p for fits in (robust, one_by_one))
    np.testing.assert_allclose(gains, known, rtol=1e-9)
