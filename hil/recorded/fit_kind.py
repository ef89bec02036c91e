"""Which fit of `hil_calibration` the stored readouts are fitted with, and the weights it takes.

Fits that weigh single readouts reach the calibration as weighted sums: everything after the sums
(flags, quantisation, judging) is that of every calibration.
"""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from hil.core.errors import CalibrationError
from hil_calibration.fit import fit_columns
from hil_calibration.moments import ColumnMoments
from hil_calibration.noise import (
    FEWEST_PAIRS,
    find_repeats,
    measure_noise,
    noise_weights,
    other_than_noise,
)
from hil_calibration.robust_fit import HUBER_TUNING, fit_huber, residual_scale


class FitKind(StrEnum):
    """How gains and offset of a column are found."""

    LEAST_SQUARES = "least-squares"
    """As a campaign: without clips and glitches in columns that have many of them."""
    WEIGHTED = "weighted"
    """Each readout counts by its noise, which repeated vectors show for each code."""
    HUBER = "huber"
    """Huber's M-estimate: readouts off the line count less the further off they are."""
    ROBUST = "robust"
    """Without the glitches of every column that has any."""
    CLIP_AWARE = "clip-aware"
    """Without the clipped counts of every column that has any."""

    @property
    def settings(self) -> tuple[str, ...]:
        """What it sets in the campaign's own fit, as ``KEY.PATH=VALUE`` texts."""
        return {
            FitKind.ROBUST: ("calibration.glitch_share=0",),
            FitKind.CLIP_AWARE: ("calibration.saturated_share=0",),
        }.get(self, ())

    @property
    def has_weights(self) -> bool:
        """Whether it weighs single readouts, all of which have to be in memory for that."""
        return self in {FitKind.WEIGHTED, FitKind.HUBER}


def noise_weighted(
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.int32],
    *,
    all_inputs: npt.NDArray[np.int8],
    all_counts: npt.NDArray[np.uint16],
) -> ColumnMoments:
    """Return the sums in which each readout counts by its noise.

    Parameters
    ----------
    counts, expected
        Calibration readouts (vector, polarity, column) and their expected outputs
        (vector, column), product units.
    all_inputs, all_counts
        Inputs (vector, row) and counts of every vector of the step: those that came twice show
        the noise, whether they are fitted or held out.

    Raises
    ------
    CalibrationError
        If too few vectors came twice.
    """
    repeats = find_repeats(all_inputs, all_counts)
    if repeats is None:
        raise CalibrationError(
            f"fewer than {FEWEST_PAIRS} pairs of readouts have the same inputs, so its noise is "
            "not known: fit it in another way"
        )
    noise, first = measure_noise(repeats), fit_columns(ColumnMoments.of(counts, expected))
    other_rms = other_than_noise(first.residual_rms, noise, first.correction)
    weights = noise_weights(counts, noise, first.correction, other_rms=other_rms)
    return ColumnMoments.of(counts, expected, weights=weights)


def huber_weighted(
    counts: npt.NDArray[np.uint16], expected: npt.NDArray[np.int32], *, one_scale: bool
) -> ColumnMoments:
    """Return the sums whose least-squares fit is Huber's M-estimate.

    The scale of a column is that of the median residual of its plain fit.

    Parameters
    ----------
    counts, expected
        As for `noise_weighted`.
    one_scale
        Whether P and N must share one gain.
    """
    plain = fit_columns(ColumnMoments.of(counts, expected), one_scale=one_scale).correction
    is_sample = np.ones(expected.shape, dtype=np.bool_)
    scale = residual_scale(expected - plain.apply(counts), is_sample, expected, plain)
    line = fit_huber(counts, expected, scale=scale, one_scale=one_scale).correction
    residual, bound = np.abs(expected - line.apply(counts)), HUBER_TUNING * scale
    return ColumnMoments.of(counts, expected, weights=bound / np.maximum(residual, bound))
