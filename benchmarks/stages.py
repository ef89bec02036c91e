"""The processor time of each stage of a campaign, taken alone: acquire, fit, store.

The stages work on the steps of a run that was made before: they read the same vectors of the same
simulated chip, fit the same readouts, and write the same files.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil.campaign.bench import open_device
from hil.campaign.config.load import Campaign
from hil.campaign.config.sections import CampaignConfig
from hil_calibration.calibrate import SEARCH_VECTORS, CoreCalibration, calibrate_core
from hil_calibration.exact_moments import ExactMoments
from hil_calibration.expected import expected_outputs
from hil_calibration.nmpu import saturated_inputs
from hil_calibration.noise import find_repeats, measure_noise
from hil_calibration.quality import is_calibrated, measure_quality
from hil_calibration.verify import column_rms, correct_all_ways, errors_by_correction
from hil_datasets.run_directory import open_directory
from hil_datasets.step import StepRecord
from hil_datasets.step_files.part import StepLayout
from hil_datasets.step_files.writer import StepWriter

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """Processor seconds of the stages, each for all steps of a run."""

    acquire_s: float
    """Programming, reading, loading registers: this process and the simulated chip's together."""
    fit_s: float
    """Expected outputs, moments, fit, codes, quality, the four ways of correcting."""
    store_s: float
    """HDF5: blocks as they come, then the finished and sealed file."""

    @property
    def total_s(self) -> float:
        """All of them, one after the other."""
        return self.acquire_s + self.fit_s + self.store_s


def measure_stages(campaign: Campaign, run: Path) -> StageTimes:
    """Take the stages of the steps of a finished run once more, each alone.

    Parameters
    ----------
    campaign
        The campaign of the run; its device is a private mock.
    run
        The run.
    """
    records = list(open_directory(run).read_steps())
    began_s = time.process_time()
    for record in records:
        _fit(record, campaign.config)
    fit_s = time.process_time() - began_s
    began_s = time.process_time()
    with tempfile.TemporaryDirectory(dir=run.parent) as name:
        for record in records:
            _store(record, campaign.config, Path(name))
    store_s = time.process_time() - began_s
    return StageTimes(acquire_s=_acquire(records, campaign), fit_s=fit_s, store_s=store_s)


def _blocks(record: StepRecord, block: int) -> Iterator[slice]:
    """Yield the blocks of calibration vectors, then those of held-out ones."""
    fitted, vectors = record.origin.calibration_vectors, len(record.inputs)
    for begin, end in ((0, fitted), (fitted, vectors)):
        for first in range(begin, end, block):
            yield slice(first, min(first + block, end))


def _acquire(records: Sequence[StepRecord], campaign: Campaign) -> float:
    """Read every step from a new simulated chip; return the time of both processes."""
    config = campaign.config
    with open_device(
        config.device.resource,
        base=campaign.path.parent,
        seed=config.campaign.seed,
        timeout_s=config.device.timeout_s,
        choice=config.device.transport,
        on_unsafe=print,
    ) as device:
        chip, programmed = device.chip, None
        began_s = time.process_time() + _children_s()
        for record in records:
            core, read_mode = record.key.core, record.key.read_mode
            if programmed != core:
                chip.program(core, record.weights)
                programmed = core
            conclusion, is_loaded = record.conclusion, False
            for block in _blocks(record, config.vectors.block):
                if block.start < record.origin.calibration_vectors:
                    chip.read_counts(core, read_mode, record.inputs[block])
                    continue
                if not is_loaded:
                    chip.write_nmpu(core, read_mode, conclusion.fmt, conclusion.registers)
                    chip.read_nmpu(core, read_mode)
                    is_loaded = True
                chip.read_corrected_with_counts(core, read_mode, record.inputs[block])
        return time.process_time() + _children_s() - began_s


def _children_s() -> float:
    """Return the processor time of the processes that this one has started and that still run."""
    total = 0.0
    for pid in Path("/proc/self/task", str(os.getpid()), "children").read_text().split():
        # The name of the program, in parentheses, may hold spaces.
        after = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
        total += (int(after[11]) + int(after[12])) / _TICKS_PER_S
    return total


def _fit(record: StepRecord, config: CampaignConfig) -> None:
    fitted = record.origin.calibration_vectors
    moments = ExactMoments.empty(record.raw.shape[2])
    expected = np.empty((len(record.inputs), record.raw.shape[2]), np.int32)
    for block in _blocks(record, config.vectors.block):
        expected[block] = expected_outputs(record.inputs[block], record.weights)
        if block.start < fitted:
            moments = moments.merge(ExactMoments.of(record.raw[block], expected[block]))
    clip_code = min(1 << config.nmpu.in_bits, (1 << record.origin.counter_bits) - 1)
    sample = slice(0, min(fitted, SEARCH_VECTORS))
    calibration = calibrate_core(
        moments.to_moments(),
        fmt=config.nmpu,
        saturated_counts=saturated_inputs(
            record.raw[:fitted],
            in_bits=config.nmpu.in_bits,
            counter_bits=record.origin.counter_bits,
        ),
        sample_counts=record.raw[sample],
        sample_expected=expected[sample],
        largest_expected=float(np.abs(expected[:fitted]).max()),
        clip_code=clip_code,
        headroom=config.calibration.headroom,
        limits=config.calibration.limits,
    )
    _judge(record, calibration, expected[fitted:] / calibration.output_lsb, clip_code)


def _judge(
    record: StepRecord, calibration: CoreCalibration, expected: np.ndarray, clip_code: int
) -> None:
    counts = record.raw[record.origin.calibration_vectors :]
    repeats = find_repeats(record.inputs, record.raw)
    measure_quality(
        counts,
        expected,
        calibration.correction,
        clip_code=clip_code,
        noise=None if repeats is None else measure_noise(repeats),
        condition=calibration.condition,
        glitch_share=calibration.glitch_share,
    )
    outputs = correct_all_ways(
        counts,
        global_gain=calibration.global_gain,
        correction=calibration.correction,
        fmt=calibration.fmt,
        registers=calibration.registers,
    )
    column_rms(outputs, expected)
    for columns in (is_calibrated(calibration.flags), np.ones(expected.shape[1], np.bool_)):
        errors_by_correction(outputs, expected, columns)


def _store(record: StepRecord, config: CampaignConfig, folder: Path) -> None:
    blocks = list(_blocks(record, config.vectors.block))
    fitted, outputs = record.origin.calibration_vectors, record.conclusion.outputs
    layout = StepLayout(
        blocks=tuple(block.start for block in blocks),
        keeps_outputs=outputs is not None,
        config_sha256="0" * 64,
    )
    path = folder / f"{record.key.name}.h5"
    with StepWriter(
        path, key=record.key, origin=record.origin, weights=record.weights, layout=layout
    ) as writer:
        for block in blocks:
            is_held_out = block.start >= fitted and outputs is not None
            writer.write_block(
                block.start,
                inputs=record.inputs[block],
                counts=record.raw[block],
                expected=record.expected[block],
                outputs=outputs[block.start - fitted : block.stop - fitted]
                if is_held_out and outputs is not None
                else None,
                times=(0.0, 0.0),
            )
        writer.finish(record.conclusion, record.timing, record.conditions)
