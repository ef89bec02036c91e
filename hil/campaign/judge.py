"""Steps that fit nothing: they judge a correction that is there, or the weights themselves."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hil.campaign.conclude import FitTerms, HeldOut
from hil.campaign.measure import StepBench, load_registers, read_held_out
from hil.campaign.plan import PlannedStep
from hil.core.correction import ColumnFlag, ColumnQuality, Correction
from hil.core.errors import CalibrationError
from hil.core.legible import shown_beside
from hil_calibration.fit import fit_global_gain
from hil_calibration.moments import ColumnMoments
from hil_calibration.noise import CodeNoise, find_repeats, measure_noise
from hil_calibration.quality import is_calibrated, measure_quality
from hil_calibration.quantize import Quantized, quantize, smallest_output_lsb
from hil_calibration.verify import column_rms, correct_all_ways, errors_by_correction
from hil_datasets.step import StepConclusion, StepKind


def judge_step(
    step: PlannedStep, bench: StepBench, judged: StepConclusion | None
) -> StepConclusion:
    """Take one step that fits nothing.

    Parameters
    ----------
    step, bench
        The step, and what it works with.
    judged
        The calibration whose correction it judges; without one it is one gain for the whole core.

    Raises
    ------
    CalibrationError
        If a programmed core does not hold its weights, or the readouts allow not even one gain.
    DeviceError, TransportError, FrameError
        If the device refuses, is lost, or answers nonsense.
    """
    if judged is not None and step.uses_nmpu and bench.config.device.has_nmpu:
        load_registers(step, bench, judged.fmt, judged.registers)
    conclusion = conclude_judged(step, bench.terms, judged, read_held_out(step, bench))
    if step.key.kind is StepKind.PROGRAM:
        _check_weights(conclusion, bench)
    return conclusion


def _check_weights(conclusion: StepConclusion, bench: StepBench) -> None:
    steps = bench.config.steps
    error = conclusion.errors_all_columns["uncorrected"]
    if steps is None or steps.program is None or error <= steps.program.error_limit:
        return
    limit = steps.program.error_limit
    raise CalibrationError(
        f"the core does not hold its weights: the products after one gain are "
        f"{shown_beside(error, limit)} off, more than steps.program.error_limit, {limit!r}"
    )


def conclude_judged(
    step: PlannedStep, terms: FitTerms, judged: StepConclusion | None, held_out: HeldOut
) -> StepConclusion:
    """Return the conclusion of a calibration, with the errors of these readouts in it.

    Parameters
    ----------
    step, terms
        The step, and how its campaign fits.
    judged
        The calibration; without one it is one gain for the whole core.
    held_out
        The step's readouts.

    Raises
    ------
    CalibrationError
        If the readouts allow not even one gain.
    """
    judged = _one_gain(step, terms, held_out) if judged is None else judged
    expected = held_out.expected / judged.output_lsb
    outputs = correct_all_ways(
        held_out.counts,
        global_gain=judged.global_gain,
        correction=judged.correction,
        fmt=judged.fmt,
        registers=judged.registers,
    )
    in_use = _columns_in_use(step, held_out)
    mismatches = None if held_out.outputs is None else int((held_out.outputs != outputs.nmpu).sum())
    return replace(
        judged,
        outputs=held_out.outputs,
        quality=_quality(step, terms, judged, held_out),
        column_rms=column_rms(outputs, expected),
        nmpu_mismatches=mismatches,
        errors=errors_by_correction(outputs, expected, is_calibrated(judged.flags)),
        errors_all_columns=errors_by_correction(outputs, expected, in_use),
    )


def _quality(
    step: PlannedStep, terms: FitTerms, judged: StepConclusion, held_out: HeldOut
) -> ColumnQuality:
    columns = held_out.counts.shape[2]
    of_fit = judged.quality
    return measure_quality(
        held_out.counts,
        held_out.expected / judged.output_lsb,
        judged.correction,
        clip_code=terms.clip_code,
        noise=_noise(step, held_out),
        condition=np.full(columns, np.inf) if of_fit is None else of_fit.condition,
        glitch_share=np.zeros(columns) if of_fit is None else of_fit.glitch_share,
    )


def _noise(step: PlannedStep, held_out: HeldOut) -> CodeNoise | None:
    counts = held_out.counts
    if step.repeats > 1:  # all vectors in turn, again and again
        turns = counts.reshape(step.repeats, -1, *counts.shape[1:])
        return measure_noise(turns.transpose(1, 0, 2, 3))
    repeats = find_repeats(step.work.inputs, counts)
    return None if repeats is None else measure_noise(repeats)


def _columns_in_use(step: PlannedStep, held_out: HeldOut) -> npt.NDArray[np.bool_]:
    return np.arange(held_out.counts.shape[2]) < step.work.columns_used


def _one_gain(step: PlannedStep, terms: FitTerms, held_out: HeldOut) -> StepConclusion:
    """Return what one gain for the whole core makes of readouts, as a conclusion."""
    counts = held_out.counts
    used = _columns_in_use(step, held_out)
    moments = ColumnMoments.of(counts, held_out.expected)
    gain = fit_global_gain(moments, used)
    fmt, headroom = terms.fmt, terms.headroom
    output_lsb = max(
        float(np.abs(held_out.expected).max()) / fmt.highest_output,
        smallest_output_lsb(abs(gain), fmt, headroom),
    )
    if output_lsb == 0:
        raise CalibrationError("every expected output is 0: nothing shows what the core holds")
    gains = np.where(used, gain / output_lsb, 0.0)
    correction = Correction(a_p=gains, a_n=gains, b=np.zeros(len(gains)))
    quantized = quantize(
        correction,
        fmt,
        is_calibrated=used,
        counts=counts,
        expected=correction.apply(counts),
        headroom=headroom,
    )
    return _unfitted(
        correction,
        quantized,
        output_lsb=output_lsb,
        global_gain=gain / output_lsb,
        flags=np.where(used, 0, ColumnFlag.UNUSED).astype(np.uint16),
    )


def _unfitted(
    correction: Correction,
    quantized: Quantized,
    *,
    output_lsb: float,
    global_gain: float,
    flags: npt.NDArray[np.uint16],
) -> StepConclusion:
    """Return a conclusion without what only a fit knows: errors, residuals, clipped counts."""
    none = np.zeros(len(flags))
    return StepConclusion(
        output_lsb=output_lsb,
        global_gain=global_gain,
        correction=correction,
        a_p_se=none,
        a_n_se=none,
        b_se=none,
        residual_rms=none,
        r_squared=none,
        saturated_counts=none.astype(np.int64),
        fmt=quantized.fmt,
        registers=quantized.registers,
        flags=flags,
        outputs=None,
        column_rms=np.zeros((0, len(flags))),
        errors={},
        nmpu_mismatches=None,
        errors_all_columns={},
    )
