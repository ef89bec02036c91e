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
from hil_calibration.fit import (
    ColumnFits,
    fit_columns,
    fit_global_gain,
    without_loose_gains,
    without_mixed_signs,
)
from hil_calibration.held_columns import require_format_of_most
from hil_calibration.moments import ColumnMoments
from hil_calibration.quality import QualityLimits, flag_columns, is_calibrated
from hil_calibration.quantize import Quantized, quantize, smallest_output_lsb
from hil_calibration.whole_samples import (
    MOST_GLITCHES,
    WholeSamples,
    leave_out_clips_and_glitches,
)

OFFSET_COARSENING = 4.0
"""Most that an offset may coarsen the output step; it serves one column and costs all of them."""
OFFSET_ROOM_CODES = 2
"""Codes kept free at both ends of the offset register, for fitting it again with rounded scales."""
SEARCH_VECTORS = 512
"""Calibration vectors that the neighbour search and the search for glitches look at; more change
hardly a code."""


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
    """Residual of the fit, output LSB; of the samples that it was made from."""
    r_squared: npt.NDArray[np.float64]
    """Share of the expected output's variance that the fit explains, in those samples."""
    condition: npt.NDArray[np.float64]
    """Condition number of P and N; infinite where they move together."""
    glitch_share: npt.NDArray[np.float64]
    """Share of the sampled vectors that a robust fit leaves out; 0 where none was needed."""
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
            "a_p_se", "a_n_se", "b_se", "residual_rms", "r_squared", "condition", "glitch_share",
            "saturated_counts", "flags",
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

    A column with clipped counts or glitches is fitted from the samples without them alone, and its
    residual and share explained are those of these samples; `glitch_share` says how many were left
    out. A column with more than `MOST_GLITCHES` of them is not calibrated: it is flagged dead and
    glitchy, and its residual and share explained are those of a plain fit to all its samples.

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
        the format cannot hold most columns: with the smallest format that could.
    """
    limits = limits or QualityLimits()
    whole = leave_out_clips_and_glitches(
        moments,
        sample_counts,
        sample_expected,
        is_saturated=saturated_counts > limits.saturated_share * 2 * moments.vectors,
        clip_code=1 << fmt.in_bits if clip_code is None else clip_code,
        limits=limits,
    )
    judged = _fit_and_judge(whole, saturated_counts, fmt, limits)
    codes = _choose_codes(judged, whole, fmt, largest_expected=largest_expected, headroom=headroom)
    require_format_of_most(
        codes.correction,
        codes.quantized.fmt,
        is_calibrated=judged.is_live,
        counts=sample_counts,
        saturated_share=limits.saturated_share,
        headroom=headroom,
    )
    return _conclude(judged, whole, codes, saturated_counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _JudgedFits:
    fits: ColumnFits
    """In product units per count, bad columns included."""
    correction: Correction
    """The same where a column is good, neutral where it is not."""
    flags: npt.NDArray[np.uint16]
    is_live: npt.NDArray[np.bool_]


def _fit_and_judge(
    whole: WholeSamples,
    saturated_counts: npt.NDArray[np.int64],
    fmt: NmpuFormat,
    limits: QualityLimits,
) -> _JudgedFits:
    moments = whole.moments
    fits = fit_columns(moments, one_scale=fmt.shared_scale)
    fits = without_loose_gains(fits, moments, largest_condition=limits.largest_condition)
    fits, is_mixed = without_mixed_signs(fits, moments)
    flags = flag_columns(moments, fits, saturated_counts, limits, hopeless_rms=whole.hopeless_rms)
    # Nobody knows which of its samples are the good ones.
    is_unused = (flags & np.uint16(ColumnFlag.UNUSED)) > 0
    flags[whole.is_hopeless & ~is_unused] |= np.uint16(ColumnFlag.DEAD | ColumnFlag.GLITCHY)
    is_live = is_calibrated(flags)
    _require_response(flags, is_live)
    flags[is_mixed & is_live] |= np.uint16(ColumnFlag.MIXED_SIGN)
    flags[whole.is_glitchy & is_live] |= np.uint16(ColumnFlag.GLITCHY)
    gains = {
        name: np.where(is_live, getattr(fits.correction, name), 0.0) for name in ("a_p", "a_n", "b")
    }
    return _JudgedFits(fits=fits, correction=Correction(**gains), flags=flags, is_live=is_live)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codes:
    output_lsb: float
    correction: Correction
    """In output LSB."""
    quantized: Quantized


def _choose_codes(
    judged: _JudgedFits,
    whole: WholeSamples,
    fmt: NmpuFormat,
    *,
    largest_expected: float,
    headroom: float,
) -> _Codes:
    fitted = judged.correction
    output_lsb = choose_output_lsb(
        fitted, fmt, largest_expected=largest_expected, headroom=headroom
    )
    correction = Correction(
        a_p=fitted.a_p / output_lsb, a_n=fitted.a_n / output_lsb, b=fitted.b / output_lsb
    )
    quantized = quantize(
        correction,
        fmt,
        is_calibrated=judged.is_live,
        counts=whole.counts,
        # Codes as near the real-valued correction as can be: nearer to these few vectors'
        # expected outputs would be nearer to their noise.
        expected=correction.apply(whole.counts),
        headroom=headroom,
    )
    return _Codes(output_lsb=output_lsb, correction=correction, quantized=quantized)


def _conclude(
    judged: _JudgedFits,
    whole: WholeSamples,
    codes: _Codes,
    saturated_counts: npt.NDArray[np.int64],
) -> CoreCalibration:
    output_lsb, quantized = codes.output_lsb, codes.quantized
    fits, flags = judged.fits, judged.flags.copy()
    flags[quantized.is_offset_clipped] |= np.uint16(ColumnFlag.OFFSET_CLIPPED)
    return CoreCalibration(
        output_lsb=output_lsb,
        global_gain=fit_global_gain(whole.moments, judged.is_live) / output_lsb,
        correction=codes.correction,
        a_p_se=fits.a_p_se / output_lsb,
        a_n_se=fits.a_n_se / output_lsb,
        b_se=fits.b_se / output_lsb,
        residual_rms=fits.residual_rms / output_lsb,
        r_squared=fits.r_squared,
        condition=fits.condition,
        glitch_share=whole.glitch_share,
        saturated_counts=saturated_counts,
        flags=flags,
        fmt=quantized.fmt,
        registers=quantized.registers,
    )


def _require_response(flags: npt.NDArray[np.uint16], is_live: npt.NDArray[np.bool_]) -> None:
    if is_live.any():
        return
    if ((flags & np.uint16(ColumnFlag.UNUSED)) > 0).all():
        raise CalibrationError(
            "no column responds to its inputs, and none should: every expected output is constant; "
            "drive inputs that differ from vector to vector, and program weights that are not all 0"
        )
    hopeless = int(((flags & np.uint16(ColumnFlag.GLITCHY)) > 0).sum())
    if hopeless:
        raise CalibrationError(
            f"no column can be calibrated: of {hopeless} columns more than "
            f"{MOST_GLITCHES * 100:.0f} % of the samples are off any one line (glitchy), and the "
            "others respond to no input; check that counts and inputs belong together, and the "
            "readout of the counters"
        )
    raise CalibrationError(
        "no column responds to its inputs: no fit explains more of the expected output than noise "
        "would; check that the weights were programmed and the inputs are driven"
    )


def choose_output_lsb(
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
