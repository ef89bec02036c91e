import numpy as np
import pytest

from hil_calibration.clipped_fit import fit_unclipped, unclipped_weights
from hil_calibration.fit import ColumnFits, fit_columns
from hil_calibration.moments import ColumnMoments
from synthetic_chip import SyntheticColumns, synthetic_columns

CLIP = 380
"""Of counts uniform over 0 to 400: one sample in ten has a count there or above."""


def within_three_errors(fits: ColumnFits, columns: SyntheticColumns) -> list[float]:
    return [
        float(
            np.mean(
                np.abs(getattr(fits.correction, name) - getattr(columns, name))
                <= 3 * getattr(fits, f"{name}_se")
            )
        )
        for name in ("a_p", "a_n", "b")
    ]


def test_one_saturated_sample_in_ten_does_not_bias_the_fit() -> None:
    columns = synthetic_columns(columns=1000, noise=100.0, seed=2)
    counts = np.minimum(columns.counts, CLIP)
    is_clipped = (counts == CLIP).any(axis=1)
    assert is_clipped.mean() == pytest.approx(0.10, abs=0.01)
    fits, moments = fit_unclipped(counts, columns.expected, clip_code=CLIP)
    assert min(within_three_errors(fits, columns)) >= 0.99
    assert moments.samples.tolist() == (256 - is_clipped.sum(axis=0)).tolist()
    found = np.mean(fits.correction.a_p - columns.a_p) / np.mean(fits.a_p_se)
    assert abs(found) < 4 / np.sqrt(1000)
    plain = fit_columns(ColumnMoments.of(counts, columns.expected))
    assert within_three_errors(plain, columns)[0] < 0.95


def test_counts_lost_below_zero_do_not_bias_the_fit() -> None:
    columns = synthetic_columns(columns=300, noise=50.0, seed=3)
    counts = np.where(columns.counts < 40, 0, columns.counts).astype(np.uint16)
    fits, _ = fit_unclipped(counts, columns.expected, clip_code=1024, drops_zeros=True)
    assert min(within_three_errors(fits, columns)) >= 0.98
    kept_zeros, _ = fit_unclipped(counts, columns.expected, clip_code=1024)
    assert within_three_errors(kept_zeros, columns)[0] < 0.9


def test_zeros_of_a_one_phase_read_are_kept() -> None:
    counts = np.array([[[300], [0]], [[0], [200]], [[0], [0]], [[1024], [0]]], np.uint16)
    assert unclipped_weights(counts, clip_code=1024)[:, 0].tolist() == [1, 1, 1, 0]


def test_the_fit_is_that_of_the_whole_samples_alone() -> None:
    columns = synthetic_columns(columns=1, noise=100.0)
    counts = np.minimum(columns.counts, CLIP)
    kept = (counts[:, :, 0] < CLIP).all(axis=1)
    p, n = counts[kept, :, 0].T.astype(float)
    design = np.column_stack([p, -n, np.ones(len(p))])
    reference = np.linalg.lstsq(design, columns.expected[kept, 0].astype(float), rcond=None)
    fits, _ = fit_unclipped(counts, columns.expected, clip_code=CLIP)
    found = [fits.correction.a_p[0], fits.correction.a_n[0], fits.correction.b[0]]
    np.testing.assert_allclose(found, reference[0], rtol=1e-9)
    assert fits.residual_rms[0] ** 2 == pytest.approx(reference[1][0] / (len(p) - 3), rel=1e-9)


def test_weights_stream_block_by_block() -> None:
    columns = synthetic_columns(columns=4)
    merged = ColumnMoments.empty(4)
    for block in (slice(0, 100), slice(100, 256)):
        counts = columns.counts[block]
        weights = unclipped_weights(counts, clip_code=CLIP)
        merged = merged.merge(ColumnMoments.of(counts, columns.expected[block], weights=weights))
    _, whole = fit_unclipped(columns.counts, columns.expected, clip_code=CLIP)
    np.testing.assert_allclose(merged.products, whole.products, rtol=1e-10)
    assert merged.samples.tolist() == whole.samples.tolist()


@pytest.mark.parametrize("whole", [0, 1, 3])
def test_a_column_with_too_few_whole_samples_explains_nothing(whole: int) -> None:
    columns = synthetic_columns(columns=2, vectors=50)
    counts = columns.counts.copy()
    counts[whole:, 0, 1] = 1023
    fits, _ = fit_unclipped(counts, columns.expected, clip_code=1023)
    assert (fits.correction.a_p[1], fits.correction.a_n[1], fits.r_squared[1]) == (0, 0, 0)
    assert fits.r_squared[0] > 0.99


def test_a_clip_code_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="clip_code = 0: must be at least 1"):
        unclipped_weights(np.zeros((4, 2, 1), np.uint16), clip_code=0)
