"""What is left of a core's readouts without clipped counts and glitches, where there are any."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hil_calibration.clipped_fit import unclipped_weights
from hil_calibration.fit import ColumnFits, fit_columns
from hil_calibration.glitch_suspects import suspicious_columns
from hil_calibration.moments import ColumnMoments
from hil_calibration.noise_by_level import noise_by_level
from hil_calibration.quality import QualityLimits, is_glitchy_fit
from hil_calibration.robust_fit import (
    REJECTED_SIGMAS,
    RobustFits,
    fit_robust,
    residual_scale,
)

FEWEST_WHOLE_SAMPLES = 32
"""Samples without a clip or glitch that a column needs to be fitted from those alone."""
MOST_GLITCHES = 0.25
"""Share of a column's samples that may be glitches. With more, the robust fit's random starts begin
to miss the line in more than 1 of 100 columns, and near one half no fit can tell the line from the
glitches at all: its breakdown point (Rousseeuw and Leroy, "Robust Regression and Outlier
Detection", Wiley 1987, chapter 3)."""

WORSE_THAN_SAMPLE = 1.25
"""Residual of the fit to all vectors, in those of the fit to the sample, from which vectors beyond
the sample are taken for glitches. That of 512 Gaussian samples is good to 3 %."""

APART_AND_WORSE = 1.1
"""The same where the fit to all vectors is also standard errors away from that to the sample."""


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
    """Which columns have glitches, in the sample or only beyond it, shape (column,)."""
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

    Only the sample is looked at one by one. A column whose fit to all vectors is far worse than, or
    far from, that to the sample has glitches beyond it: its sums become those of the sample.

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
    is_spoiled = samples < len(counts)
    is_late = np.zeros_like(is_spoiled)
    if moments.vectors > len(counts):
        is_late = _worse_than_sample(moments, found.sample, limits) & ~is_spoiled & ~is_saturated
        is_spoiled |= is_late | is_saturated
    spoiled = np.flatnonzero(is_spoiled & (samples >= FEWEST_WHOLE_SAMPLES))
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
        is_glitchy=found.is_glitchy | is_late,
        is_hopeless=found.is_hopeless,
        glitch_share=found.glitch_share,
        hopeless_rms=found.hopeless_rms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glitches:
    is_whole: npt.NDArray[np.bool_]
    """Samples to fit from, shape (vector, column)."""
    sample: ColumnFits | None
    """Plain fit of the sample without clips; None where it is too small."""
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
    plain = None
    if len(counts) >= FEWEST_WHOLE_SAMPLES:
        is_whole = (unclipped_weights(counts, clip_code=clip_code) > 0) | ~is_saturated
        given = is_whole.astype(float)
        plain = fit_columns(ColumnMoments.of(counts, expected, weights=given))
        suspects = suspicious_columns(counts, expected, plain.correction, weights=given)
        # Where hardly a sample is whole, there is nothing to tell a glitch from.
        suspects = suspects[is_whole[:, suspects].sum(axis=0) >= FEWEST_WHOLE_SAMPLES]
    if plain is not None and suspects.size:
        whole = is_whole[:, suspects]
        robust = fit_robust(
            counts[:, :, suspects], expected[:, suspects], weights=whole.astype(float)
        )
        within = _scatter_of_vectors(counts, expected, is_whole, plain=plain, robust=robust,
                                     suspects=suspects)  # fmt: skip
        robust = replace(robust, is_kept=robust.is_kept | within)
        is_bad = is_glitchy_fit(plain.select(suspects), robust, limits)
        is_lost = is_bad & ((~robust.is_kept).sum(axis=0) > MOST_GLITCHES * whole.sum(axis=0))
        is_glitchy[suspects], is_hopeless[suspects] = is_bad, is_lost
        share[suspects] = robust.outlier_share
        hopeless_rms[suspects] = np.where(is_lost, robust.scale, np.nan)
        is_whole[:, suspects] &= robust.is_kept | ~is_bad | is_lost
    return _Glitches(
        is_whole=is_whole,
        sample=plain,
        is_glitchy=is_glitchy,
        is_hopeless=is_hopeless,
        glitch_share=share,
        hopeless_rms=hopeless_rms,
    )


def _scatter_of_vectors(
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.int32],
    is_whole: npt.NDArray[np.bool_],
    *,
    plain: ColumnFits,
    robust: RobustFits,
    suspects: npt.NDArray[np.intp],
) -> npt.NDArray[np.bool_]:
    """Tell which samples of the suspects are within what all columns scatter at their level."""
    residual = expected - plain.correction.apply(counts)
    scale = residual_scale(residual, is_whole, expected, plain.correction)
    line = robust.fits.correction
    residual[:, suspects] = expected[:, suspects] - line.apply(counts[:, :, suspects])
    scale[suspects] = robust.scale
    noise = noise_by_level(residual, scale, expected, is_whole)
    bound = REJECTED_SIGMAS * noise[:, None] * robust.scale
    return np.asarray(np.abs(residual[:, suspects]) <= bound)


def _worse_than_sample(
    moments: ColumnMoments, sample: ColumnFits | None, limits: QualityLimits
) -> npt.NDArray[np.bool_]:
    """Tell in which columns the fit to all vectors is far worse than that to the sample.

    Glitches that began after the sample are seen in nothing else: no other vector is looked at.
    """
    found = np.zeros(moments.mean.shape[1], dtype=np.bool_)
    if sample is None or not np.array_equal(moments.weight, moments.samples):
        return found  # what is weighted scatters otherwise than the sample
    whole = fit_columns(moments)
    worse = whole.residual_rms / np.where(sample.residual_rms > 0, sample.residual_rms, np.inf)
    for name in ("a_p", "a_n", "b"):
        apart = np.abs(getattr(whole.correction, name) - getattr(sample.correction, name))
        found |= apart > limits.glitch_sigmas * getattr(sample, f"{name}_se")
    # A gain that drifts within the step moves the fit as well, but adds hardly to its residual.
    return (found & (worse > APART_AND_WORSE)) | (worse > WORSE_THAN_SAMPLE)
