"""One recorded step under one format: the calibration of a run, with another NMPU.

The moments of the readouts are summed once for each step; every format then quantises the same
fit and is judged on the same held-out vectors, by the integer model. The sums are exact, so the
run's own format gives the run's own errors, to the last bit.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from hil.core.errors import CalibrationError, DatasetError, Problem
from hil.core.nmpu_format import NmpuFormat
from hil_calibration.calibrate import SEARCH_VECTORS, CoreCalibration, calibrate_core
from hil_calibration.exact_moments import ExactMoments
from hil_calibration.nmpu import saturated_inputs
from hil_calibration.quality import QualityLimits, is_calibrated
from hil_calibration.verify import correct_all_ways, errors_by_correction
from hil_datasets.step import StepRecord
from hil_datasets.step_files.reader import read_step


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSettings:
    """How the run calibrated, but for the format."""

    block: int
    """Vectors summed at a time; the sums do not depend on it."""
    headroom: float
    """Factor left in the scale registers for drift."""
    limits: QualityLimits
    """Where a column stops being like the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One step to evaluate under one format; small, to be sent to another process."""

    step: str
    """Name of the step."""
    path: Path
    """Its file."""
    raw_sha256: str
    """Content hash that its readouts must have."""
    format_text: str
    """The format, shift 0."""
    settings: CalibrationSettings
    """How to calibrate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatResult:
    """What one format is worth on one step."""

    format_text: str
    """The format, shift 0."""
    step: str
    """Name of the step."""
    raw_sha256: str
    """Content hash of its readouts."""
    shift: int = 0
    """Shift that the calibration chose."""
    output_lsb: float = 0.0
    """Size of one output code, in product units."""
    columns: int = 0
    """Columns with a fitted correction."""
    errors: dict[str, float] = field(default_factory=dict, hash=False)
    """Error of each correction, by the metric of the study: the relative L2 error on the held-out
    vectors, or the share of images that a network gets wrong. Empty if refused."""
    lost: dict[str, float] = field(default_factory=dict, hash=False)
    """By accuracy: what the NMPU loses against the float correction on the same images, ``drop``
    with its 95 % interval ``low`` to ``high``; empty otherwise."""
    refusal: str = ""
    """Why the format cannot hold this step; empty if it can."""


class StepEvaluator:
    """A recorded step, its moments summed, ready for any number of formats.

    Parameters
    ----------
    record
        The step.
    settings
        How the run calibrated.
    """

    def __init__(self, record: StepRecord, settings: CalibrationSettings) -> None:
        self._record = record
        self._settings = settings
        fitted = record.origin.calibration_vectors
        moments = ExactMoments.empty(record.raw.shape[2])
        for first in range(0, fitted, settings.block):
            block = slice(first, min(first + settings.block, fitted))
            moments = moments.merge(ExactMoments.of(record.raw[block], record.expected[block]))
        self._moments = moments.to_moments()
        self._largest = float(np.abs(record.expected[:fitted]).max())

    def evaluate(self, fmt: NmpuFormat) -> FormatResult:
        """Calibrate for a format and measure its error on the held-out vectors."""
        record = self._record
        fitted = record.origin.calibration_vectors
        name, raw_sha256 = record.key.name, record.raw_sha256
        try:
            calibration = self._calibrate(fmt)
        except CalibrationError as error:
            return FormatResult(
                format_text=fmt.to_text(), step=name, raw_sha256=raw_sha256, refusal=str(error)
            )
        outputs = correct_all_ways(
            record.raw[fitted:],
            global_gain=calibration.global_gain,
            correction=calibration.correction,
            fmt=calibration.fmt,
            registers=calibration.registers,
        )
        is_live = is_calibrated(calibration.flags)
        expected = record.expected[fitted:] / calibration.output_lsb
        return FormatResult(
            format_text=fmt.to_text(),
            step=name,
            raw_sha256=raw_sha256,
            shift=calibration.fmt.shift,
            output_lsb=calibration.output_lsb,
            columns=int(is_live.sum()),
            errors=errors_by_correction(outputs, expected, is_live),
        )

    def _calibrate(self, fmt: NmpuFormat) -> CoreCalibration:
        record, settings = self._record, self._settings
        fitted, counter_bits = record.origin.calibration_vectors, record.origin.counter_bits
        sample = slice(0, min(SEARCH_VECTORS, fitted))
        return calibrate_core(
            self._moments,
            fmt=fmt,
            saturated_counts=saturated_inputs(
                record.raw[:fitted], in_bits=fmt.in_bits, counter_bits=counter_bits
            ),
            sample_counts=record.raw[sample],
            sample_expected=record.expected[sample],
            largest_expected=self._largest,
            clip_code=min(1 << fmt.in_bits, (1 << counter_bits) - 1),
            headroom=settings.headroom,
            limits=settings.limits,
        )


def evaluate_task(task: Task) -> FormatResult:
    """Evaluate a task; the last step stays in memory for the next one.

    Raises
    ------
    DatasetError
        If the step is not the one that the study began with, or cannot be read.
    """
    evaluator = _open_evaluator(task.path, task.raw_sha256, task.settings)
    return evaluator.evaluate(NmpuFormat.from_text(task.format_text))


@lru_cache(maxsize=1)
def _open_evaluator(path: Path, raw_sha256: str, settings: CalibrationSettings) -> StepEvaluator:
    record = read_step(path)
    if record.raw_sha256 != raw_sha256:
        raise DatasetError(str(path), [Problem("/", "was replaced while it was studied")])
    return StepEvaluator(record, settings)
