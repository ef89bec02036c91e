"""What an earlier process has left of a step: its whole file, or the first part of one."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hil.campaign.plan import PlannedStep
from hil.campaign.plan_fit import misfit
from hil.campaign.run_job import RunJob
from hil.core.errors import DatasetError
from hil_datasets.circumstance import CorrectionSource
from hil_datasets.durable import PART_SUFFIX, names_failed_writes
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepRecord
from hil_datasets.step_files.part import StepLayout, StepPart, WantedStep, read_part
from hil_datasets.step_files.reader import read_step
from hil_datasets.visit_terms import VisitTerms


def step_layout(job: RunJob, step: PlannedStep) -> StepLayout:
    """Return how the vectors of a step are measured."""
    block, vectors = job.campaign.config.vectors.block, len(step.work.inputs)
    return StepLayout(
        blocks=(
            *range(0, step.calibration_vectors, block),
            *range(step.calibration_vectors, vectors, block),
        ),
        keeps_outputs=job.campaign.config.device.has_nmpu and step.uses_nmpu,
        config_sha256=job.campaign.resolved_sha256,
    )


def find_part(
    job: RunJob, step: PlannedStep, correction_of: CorrectionSource | None
) -> StepPart | None:
    """Return what is there of a step that was begun; a recording is always played whole."""
    if not job.is_resumed or job.plays_recording:
        return None
    wanted = WantedStep(
        key=step.key,
        chip=job.identity,
        weights=step.work.weights,
        inputs=step.work.inputs,
        calibration_vectors=step.calibration_vectors,
        layout=step_layout(job, step),
        correction_of=correction_of,
    )
    return read_part(part_path(job, step), wanted)


def find_whole(
    job: RunJob, step: PlannedStep, correction_of: CorrectionSource | None
) -> StepRecord | None:
    """Return a step whose file got its name, but not its line in the journal."""
    path = job.run.step_path(step.key)
    if not job.is_resumed or not path.exists():
        return None
    try:
        record = read_step(path)
    except DatasetError:
        return None
    origin = record.origin
    is_the_step = (
        record.key == step.key
        and origin.chip == job.identity
        and origin.campaign_sha256 == job.campaign.sha256
        and origin.calibration_vectors == step.calibration_vectors
        and origin.circumstance.correction_of == correction_of
        and np.array_equal(record.weights, step.work.weights)
        and np.array_equal(record.inputs, step.work.inputs)
    )
    if not is_the_step:
        return None
    path.with_name(path.name + PART_SUFFIX).unlink(missing_ok=True)
    return record


def forget_unfit(
    run: RunDirectory,
    left: Iterable[PlannedStep],
    before: Sequence[VisitTerms],
    now: Sequence[VisitTerms],
) -> None:
    """Remove what is there of steps that were begun under other settings than they have now."""
    for step in left:
        if misfit(step.key, before, now):
            path = run.step_path(step.key)
            for found in (path, path.with_name(path.name + PART_SUFFIX)):
                with names_failed_writes(found):
                    found.unlink(missing_ok=True)


def forget_part(job: RunJob, step: PlannedStep) -> None:
    """Remove what is there of a step that has to begin again."""
    part_path(job, step).unlink(missing_ok=True)


def part_path(job: RunJob, step: PlannedStep) -> Path:
    """Return where the first part of a step is, if there is one."""
    path = job.run.step_path(step.key)
    return path.with_name(path.name + PART_SUFFIX)
