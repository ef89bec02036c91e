"""Drift of a programmed core, from probe vectors read now and at the reference age.

Conductances decay, and a correction that was fitted once scales everything wrong. What one number
per column can undo is measured without knowing the weights: the same probe vectors are read again,
and the outputs compared, with their means removed because offsets do not decay.

One factor serves both polarities of a column. Inputs of both signs lead every cell into P and
into N, so the two decay alike; two factors would only carry twice the noise. Where inputs have one
sign, P and N come from different cells, and `refit` tells them apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil_calibration.fit import fit_columns, without_mixed_signs
from hil_calibration.moments import ColumnMoments

FloatColumns = npt.NDArray[np.float64]

FEWEST_PROBES = 4
"""Probe vectors without which a scale has no usable uncertainty."""
LARGEST_SCALE_SE = 0.25
"""Relative standard error of a column's scale above which the column takes the global one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEstimate:
    """How the outputs of a core have changed; arrays of shape (column,)."""

    vectors: int
    """Number of probe vectors."""
    scale: FloatColumns
    """Outputs now over outputs then; the global scale where a column tells nothing."""
    scale_se: FloatColumns
    """Standard error of the scale; infinite where a column tells nothing."""
    is_measured: npt.NDArray[np.bool_]
    """Whether the scale is the column's own."""
    global_scale: float
    """The scale of all columns together."""
    global_scale_se: float
    """Its standard error."""
    dispersion: FloatColumns
    """What the scale does not explain, relative to the outputs now, rms: the unequal decay of the
    cells, which no correction of a column can undo, and the read noise of both readouts."""
    reference_mean: FloatColumns
    """Mean output of the probes then, output LSB."""
    present_mean: FloatColumns
    """Mean output of the probes now, output LSB."""

    def __post_init__(self) -> None:
        for name in (
            "scale", "scale_se", "is_measured", "dispersion", "reference_mean", "present_mean"
        ):  # fmt: skip
            object.__setattr__(self, name, read_only(getattr(self, name)))


def estimate_drift(
    correction: Correction,
    *,
    reference_counts: npt.NDArray[np.uint16],
    present_counts: npt.NDArray[np.uint16],
) -> DriftEstimate:
    """Compare the same probe vectors then and now.

    The scale is ``sum |now - mean(now)| / sum |then - mean(then)|`` over the vectors, of outputs of
    one correction. Sums of magnitudes see what a column delivers, unlike a regression of one
    readout on the other, whose slope noise pulls towards 0.

    Parameters
    ----------
    correction
        The correction in use, which must be the same for both readouts.
    reference_counts, present_counts
        Counts of the same input vectors in the same order, (vector, polarity, column): at the
        reference age, and now.

    Returns
    -------
    Scales with standard errors. Those hold for vectors drawn independently of each other, and mean
    the scale that very many such vectors would show.

    Raises
    ------
    CalibrationError
        If the readouts differ in shape, hold fewer than `FEWEST_PROBES` vectors, or no column
        responds to them.
    """
    if reference_counts.shape != present_counts.shape or reference_counts.ndim != 3:
        raise CalibrationError(
            f"probe readouts of shapes {reference_counts.shape} and {present_counts.shape}: both "
            "must be (vector, polarity, column), of the same vectors"
        )
    vectors = len(reference_counts)
    if vectors < FEWEST_PROBES:
        raise CalibrationError(
            f"{vectors} probe vectors: drift needs at least {FEWEST_PROBES} (a useful number is 64)"
        )
    then, now = correction.apply(reference_counts), correction.apply(present_counts)
    reference_mean, present_mean = then.mean(axis=0), now.mean(axis=0)
    then, now = then - reference_mean, now - present_mean
    scale, scale_se = _ratio_of_sums(np.abs(now), np.abs(then))
    unexplained = _rms(now - scale * then)
    # A silent counter has nothing then. A dead column has noise, as much now as then but another:
    # its scale is near 1, and explains nothing.
    is_measured = (
        (scale > 0) & (scale_se < LARGEST_SCALE_SE * scale) & (unexplained < scale * _rms(then))
    )
    if not is_measured.any():
        raise CalibrationError("no column responds to the probe vectors, or none did before")
    total_now, total_then = (np.abs(part[:, is_measured]).sum(axis=1) for part in (now, then))
    global_scale, global_scale_se = _ratio_of_sums(total_now[:, None], total_then[:, None])
    scale = np.where(is_measured, scale, global_scale)
    dispersion = np.zeros_like(scale)
    np.divide(unexplained, scale * _rms(then), out=dispersion, where=is_measured)
    return DriftEstimate(
        vectors=vectors,
        scale=scale,
        scale_se=np.where(is_measured, scale_se, np.inf),
        is_measured=is_measured,
        global_scale=float(global_scale[0]),
        global_scale_se=float(global_scale_se[0]),
        dispersion=dispersion,
        reference_mean=reference_mean,
        present_mean=present_mean,
    )


def rescale_globally(correction: Correction, estimate: DriftEstimate) -> Correction:
    """Return the correction with every output divided by the global scale."""
    factor = 1 / estimate.global_scale
    return Correction(
        a_p=correction.a_p * factor, a_n=correction.a_n * factor, b=correction.b * factor
    )


def rescale_columns(correction: Correction, estimate: DriftEstimate) -> Correction:
    """Return the correction with each column's gains divided by its scale.

    The offset is set so that the probe vectors have the mean output that they had. The counts'
    own offsets do not decay, so dividing the output as a whole would change it.

    Parameters
    ----------
    correction
        The correction that the estimate was made with.
    estimate
        What has changed since.
    """
    factor = 1 / estimate.scale
    # b stands in the mean output now, so it leaves the sum and comes back divided.
    offset = estimate.reference_mean - factor * (estimate.present_mean - correction.b)
    is_used = (correction.a_p != 0) | (correction.a_n != 0)
    return Correction(
        a_p=correction.a_p * factor,
        a_n=correction.a_n * factor,
        b=np.where(is_used, offset, correction.b),
    )


def refit(correction: Correction, moments: ColumnMoments) -> Correction:
    """Fit the correction again, from readouts of now and expected outputs.

    Parameters
    ----------
    correction
        The correction in use. Columns with both gains 0 are not calibrated and stay so.
    moments
        Sums of counts of now and expected outputs, in output LSB. 256 vectors cost 0.6 % of the
        error, three unknowns over twice the number of vectors.

    Raises
    ------
    CalibrationError
        If there are too few vectors.
    """
    fits, _ = without_mixed_signs(fit_columns(moments), moments)
    is_used = (correction.a_p != 0) | (correction.a_n != 0)
    fitted = fits.correction
    return Correction(
        **{
            name: np.where(is_used, getattr(fitted, name), getattr(correction, name))
            for name in ("a_p", "a_n", "b")
        }
    )


def _rms(deviations: FloatColumns) -> FloatColumns:
    """Return the root mean square over the vectors, shape (column,)."""
    return np.asarray(np.sqrt(np.mean(deviations**2, axis=0)))


def _ratio_of_sums(
    numerator: npt.NDArray[np.float64], denominator: npt.NDArray[np.float64]
) -> tuple[FloatColumns, FloatColumns]:
    """Return the ratio of the sums over vectors, and its standard error; 0 where both are 0.

    Source: W. G. Cochran, "Sampling Techniques", 3rd ed., 1977, section 6.4: the linearised
    variance of a ratio estimate.
    """
    vectors = len(numerator)
    total = denominator.sum(axis=0)
    safe = np.where(total > 0, total, np.inf)
    ratio = numerator.sum(axis=0) / safe
    residual = numerator - ratio * denominator
    error = np.sqrt(vectors / (vectors - 1) * np.sum(residual**2, axis=0)) / safe
    return np.asarray(ratio), np.asarray(error)
