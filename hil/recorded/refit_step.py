"""One step fitted, or judged, again: what a worker does, wherever it is.

Tasks are small: paths, settings, sums. The worker reads the readouts itself, a range at a time.
All sums are exact, so neither the ranges nor who added them can be seen in the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from hil.campaign.conclude import FitSums, FitTerms, HeldOut, conclude_fit, fit_sums
from hil.campaign.concluded_again import planned_again
from hil.campaign.judge import conclude_judged
from hil.campaign.plan import PlannedStep
from hil.core.errors import CalibrationError
from hil.recorded.fit_kind import FitKind, huber_weighted, noise_weighted
from hil_calibration.calibrate import SEARCH_VECTORS, CoreCalibration
from hil_calibration.moments import ColumnMoments
from hil_calibration.quality import is_calibrated
from hil_calibration.verify import correct_all_ways, errors_by_correction
from hil_datasets.opened import open_source
from hil_datasets.run_source import Readouts, RunSource, StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepKind
from hil_datasets.step_files.concluded import concluded_sha256

RANGE_VECTORS = 1 << 16
"""Calibration vectors that one task sums: 64 MiB of counts for 256 columns."""
_BLOCK_VECTORS = 2048
"""Vectors in memory at a time while they are summed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTask:
    """Some calibration vectors of a step, to be summed."""

    source: Path
    """The run, an absolute path."""
    key: StepKey
    """Which step."""
    terms: FitTerms
    """How they are to be fitted."""
    first: int
    """First vector."""
    stop: int
    """The one after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTask:
    """A step to be concluded from."""

    source: Path
    """The run, an absolute path."""
    key: StepKey
    """Which step."""
    terms: FitTerms
    """How to fit."""
    calibration_vectors: int
    """How many vectors, from the first, are fitted."""
    fit: FitKind = FitKind.LEAST_SQUARES
    """How gains and offsets are found."""
    sums: FitSums | None = None
    """Of these, if they were added before."""
    judged: StepConclusion | None = None
    """The calibration whose correction it judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step has come to."""

    key: StepKey
    """Which step."""
    conclusion: StepConclusion | None = None
    """The new conclusion, without the outputs of the device's NMPU; None if it was refused."""
    keeps_outputs: bool = False
    """Whether those that are stored belong to it: its registers are the ones they were made by."""
    concluded_sha256: str = ""
    """Hash of the conclusion, with those outputs; empty if there is none."""
    errors_before: dict[str, float] = field(default_factory=dict)
    """Relative L2 errors of the former correction on the same held-out vectors."""
    refusal: str = ""
    """Why the readouts allow no conclusion."""


def ranges_of(task: StepTask) -> list[RangeTask]:
    """Return the ranges of a step's calibration vectors: the same wherever they are summed."""
    fitted = task.calibration_vectors
    return [
        RangeTask(
            source=task.source,
            key=task.key,
            terms=task.terms,
            first=first,
            stop=min(first + RANGE_VECTORS, fitted),
        )
        for first in range(0, fitted, RANGE_VECTORS)
    ]


def sum_range(task: RangeTask) -> FitSums:
    """Sum some calibration vectors.

    Raises
    ------
    DatasetError
        If the readouts cannot be read.
    """
    readouts = _open_readouts(task.source, task.key)
    raw, expected = readouts.raw, readouts.expected
    sums = FitSums.empty(raw.shape[2])
    for block in _blocks(task.first, task.stop):
        found = FitSums.of(np.array(raw[block]), np.array(expected[block]), task.terms)
        sums = sums.merge(found)
    return sums


def conclude_step(task: StepTask) -> StepResult:
    """Fit a calibration, or judge another step with a correction.

    Raises
    ------
    DatasetError
        If the step cannot be read.
    """
    facts = opened_run(task.source).read_facts(task.key)
    readouts = _open_readouts(task.source, task.key)
    fitted = task.calibration_vectors
    origin = replace(
        facts.origin,
        calibration_vectors=fitted,
        verification_vectors=len(readouts.inputs) - fitted,
    )
    step = planned_again(task.key, origin, weights=readouts.weights, inputs=readouts.inputs)
    try:
        conclusion = _concluded(step, task, facts, readouts)
    except CalibrationError as error:
        return StepResult(key=task.key, refusal=str(error))
    return StepResult(
        key=task.key,
        conclusion=replace(conclusion, outputs=None),
        keeps_outputs=conclusion.outputs is not None,
        concluded_sha256=concluded_sha256(conclusion),
        errors_before=_errors_before(facts, readouts, fitted),
    )


def _concluded(
    step: PlannedStep, task: StepTask, facts: StepFacts, readouts: Readouts
) -> StepConclusion:
    fitted, former = task.calibration_vectors, facts.conclusion
    held_out = HeldOut(
        counts=np.array(readouts.raw[fitted:]),
        expected=np.array(readouts.expected[fitted:]),
        outputs=None,
    )
    is_same_split = fitted == facts.origin.calibration_vectors
    if task.key.kind is not StepKind.CALIBRATE:
        is_same = task.judged is not None and _has_registers(former, task.judged)
        held_out = replace(held_out, outputs=former.outputs if is_same else None)
        return conclude_judged(step, task.terms, task.judged, held_out)
    sums = task.sums
    if sums is None:
        sums = FitSums.empty(step.work.weights.shape[1])
        for part in ranges_of(task):
            sums = sums.merge(sum_range(part))
    sample = slice(0, min(SEARCH_VECTORS, fitted))
    calibrated = fit_sums(
        sums,
        np.array(readouts.raw[sample]),
        np.array(readouts.expected[sample]),
        task.terms,
        moments=_weighted_moments(task, readouts) if task.fit.has_weights else None,
    )
    if is_same_split and _has_registers(former, calibrated.calibration):
        held_out = replace(held_out, outputs=former.outputs)
    return conclude_fit(step, task.terms, calibrated, held_out)


def _weighted_moments(task: StepTask, readouts: Readouts) -> ColumnMoments:
    """Return the sums of the calibration vectors as the fit weighs them."""
    fitted = task.calibration_vectors
    if fitted > RANGE_VECTORS:
        raise CalibrationError(
            f"a {task.fit} fit holds all of its {fitted} vectors in memory, and may have at most "
            f"{RANGE_VECTORS}: give --calibration-vectors, or fit it in another way"
        )
    counts, expected = np.array(readouts.raw[:fitted]), np.array(readouts.expected[:fitted])
    if task.fit is FitKind.HUBER:
        return huber_weighted(counts, expected, one_scale=task.terms.fmt.shared_scale)
    return noise_weighted(
        counts,
        expected,
        all_inputs=np.array(readouts.inputs),
        all_counts=np.array(readouts.raw),
    )


def _has_registers(former: StepConclusion, other: StepConclusion | CoreCalibration) -> bool:
    """Tell whether the device's NMPU would make the stored outputs of these registers as well."""
    return bool(former.fmt == other.fmt and former.registers == other.registers)


def _errors_before(facts: StepFacts, readouts: Readouts, fitted: int) -> dict[str, float]:
    former = facts.conclusion
    if fitted == facts.origin.calibration_vectors:
        return dict(former.errors)
    outputs = correct_all_ways(
        np.array(readouts.raw[fitted:]),
        global_gain=former.global_gain,
        correction=former.correction,
        fmt=former.fmt,
        registers=former.registers,
    )
    expected = readouts.expected[fitted:] / former.output_lsb
    return errors_by_correction(outputs, expected, is_calibrated(former.flags))


def _blocks(first: int, stop: int) -> Iterator[slice]:
    for start in range(first, stop, _BLOCK_VECTORS):
        yield slice(start, min(start + _BLOCK_VECTORS, stop))


def opened_run(source: Path) -> RunSource:
    """Return a run, opened anew if its journal has changed since a task of this process did.

    Raises
    ------
    DatasetError
        If it is none.
    """
    return _open_run(source, _stamp(source))


def _open_readouts(source: Path, key: StepKey) -> Readouts:
    return _open_step(source, _stamp(source), key)


def _stamp(source: Path) -> tuple[int, ...]:
    """Return what changes when something is written to a run: workers of a cluster live long."""
    try:
        found = (source / "journal.jsonl" if source.is_dir() else source).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


# Kept for the next task: what is opened anew has the whole file's check sum compared. Two, since
# tasks of the next run are between the last ones of a run.
@lru_cache(maxsize=2)
def _open_run(source: Path, _stamp: tuple[int, ...]) -> RunSource:
    return open_source(source)


@lru_cache(maxsize=2)
def _open_step(source: Path, stamp: tuple[int, ...], key: StepKey) -> Readouts:
    return _open_run(source, stamp).readouts(key)
