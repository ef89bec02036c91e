"""What is left of a core's readouts without clipped counts and glitches, where there are any."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil_calibration.clipped_fit import unclipped_weights
from hil_calibration.fit import fit_columns
from hil_calibration.glitch_suspects import suspicious_columns
from hil_calibration.moments import ColumnMoments
from hil_calibration.quality import QualityLimits, is_glitchy_fit
from hil_calibration.robust_fit import fit_robust

FEWEST_WHOLE_SAMPLES = 32
"""Samples without a clip or glitch that a column needs to be fitted from those alone."""
MOST_GLITCHES = 0.25
"""Share of a column's samples that may be glitches. With more, the robust fit's random starts begin
to miss the line in more than 1 of 100 columns, and near one half no fit can tell the line from the
glitches at all: its breakdown point (Rousseeuw and Leroy, "Robust Regression and Outlier
Detection", Wiley 1987, chapter 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeSamples:
    """What is left of the readouts without clipped samples and glitches."""

    moments: ColumnMoments
    """Running sums, those of spoiled columns over their whole samples alone."""
    counts: npt.NDArray[np.uint16]
    """Sample of calibration readouts, shape (vector, polarity, column); in a spoiled column its
    whole samples, repeated to the same number."""
    expected: npt.NDArray[np.int32]
    """Their expected outputs, shape (vector, column), product units."""
    is_glitchy: npt.NDArray[np.bool_]
    """Which columns have glitches, shape (column,)."""
    is_hopeless: npt.NDArray[np.bool_]
    """Which of them have more than `MOST_GLITCHES`: no sample of theirs is left out, and no fit of
    theirs is to be believed."""
    glitch_share: npt.NDArray[np.float64]
    """Share of the sample that a robust fit leaves out, shape (column,); 0 where none was made."""
    hopeless_rms: npt.NDArray[np.float64]
    """Standard deviation of the hopeless columns' better samples about their line, product units;
    NaN elsewhere, shape (column,)."""


def leave_out_clips_and_glitches(
    moments: ColumnMoments,
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.int32],
    *,
    is_saturated: npt.NDArray[np.bool_],
    clip_code: int,
    limits: QualityLimits,
) -> WholeSamples:
    """Replace the sums of bad columns by those of their good samples; leave all others alone.

    Parameters
    ----------
    moments
        Running sums of all calibration vectors.
    counts, expected
        A sample of the calibration readouts (vector, polarity, column) and its expected outputs
        (vector, column), product units.
    is_saturated
        Columns in which clipped samples are left out, shape (column,).
    clip_code
        Lowest code that is a clipped one.
    limits
        Where a column is glitchy.
    """
    found = _find_glitches(
        counts, expected, is_saturated=is_saturated, clip_code=clip_code, limits=limits
    )
    samples = found.is_whole.sum(axis=0)
    spoiled = np.flatnonzero((samples < len(counts)) & (samples >= FEWEST_WHOLE_SAMPLES))
    if spoiled.size:
        weights = found.is_whole[:, spoiled].astype(float)
        good = ColumnMoments.of(counts[:, :, spoiled], expected[:, spoiled], weights=weights)
        moments = moments.with_columns(spoiled, good)
        # The neighbour search takes no weights: whole samples stand in for those left out.
        counts, expected = counts.copy(), expected.copy()
    for column in spoiled:
        chosen = np.resize(np.flatnonzero(found.is_whole[:, column]), len(counts))
        counts[:, :, column] = counts[chosen, :, column]
        expected[:, column] = expected[chosen, column]
    return WholeSamples(
        moments=moments,
        counts=counts,
        expected=expected,
        is_glitchy=found.is_glitchy,
        is_hopeless=found.is_hopeless,
        glitch_share=found.glitch_share,
        hopeless_rms=found.hopeless_rms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glitches:
    is_whole: npt.NDArray[np.bool_]
    """Samples to fit from, shape (vector, column)."""
    is_glitchy: npt.NDArray[np.bool_]
    is_hopeless: npt.NDArray[np.bool_]
    glitch_share: npt.NDArray[np.float64]
    hopeless_rms: npt.NDArray[np.float64]


def _find_glitches(
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.int32],
    *,
    is_saturated: npt.NDArray[np.bool_],
    clip_code: int,
    limits: QualityLimits,
) -> _Glitches:
    is_glitchy, is_hopeless = np.zeros((2, expected.shape[1]), dtype=np.bool_)
    share, hopeless_rms = np.zeros(expected.shape[1]), np.full(expected.shape[1], np.nan)
    is_whole = np.ones(expected.shape, dtype=np.bool_)
    suspects = np.empty(0, dtype=np.intp)
    if len(counts) >= FEWEST_WHOLE_SAMPLES:
        is_whole = (unclipped_weights(counts, clip_code=clip_code) > 0) | ~is_saturated
        given = is_whole.astype(float)
        plain = fit_columns(ColumnMoments.of(counts, expected, weights=given))
        suspects = suspicious_columns(counts, expected, plain.correction, weights=given)
        # Where hardly a sample is whole, there is nothing to tell a glitch from.
        suspects = suspects[is_whole[:, suspects].sum(axis=0) >= FEWEST_WHOLE_SAMPLES]
    if suspects.size:
        whole = is_whole[:, suspects]
        robust = fit_robust(
            counts[:, :, suspects], expected[:, suspects], weights=whole.astype(float)
        )
        is_bad = is_glitchy_fit(plain.select(suspects), robust, limits)
        is_lost = is_bad & ((~robust.is_kept).sum(axis=0) > MOST_GLITCHES * whole.sum(axis=0))
        is_glitchy[suspects], is_hopeless[suspects] = is_bad, is_lost
        share[suspects] = robust.outlier_share
        hopeless_rms[suspects] = np.where(is_lost, robust.scale, np.nan)
        is_whole[:, suspects] &= robust.is_kept | ~is_bad | is_lost
    return _Glitches(
        is_whole=is_whole,
        is_glitchy=is_glitchy,
        is_hopeless=is_hopeless,
        glitch_share=share,
        hopeless_rms=hopeless_rms,
    )
