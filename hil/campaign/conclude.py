"""What readouts say, whoever has read them: sums, a fit, and its worth on vectors held out.

Nothing here asks a device: a campaign concludes with it while it measures, and a fit from stored
readouts concludes with it again.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.plan import PlannedStep
from hil.core.correction import ColumnQuality
from hil.core.nmpu_format import NmpuFormat
from hil_calibration.calibrate import CoreCalibration, calibrate_core
from hil_calibration.exact_moments import ExactMoments
from hil_calibration.moments import ColumnMoments
from hil_calibration.nmpu import saturated_inputs
from hil_calibration.noise import find_repeats, measure_noise
from hil_calibration.quality import QualityLimits, is_calibrated, measure_quality
from hil_calibration.verify import column_rms, correct_all_ways, errors_by_correction
from hil_datasets.step import StepConclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class FitTerms:
    """How to fit, and for which registers."""

    fmt: NmpuFormat
    """The NMPU's format, shift 0."""
    counter_bits: int
    """Width of the chip's counters."""
    headroom: float
    """Factor left in the scale registers for drift."""
    limits: QualityLimits
    """Where a column stops being like the others."""

    @classmethod
    def of(cls, config: CampaignConfig, *, counter_bits: int) -> Self:
        """Return the terms of a campaign on a chip."""
        return cls(
            fmt=config.nmpu,
            counter_bits=counter_bits,
            headroom=config.calibration.headroom,
            limits=config.calibration.limits,
        )

    @property
    def clip_code(self) -> int:
        """The lowest count that the NMPU's input clips or the counter could not hold."""
        return min(1 << self.fmt.in_bits, (1 << self.counter_bits) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSums:
    """All that a fit keeps of the calibration vectors; exact, however they were grouped."""

    moments: ExactMoments
    """Sums of counts and expected outputs."""
    saturated_counts: npt.NDArray[np.int64]
    """Clipped counts, shape (column,), P and N together."""
    largest_expected: float = 0.0
    """Largest magnitude of an expected output, product units."""

    @classmethod
    def empty(cls, columns: int) -> Self:
        """Return the sums of no vectors."""
        return cls(
            moments=ExactMoments.empty(columns),
            saturated_counts=np.zeros(columns, dtype=np.int64),
        )

    @classmethod
    def of(
        cls, counts: npt.NDArray[np.uint16], expected: npt.NDArray[np.int32], terms: FitTerms
    ) -> Self:
        """Sum a block: counts (vector, polarity, column), expected outputs (vector, column)."""
        return cls(
            moments=ExactMoments.of(counts, expected),
            saturated_counts=saturated_inputs(
                counts, in_bits=terms.fmt.in_bits, counter_bits=terms.counter_bits
            ),
            largest_expected=float(np.abs(expected).max()),
        )

    def merge(self, other: "FitSums") -> "FitSums":
        """Return the sums of both sets of vectors: associative, commutative, exact."""
        return FitSums(
            moments=self.moments.merge(other.moments),
            saturated_counts=self.saturated_counts + other.saturated_counts,
            largest_expected=max(self.largest_expected, other.largest_expected),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A fit, and the readouts that were looked at one by one."""

    calibration: CoreCalibration
    """What was fitted."""
    sample_counts: npt.NDArray[np.uint16]
    """The first readouts, (vector, polarity, column), up to `SEARCH_VECTORS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Readouts of the vectors held out."""

    counts: npt.NDArray[np.uint16]
    """Shape (vector, polarity, column)."""
    expected: npt.NDArray[np.int32]
    """Shape (vector, column)."""
    outputs: npt.NDArray[np.int8] | None
    """What the device's NMPU made of them, shape (vector, column), if it was asked."""


def fit_sums(
    sums: FitSums,
    sample_counts: npt.NDArray[np.uint16],
    sample_expected: npt.NDArray[np.int32],
    terms: FitTerms,
    *,
    moments: ColumnMoments | None = None,
) -> Calibrated:
    """Fit a core in a read mode.

    Parameters
    ----------
    sums
        Of all calibration vectors.
    sample_counts, sample_expected
        The first of them, up to `SEARCH_VECTORS`: shapes (vector, polarity, column) and
        (vector, column).
    terms
        How to fit.
    moments
        Sums of the same vectors that weigh them; their own where None, each counting the same.

    Raises
    ------
    CalibrationError
        If the readouts allow no calibration.
    """
    calibration = calibrate_core(
        sums.moments.to_moments() if moments is None else moments,
        fmt=terms.fmt,
        saturated_counts=sums.saturated_counts,
        sample_counts=sample_counts,
        sample_expected=sample_expected,
        largest_expected=sums.largest_expected,
        clip_code=terms.clip_code,
        headroom=terms.headroom,
        limits=terms.limits,
    )
    return Calibrated(calibration=calibration, sample_counts=sample_counts)


def conclude_fit(
    step: PlannedStep, terms: FitTerms, calibrated: Calibrated, held_out: HeldOut
) -> StepConclusion:
    """Return what a step that calibrates has found: the fit, judged on vectors it has not seen."""
    calibration = calibrated.calibration
    expected = held_out.expected / calibration.output_lsb
    outputs = correct_all_ways(
        held_out.counts,
        global_gain=calibration.global_gain,
        correction=calibration.correction,
        fmt=calibration.fmt,
        registers=calibration.registers,
    )
    in_use = np.arange(expected.shape[1]) < step.work.columns_used
    mismatches = None if held_out.outputs is None else int((held_out.outputs != outputs.nmpu).sum())
    return StepConclusion(
        output_lsb=calibration.output_lsb,
        global_gain=calibration.global_gain,
        correction=calibration.correction,
        a_p_se=calibration.a_p_se,
        a_n_se=calibration.a_n_se,
        b_se=calibration.b_se,
        residual_rms=calibration.residual_rms,
        r_squared=calibration.r_squared,
        saturated_counts=calibration.saturated_counts,
        fmt=calibration.fmt,
        registers=calibration.registers,
        flags=calibration.flags,
        quality=_measure_quality(step, terms, calibrated, held_out),
        outputs=held_out.outputs,
        column_rms=column_rms(outputs, expected),
        nmpu_mismatches=mismatches,
        errors=errors_by_correction(outputs, expected, is_calibrated(calibration.flags)),
        errors_all_columns=errors_by_correction(outputs, expected, in_use),
    )


def _measure_quality(
    step: PlannedStep, terms: FitTerms, calibrated: Calibrated, held_out: HeldOut
) -> ColumnQuality:
    """Judge the columns on the held-out readouts, and on those of vectors that came twice."""
    calibration, sample = calibrated.calibration, calibrated.sample_counts
    inputs = step.work.inputs
    repeats = find_repeats(
        np.concatenate([inputs[: len(sample)], inputs[step.calibration_vectors :]]),
        np.concatenate([sample, held_out.counts]),
    )
    return measure_quality(
        held_out.counts,
        held_out.expected / calibration.output_lsb,
        calibration.correction,
        clip_code=terms.clip_code,
        noise=None if repeats is None else measure_noise(repeats),
        condition=calibration.condition,
        glitch_share=calibration.glitch_share,
    )
