"""A calibration: stream the readouts, fit, quantise, load the registers back, verify, store."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.campaign.conclude import (
    Calibrated,
    FitSums,
    FitTerms,
    HeldOut,
    conclude_fit,
    fit_sums,
)
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.guards.block_guard import BlockGuard, Unguarded
from hil.campaign.plan import PlannedStep
from hil.campaign.run_clock import StepWatch
from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.calibrate import SEARCH_VECTORS
from hil_calibration.expected import expected_outputs
from hil_datasets.step import StepConclusion
from hil_datasets.step_files.writer import StepWriter, StoredBlock
from hil_drivers.chip import HARDWARE_MISSING, Chip
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

    @property
    def terms(self) -> FitTerms:
        """How to fit what is read here."""
        return FitTerms.of(self.config, counter_bits=self.counter_bits)


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
    if bench.config.device.has_nmpu:
        calibration = calibrated.calibration
        load_registers(step, bench, calibration.fmt, calibration.registers)
    return conclude_fit(step, bench.terms, calibrated, read_held_out(step, bench))


def _calibrate(step: PlannedStep, bench: StepBench) -> Calibrated:
    config, terms = bench.config, bench.terms
    sums = FitSums.empty(step.work.weights.shape[1])
    sample_counts, sample_expected = [], []
    for first in range(0, step.calibration_vectors, config.vectors.block):
        stop = min(first + config.vectors.block, step.calibration_vectors)
        block = _take_block(step, bench, first, stop)
        counts, expected = block.counts, block.expected
        sums = sums.merge(FitSums.of(counts, expected, terms))
        if first < SEARCH_VECTORS:
            sample_counts.append(counts[: SEARCH_VECTORS - first])
            sample_expected.append(expected[: SEARCH_VECTORS - first])
    return fit_sums(sums, np.concatenate(sample_counts), np.concatenate(sample_expected), terms)


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
    try:
        bench.chip.write_nmpu(key.core, key.read_mode, fmt, registers)
    except DeviceError as error:
        if error.code != HARDWARE_MISSING:
            raise
        hint = f"{error.words}; where the chip has no NMPU, [device] must say has_nmpu = false"
        raise DeviceError(error.code, hint, request=error.request) from error
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
        with bench.watch.block(first), _tells_lost_weights(step.key.core):
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
            sequence=bench.watch.last_sequence,
            quality=bench.watch.last_quality,
        )
    bench.on_vectors(stop - first)
    bench.guard.after_block(stop)
    return StoredBlock(counts=counts, expected=expected, outputs=outputs)


@contextmanager
def _tells_lost_weights(core: int) -> Iterator[None]:
    """Say what to do about a chip that started again, and knows nothing of its core any more."""
    try:
        yield
    except DeviceError as error:
        if error.code != ScpiError.SETTINGS_CONFLICT:
            raise
        hint = (
            f"{error.words}; a device that has started again has lost its weights: hil resume "
            f"programs core {core} again and begins the step anew"
        )
        raise DeviceError(error.code, hint, request=error.request) from error


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
