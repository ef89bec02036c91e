"""The whole calibration of one core in one read mode: fit, judge, choose the output step, quantise.

Everything is fitted in *product units* (the integer sum of input code times weight code) and then
expressed in output LSB, whose size is chosen here so that the expected outputs fill the output
register, the largest gain still fits the scale register, and the largest offset, if that is not
too dear, the offset register.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.correction import ColumnFlag, Correction
from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.clipped_fit import unclipped_weights
from hil_calibration.fit import (
    fit_columns,
    fit_global_gain,
    without_loose_gains,
    without_mixed_signs,
)
from hil_calibration.moments import ColumnMoments
from hil_calibration.quality import QualityLimits, flag_columns, is_calibrated, is_glitchy_fit
from hil_calibration.quantize import quantize, smallest_output_lsb
from hil_calibration.robust_fit import fit_robust, suspicious_columns

OFFSET_COARSENING = 4.0
"""Most that an offset may coarsen the output step; it serves one column and costs all of them."""
OFFSET_ROOM_CODES = 2
"""Codes kept free at both ends of the offset register, for fitting it again with rounded scales."""
SEARCH_VECTORS = 512
"""Calibration vectors that the neighbour search and the search for glitches look at; more change
hardly a code."""
FEWEST_WHOLE_SAMPLES = 32
"""Samples without a clip or glitch that a column needs to be fitted from those alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreCalibration:
    """All that calibrating one core in one read mode found; arrays of shape (column,)."""

    output_lsb: float
    """Size of one output code, in product units."""
    global_gain: float
    """The one gain of the uncorrected baseline, output LSB per count."""
    correction: Correction
    """Real-valued correction, output LSB."""
    a_p_se: npt.NDArray[np.float64]
    """Standard error of ``a_p``, output LSB per count."""
    a_n_se: npt.NDArray[np.float64]
    """Standard error of ``a_n``, output LSB per count."""
    b_se: npt.NDArray[np.float64]
    """Standard error of ``b``, output LSB."""
    residual_rms: npt.NDArray[np.float64]
    """Residual of the fit, output LSB."""
    r_squared: npt.NDArray[np.float64]
    """Share of the expected output's variance that the fit explains."""
    saturated_counts: npt.NDArray[np.int64]
    """Clipped counts of the calibration vectors, P and N together."""
    flags: npt.NDArray[np.uint16]
    """`ColumnFlag` bit fields."""
    fmt: NmpuFormat
    """NMPU format with the tile's shift."""
    registers: NmpuRegisters
    """NMPU register codes."""

    def __post_init__(self) -> None:
        for name in (
            "a_p_se", "a_n_se", "b_se", "residual_rms", "r_squared", "saturated_counts", "flags"
        ):  # fmt: skip
            object.__setattr__(self, name, read_only(getattr(self, name)))


def calibrate_core(
    moments: ColumnMoments,
    *,
    fmt: NmpuFormat,
    saturated_counts: npt.NDArray[np.int64],
    sample_counts: npt.NDArray[np.uint16],
    sample_expected: npt.NDArray[np.int32],
    largest_expected: float,
    headroom: float = 1.5,
    limits: QualityLimits | None = None,
    clip_code: int | None = None,
) -> CoreCalibration:
    """Calibrate one core in one read mode.

    A column with clipped counts or glitches is fitted from the samples without them alone.

    Parameters
    ----------
    moments
        Running sums of counts and expected outputs (product units) of the calibration vectors.
    fmt
        NMPU format; its shift is chosen here.
    saturated_counts
        Clipped counts per column, shape (column,).
    sample_counts, sample_expected
        Calibration readouts (vector, polarity, column) and expected outputs (vector, column),
        product units, for the neighbour search and the search for clips and glitches.
    largest_expected
        Largest magnitude of an expected output, product units.
    headroom
        Factor left in the scale registers for drift, 1 <= headroom.
    limits
        Where a column stops being like the others.
    clip_code
        Lowest code that is a clipped one; ``2**fmt.in_bits`` where None.

    Raises
    ------
    CalibrationError
        If there are too few vectors, the expected outputs never change, no column responds, or
        the format cannot hold the gains.
    """
    limits = limits or QualityLimits()
    whole = _leave_out_clips_and_glitches(
        moments,
        sample_counts,
        sample_expected,
        is_saturated=saturated_counts > limits.saturated_share * 2 * moments.vectors,
        clip_code=1 << fmt.in_bits if clip_code is None else clip_code,
        limits=limits,
    )
    moments = whole.moments
    fits = fit_columns(moments, one_scale=fmt.shared_scale)
    fits = without_loose_gains(fits, moments, largest_condition=limits.largest_condition)
    fits, is_mixed = without_mixed_signs(fits, moments)
    flags = flag_columns(moments, fits, saturated_counts, limits)
    is_live = is_calibrated(flags)
    _require_response(flags, is_live)
    flags[is_mixed & is_live] |= np.uint16(ColumnFlag.MIXED_SIGN)
    flags[whole.is_glitchy & is_live] |= np.uint16(ColumnFlag.GLITCHY)
    fitted = Correction(
        **{
            name: np.where(is_live, getattr(fits.correction, name), 0.0)
            for name in ("a_p", "a_n", "b")
        }
    )
    output_lsb = _output_lsb(fitted, fmt, largest_expected=largest_expected, headroom=headroom)
    correction = Correction(
        a_p=fitted.a_p / output_lsb, a_n=fitted.a_n / output_lsb, b=fitted.b / output_lsb
    )
    quantized = quantize(
        correction,
        fmt,
        is_calibrated=is_live,
        counts=whole.counts,
        expected=whole.expected / output_lsb,
        headroom=headroom,
    )
    flags[quantized.is_offset_clipped] |= np.uint16(ColumnFlag.OFFSET_CLIPPED)
    return CoreCalibration(
        output_lsb=output_lsb,
        global_gain=fit_global_gain(moments, is_live) / output_lsb,
        correction=correction,
        a_p_se=fits.a_p_se / output_lsb,
        a_n_se=fits.a_n_se / output_lsb,
        b_se=fits.b_se / output_lsb,
        residual_rms=fits.residual_rms / output_lsb,
        r_squared=fits.r_squared,
        saturated_counts=saturated_counts,
        flags=flags,
        fmt=quantized.fmt,
        registers=quantized.registers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _WholeSamples:
    """What is left of the readouts without clipped samples and glitches."""

    moments: ColumnMoments
    counts: npt.NDArray[np.uint16]
    expected: npt.NDArray[np.int32]
    is_glitchy: npt.NDArray[np.bool_]


def _leave_out_clips_and_glitches(
    moments: ColumnMoments,
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.int32],
    *,
    is_saturated: npt.NDArray[np.bool_],
    clip_code: int,
    limits: QualityLimits,
) -> _WholeSamples:
    """Replace the sums of bad columns by those of their good samples; leave all others alone."""
    is_whole, is_glitchy = _find_whole_samples(
        counts, expected, is_saturated=is_saturated, clip_code=clip_code, limits=limits
    )
    samples = is_whole.sum(axis=0)
    spoiled = np.flatnonzero((samples < len(counts)) & (samples >= FEWEST_WHOLE_SAMPLES))
    if not spoiled.size:
        return _WholeSamples(
            moments=moments, counts=counts, expected=expected, is_glitchy=is_glitchy
        )
    weights = is_whole[:, spoiled].astype(float)
    good = ColumnMoments.of(counts[:, :, spoiled], expected[:, spoiled], weights=weights)
    # The neighbour search takes no weights: whole samples stand in for those left out.
    counts, expected = counts.copy(), expected.copy()
    for column in spoiled:
        chosen = np.resize(np.flatnonzero(is_whole[:, column]), len(counts))
        counts[:, :, column] = counts[chosen, :, column]
        expected[:, column] = expected[chosen, column]
    return _WholeSamples(
        moments=moments.with_columns(spoiled, good),
        counts=counts,
        expected=expected,
        is_glitchy=is_glitchy,
    )


def _find_whole_samples(
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.int32],
    *,
    is_saturated: npt.NDArray[np.bool_],
    clip_code: int,
    limits: QualityLimits,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the samples to fit from, (vector, column), and the glitchy columns, (column,)."""
    is_glitchy = np.zeros(expected.shape[1], dtype=np.bool_)
    if len(counts) < FEWEST_WHOLE_SAMPLES:
        return np.ones(expected.shape, dtype=np.bool_), is_glitchy
    is_whole = (unclipped_weights(counts, clip_code=clip_code) > 0) | ~is_saturated
    plain = fit_columns(ColumnMoments.of(counts, expected, weights=is_whole.astype(float)))
    suspects = suspicious_columns(counts, expected, plain.correction)
    # Where hardly a sample is whole, there is nothing to tell a glitch from.
    suspects = suspects[is_whole[:, suspects].sum(axis=0) >= FEWEST_WHOLE_SAMPLES]
    if suspects.size:
        robust = fit_robust(
            counts[:, :, suspects],
            expected[:, suspects],
            weights=is_whole[:, suspects].astype(float),
        )
        is_bad = is_glitchy_fit(plain.select(suspects), robust, limits)
        is_glitchy[suspects] = is_bad
        is_whole[:, suspects] &= robust.is_kept | ~is_bad
    return is_whole, is_glitchy


def _require_response(flags: npt.NDArray[np.uint16], is_live: npt.NDArray[np.bool_]) -> None:
    if is_live.any():
        return
    if ((flags & np.uint16(ColumnFlag.UNUSED)) > 0).all():
        raise CalibrationError(
            "no column responds to its inputs, and none should: every expected output is constant; "
            "drive inputs that differ from vector to vector, and program weights that are not all 0"
        )
    raise CalibrationError(
        "no column responds to its inputs: no fit explains more of the expected output than noise "
        "would; check that the weights were programmed and the inputs are driven"
    )


def _output_lsb(
    correction: Correction, fmt: NmpuFormat, *, largest_expected: float, headroom: float
) -> float:
    """Return the finest output step that holds the outputs, the gains and, if it can, the offsets.

    The correction is in product units, and so is the result.
    """
    gain = float(np.maximum(abs(correction.a_p), abs(correction.a_n)).max())
    for_outputs = largest_expected / fmt.highest_output
    needed = max(for_outputs, smallest_output_lsb(gain, fmt, headroom))
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        # A coarser step is answered by a larger shift, which takes the same from the offset.
        return needed
    register = fmt.offset_format
    room = OFFSET_ROOM_CODES * register.step
    for_offsets = np.maximum(
        correction.b / max(register.highest - room, register.step),
        correction.b / min(register.lowest + room, -register.step),
    )
    return max(needed, min(float(for_offsets.max()), OFFSET_COARSENING * for_outputs))
