"""Noise that grows with the vector is no glitch; glitches beyond the sample are."""

import numpy as np
import numpy.typing as npt
import pytest

from hil_calibration.fit import fit_columns
from hil_calibration.moments import ColumnMoments
from hil_calibration.quality import QualityLimits
from hil_calibration.whole_samples import WholeSamples, leave_out_clips_and_glitches

GAIN = 40.0
SAMPLE = 512
Counts = npt.NDArray[np.uint16]
Expected = npt.NDArray[np.int32]


def noisy_line(columns: int, *, seed: int = 0) -> tuple[Counts, Expected]:
    """Return 4,096 vectors of all sizes, 40 products a count, noise of 2 counts and up to 10."""
    rng = np.random.default_rng(seed)
    size = rng.random((4096, 1, 1))
    true = np.clip((200 + 60 * rng.normal(size=(4096, 2, columns))) * size, 0, 900)
    noise = rng.normal(size=true.shape) * (2 + 8 * size)
    expected = np.rint(GAIN * (true[:, 0] - true[:, 1])).astype(np.int32)
    return np.rint(true + noise + 10).clip(0, 1023).astype(np.uint16), expected


def whole_samples(counts: Counts, expected: Expected) -> WholeSamples:
    return leave_out_clips_and_glitches(
        ColumnMoments.of(counts, expected),
        counts[:SAMPLE],
        expected[:SAMPLE],
        is_saturated=np.zeros(expected.shape[1], dtype=np.bool_),
        clip_code=1024,
        limits=QualityLimits(),
    )


def gains(found: WholeSamples) -> npt.NDArray[np.float64]:
    return fit_columns(found.moments).correction.a_p


@pytest.mark.parametrize("columns", [1, 16, 256])
def test_scatter_of_large_vectors_is_no_glitch(columns: int) -> None:
    found = whole_samples(*noisy_line(columns))
    assert not found.is_glitchy.any()
    assert found.moments.samples.tolist() == [4096] * columns


def test_glitches_among_vectors_of_all_sizes_are_left_out() -> None:
    counts, expected = noisy_line(64)
    clean = gains(whole_samples(counts, expected))
    counts[::33, 0] = np.minimum(counts[::33, 0] + 300, 1023)
    found = whole_samples(counts, expected)
    assert found.is_glitchy.all()
    assert found.glitch_share == pytest.approx(16 / SAMPLE, abs=4 / SAMPLE)
    assert gains(found) == pytest.approx(clean, rel=0.05)


def test_vectors_misread_as_a_whole_make_no_room_for_themselves() -> None:
    counts, expected = noisy_line(64)
    clean = gains(whole_samples(counts, expected))
    counts[::10, 0] = np.minimum(counts[::10, 0] + 300, 1023)
    found = whole_samples(counts, expected)
    assert found.is_glitchy.all()
    assert gains(found) == pytest.approx(clean, rel=0.05)


def test_glitches_after_the_sample_are_told_and_move_no_gain() -> None:
    counts, expected = noisy_line(64)
    clean = gains(whole_samples(counts, expected))
    counts[SAMPLE::33, 0, :5] = np.minimum(counts[SAMPLE::33, 0, :5] + 300, 1023)
    # Taken for counts like all others they would take a seventh of the gain, and more.
    assert (fit_columns(ColumnMoments.of(counts, expected)).correction.a_p[:5] < 34).all()
    found = whole_samples(counts, expected)
    assert np.flatnonzero(found.is_glitchy).tolist() == [0, 1, 2, 3, 4]
    assert found.glitch_share[:5].tolist() == [0.0] * 5
    assert found.moments.samples.tolist() == [SAMPLE] * 5 + [4096] * 59
    assert gains(found) == pytest.approx(clean, rel=0.05)


def test_clips_after_the_sample_are_in_no_fit() -> None:
    counts, expected = noisy_line(4)
    counts[SAMPLE::20, 0, 2] = 1024
    found = leave_out_clips_and_glitches(
        ColumnMoments.of(counts, expected),
        counts[:SAMPLE],
        expected[:SAMPLE],
        is_saturated=np.array([False, False, True, False]),
        clip_code=1024,
        limits=QualityLimits(),
    )
    assert found.moments.samples.tolist() == [4096, 4096, SAMPLE, 4096]
    assert not found.is_glitchy.any()
