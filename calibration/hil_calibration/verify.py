"""What a correction is worth on vectors it has not seen: four corrections on the same counts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.correction import Correction
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.kernels import numba_extra
from hil_calibration.ldpu import LdpuCoefficients, apply_ldpu
from hil_calibration.nmpu import apply_nmpu

CORRECTIONS = ("uncorrected", "float", "fp16", "nmpu")
"""The corrections compared, from none to the one on the chip."""

_WORTH_COMPILED = 1 << 25
"""Counts from which on the compiled units pay, though they take 0.5 s to load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedOutputs:
    """Outputs of each correction for the same readouts, shape (vector, column), output LSB."""

    uncorrected: npt.NDArray[np.float64]
    """One global gain for the whole core, no offset, no rounding."""
    float: npt.NDArray[np.float64]
    """Real-valued correction per column, no rounding."""
    fp16: npt.NDArray[np.int8]
    """FP16 unit, rounded to int8."""
    nmpu: npt.NDArray[np.int8]
    """Integer model of the NMPU."""


def correct_all_ways(
    counts: npt.NDArray[np.uint16],
    *,
    global_gain: float,
    correction: Correction,
    fmt: NmpuFormat,
    registers: NmpuRegisters,
) -> VerifiedOutputs:
    """Correct readouts of shape (vector, polarity, column) in every way that is compared."""
    half, codes = _digital_outputs(counts, correction=correction, fmt=fmt, registers=registers)
    return VerifiedOutputs(
        uncorrected=global_gain * (counts[:, 0].astype(np.float64) - counts[:, 1]),
        float=correction.apply(counts),
        fp16=half,
        nmpu=codes,
    )


def _digital_outputs(
    counts: npt.NDArray[np.uint16],
    *,
    correction: Correction,
    fmt: NmpuFormat,
    registers: NmpuRegisters,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Return the outputs of the FP16 unit and the NMPU; compiled or not, they are the same."""
    p_counts, n_counts = counts[:, 0], counts[:, 1]
    half = LdpuCoefficients.from_correction(correction)
    if counts.size < _WORTH_COMPILED or not numba_extra.is_installed():
        return apply_ldpu(p_counts, n_counts, half), apply_nmpu(p_counts, n_counts, registers, fmt)
    from hil_calibration.kernels.ldpu import apply_ldpu_compiled  # noqa: PLC0415 - imports numba
    from hil_calibration.kernels.nmpu import apply_nmpu_compiled  # noqa: PLC0415

    return (
        apply_ldpu_compiled(p_counts, n_counts, half),
        apply_nmpu_compiled(p_counts, n_counts, registers, fmt),
    )


def relative_l2(
    outputs: npt.NDArray[np.number],
    expected: npt.NDArray[np.number],
    columns: npt.NDArray[np.bool_] | None = None,
) -> float:
    """Compute the mean over vectors of ``||outputs - expected|| / ||expected||``.

    Parameters
    ----------
    outputs, expected
        Shape (vector, column), one unit.
    columns
        Which columns count, shape (column,); all where None.

    Returns
    -------
    Relative error, 0 for perfect; vectors whose expected outputs are all 0 do not count, and
    without any other the result is NaN.

    Source
    ------
    Specification, section 6 (the metric of arXiv 2212.02872).
    """
    if columns is not None:
        outputs, expected = outputs[:, columns], expected[:, columns]
    reference = np.linalg.norm(expected.astype(np.float64), axis=1)
    error = np.linalg.norm(outputs.astype(np.float64) - expected, axis=1)
    counted = reference > 0
    return float(np.mean(error[counted] / reference[counted])) if counted.any() else float("nan")


def column_rms(
    outputs: VerifiedOutputs, expected: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the error of each correction and column, shape (correction, column), output LSB."""
    return np.stack(
        [
            np.sqrt(np.mean(np.square(getattr(outputs, name) - expected), axis=0))
            for name in CORRECTIONS
        ]
    )


def errors_by_correction(
    outputs: VerifiedOutputs,
    expected: npt.NDArray[np.float64],
    columns: npt.NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """Return the relative L2 error of each correction; `expected` in output LSB."""
    return {name: relative_l2(getattr(outputs, name), expected, columns) for name in CORRECTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationCost:
    """What the codes cost on given readouts, against the float correction and the FP16 unit."""

    l2_float: float
    """Relative L2 error of the float correction."""
    l2_fp16: float
    """Relative L2 error of the FP16 unit, int8."""
    l2_nmpu: float
    """Relative L2 error of the NMPU, int8."""
    rms_from_float: npt.NDArray[np.float64]
    """Root mean square of NMPU minus float, shape (column,), output LSB."""
    rms_from_fp16: npt.NDArray[np.float64]
    """Root mean square of NMPU minus FP16 unit, shape (column,), output LSB."""
    largest_from_float: npt.NDArray[np.float64]
    """Largest magnitude of NMPU minus float, shape (column,), output LSB."""
    largest_from_fp16: npt.NDArray[np.int64]
    """Largest magnitude of NMPU minus FP16 unit, shape (column,), output codes."""


def quantization_cost(
    counts: npt.NDArray[np.uint16],
    expected: npt.NDArray[np.float64],
    *,
    correction: Correction,
    fmt: NmpuFormat,
    registers: NmpuRegisters,
) -> QuantizationCost:
    """Measure what register codes cost.

    Parameters
    ----------
    counts
        Counter codes, shape (vector, polarity, column).
    expected
        Expected outputs, shape (vector, column), output LSB.
    correction, fmt, registers
        The real-valued correction, and the codes made from it.
    """
    exact = correction.apply(counts)
    half, codes = _digital_outputs(counts, correction=correction, fmt=fmt, registers=registers)
    from_half = codes.astype(np.int64) - half
    return QuantizationCost(
        l2_float=relative_l2(exact, expected),
        l2_fp16=relative_l2(half, expected),
        l2_nmpu=relative_l2(codes, expected),
        rms_from_float=np.sqrt(np.mean(np.square(codes - exact), axis=0)),
        rms_from_fp16=np.sqrt(np.mean(np.square(from_half.astype(np.float64)), axis=0)),
        largest_from_float=np.abs(codes - exact).max(axis=0),
        largest_from_fp16=np.abs(from_half).max(axis=0),
    )
