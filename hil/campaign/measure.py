"""A calibration: stream the readouts, fit, quantise, load the registers back, verify, store."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.guards.block_guard import BlockGuard, Unguarded
from hil.campaign.plan import PlannedStep
from hil.campaign.run_clock import StepWatch
from hil.core.correction import ColumnQuality
from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.calibrate import SEARCH_VECTORS, CoreCalibration, calibrate_core
from hil_calibration.exact_moments import ExactMoments
from hil_calibration.expected import expected_outputs
from hil_calibration.nmpu import saturated_inputs
from hil_calibration.noise import find_repeats, measure_noise
from hil_calibration.quality import is_calibrated, measure_quality
from hil_calibration.verify import column_rms, correct_all_ways, errors_by_correction
from hil_datasets.step import StepConclusion
from hil_datasets.step_writer import StepWriter, StoredBlock
from hil_drivers.chip import Chip
from hil_drivers.scpi import ScpiError

IntArray8 = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBench:
    """What a step works with."""

    chip: Chip
    """The chip, already holding the step's weights."""
    writer: StepWriter
    """Where its readouts and conclusions go."""
    config: CampaignConfig
    """How to calibrate."""
    counter_bits: int
    """Width of the chip's counters."""
    on_vectors: Callable[[int], None]
    """Called with the number of vectors read since the last call."""
    watch: StepWatch
    """Notes when each block is read."""
    whole: Callable[[], AbstractContextManager[None]] = nullcontext
    """Encloses what an interruption waits for."""
    guard: BlockGuard = Unguarded()  # noqa: RUF009 - it holds nothing
    """Looks whether what was read can be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Readouts of the vectors held out."""

    counts: npt.NDArray[np.uint16]
    """Shape (vector, polarity, column)."""
    expected: npt.NDArray[np.int32]
    """Shape (vector, column)."""
    outputs: IntArray8 | None
    """What the device's NMPU made of them, shape (vector, column), if it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calibrated:
    calibration: CoreCalibration
    sample_counts: npt.NDArray[np.uint16]
    """The first readouts, (vector, polarity, column), up to `SEARCH_VECTORS`."""


def measure_step(step: PlannedStep, bench: StepBench) -> StepConclusion:
    """Take one step that calibrates.

    Raises
    ------
    CalibrationError
        If the readouts allow no calibration.
    DeviceError, TransportError, FrameError
        If the device refuses, is lost, or answers nonsense.
    """
    calibrated = _calibrate(step, bench)
    calibration = calibrated.calibration
    if bench.config.device.has_nmpu:
        load_registers(step, bench, calibration.fmt, calibration.registers)
    held_out = read_held_out(step, bench)
    quality = _measure_quality(step, bench, calibrated, held_out)
    return _conclude(step, calibration, held_out, quality)


def _calibrate(step: PlannedStep, bench: StepBench) -> _Calibrated:
    config, work = bench.config, step.work
    moments = ExactMoments.empty(work.weights.shape[1])
    saturated = np.zeros(work.weights.shape[1], dtype=np.int64)
    largest = 0.0
    sample_counts, sample_expected = [], []
    for first in range(0, step.calibration_vectors, config.vectors.block):
        stop = min(first + config.vectors.block, step.calibration_vectors)
        block = _take_block(step, bench, first, stop)
        counts, expected = block.counts, block.expected
        moments = moments.merge(ExactMoments.of(counts, expected))
        saturated += saturated_inputs(
            counts, in_bits=config.nmpu.in_bits, counter_bits=bench.counter_bits
        )
        largest = max(largest, float(np.abs(expected).max()))
        if first < SEARCH_VECTORS:
            sample_counts.append(counts[: SEARCH_VECTORS - first])
            sample_expected.append(expected[: SEARCH_VECTORS - first])
    counts = np.concatenate(sample_counts)
    calibration = calibrate_core(
        moments.to_moments(),
        fmt=config.nmpu,
        saturated_counts=saturated,
        sample_counts=counts,
        sample_expected=np.concatenate(sample_expected),
        largest_expected=largest,
        clip_code=clip_code(bench),
        headroom=config.calibration.headroom,
        limits=config.calibration.limits,
    )
    return _Calibrated(calibration=calibration, sample_counts=counts)


def clip_code(bench: StepBench) -> int:
    """Return the lowest count that the NMPU's input clips or the counter could not hold."""
    return min(1 << bench.config.nmpu.in_bits, (1 << bench.counter_bits) - 1)


def load_registers(
    step: PlannedStep, bench: StepBench, fmt: NmpuFormat, registers: NmpuRegisters
) -> None:
    """Load a correction into the device's NMPU and read it back.

    Raises
    ------
    DeviceError
        If what is read back differs, or the device refuses.
    """
    key = step.key
    bench.chip.write_nmpu(key.core, key.read_mode, fmt, registers)
    if bench.chip.read_nmpu(key.core, key.read_mode) != (fmt, registers):
        raise DeviceError(
            ScpiError.DATA_CORRUPT_OR_STALE,
            "the NMPU registers read back differ from those written",
            request=f"registers of core {key.core}, {key.read_mode}",
        )


def read_held_out(step: PlannedStep, bench: StepBench) -> HeldOut:
    """Read the vectors of a step that no fit sees."""
    work = step.work
    all_counts, all_expected, all_outputs = [], [], []
    for first in range(step.calibration_vectors, len(work.inputs), bench.config.vectors.block):
        stop = min(first + bench.config.vectors.block, len(work.inputs))
        block = _take_block(step, bench, first, stop)
        all_counts.append(block.counts)
        all_expected.append(block.expected)
        all_outputs.append(block.outputs)
    known = [outputs for outputs in all_outputs if outputs is not None]
    return HeldOut(
        counts=np.concatenate(all_counts),
        expected=np.concatenate(all_expected),
        outputs=np.concatenate(known) if len(known) == len(all_outputs) else None,
    )


def _take_block(step: PlannedStep, bench: StepBench, first: int, stop: int) -> StoredBlock:
    """Read and store a block, unless it is stored already."""
    if stop <= bench.writer.first_missing:
        return bench.writer.stored_block(first, stop)
    inputs = step.work.inputs[first:stop]
    with bench.whole():
        with bench.watch.block(first):
            if first < step.calibration_vectors:
                outputs = None
                counts = bench.chip.read_counts(step.key.core, step.key.read_mode, inputs)
            else:
                outputs, counts = _read_block(step, bench, inputs)
        expected = expected_outputs(inputs, step.work.weights)
        bench.writer.write_block(
            first,
            inputs=inputs,
            counts=counts,
            expected=expected,
            outputs=outputs,
            times=bench.watch.last_block,
        )
    bench.on_vectors(stop - first)
    bench.guard.after_block(stop)
    return StoredBlock(counts=counts, expected=expected, outputs=outputs)


def _read_block(
    step: PlannedStep, bench: StepBench, inputs: IntArray8
) -> tuple[IntArray8 | None, npt.NDArray[np.uint16]]:
    """Read held-out vectors: the outputs of the device's NMPU if it has one, and the counts.

    There are no outputs either where the device plays a recording, which knows them only for the
    registers it was recorded with.
    """
    key = step.key
    if not (bench.config.device.has_nmpu and step.uses_nmpu):
        return None, bench.chip.read_counts(key.core, key.read_mode, inputs)
    readout = bench.chip.read_corrected_with_counts(key.core, key.read_mode, inputs)
    return readout.outputs, readout.counts


def _measure_quality(
    step: PlannedStep, bench: StepBench, calibrated: _Calibrated, held_out: HeldOut
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
        clip_code=clip_code(bench),
        noise=None if repeats is None else measure_noise(repeats),
        condition=calibration.condition,
        glitch_share=calibration.glitch_share,
    )


def _conclude(
    step: PlannedStep,
    calibration: CoreCalibration,
    held_out: HeldOut,
    quality: ColumnQuality,
) -> StepConclusion:
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
        quality=quality,
        outputs=held_out.outputs,
        column_rms=column_rms(outputs, expected),
        nmpu_mismatches=mismatches,
        errors=errors_by_correction(outputs, expected, is_calibrated(calibration.flags)),
        errors_all_columns=errors_by_correction(outputs, expected, in_use),
    )
