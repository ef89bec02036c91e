"""A step that begins anew: its core was programmed again, with another noise of its weights.

What was read of it under the former programming is kept beside the steps and told in the journal;
no calibration may join readouts of two programmings.
"""

import math
from datetime import datetime

import h5py
import numpy as np

from hil.campaign.guards.suspect import keep_suspect
from hil.campaign.plan import PlannedStep
from hil.campaign.programming import Programmer
from hil.campaign.run_events import StepStarted, Warned
from hil.campaign.run_job import RunJob
from hil.campaign.step_remains import forget_part, part_path
from hil_datasets.step_files.part import StepPart
from hil_datasets.step_files.writer import StoredBlock


def is_of_former_programming(
    job: RunJob, programmer: Programmer, step: PlannedStep, part: StepPart
) -> bool:
    """Tell whether what an earlier process has read of a step is not of what its core holds now.

    Parameters
    ----------
    job, step
        The run and its step.
    programmer
        Who has seen to it that the core holds the step's weights.
    part
        What was read.
    """
    if job.time.is_virtual:
        return False  # a mock that is programmed again in virtual time is as it was
    core = step.key.core
    now, before = programmer.number(core), job.programmed.get(core)
    if before is None or before.number != now:
        return True
    begun = job.begun.get(step.key.name)
    if begun is not None:
        return begun != now
    # Older software has not said under which programming a step begins: what was read before the
    # last one was announced is of another.
    _, _, first_ended_s = part.times[0]
    read_s, programmed_s = _posix_s(part.began_utc) + first_ended_s, _posix_s(before.utc)
    return not read_s >= programmed_s  # nor if nobody knows


def begin_anew(job: RunJob, step: PlannedStep, part: StepPart) -> None:
    """Put aside what was read of a step under a former programming, and say so.

    Parameters
    ----------
    job, step
        The run and its step.
    part
        What was read.

    Raises
    ------
    DatasetError
        If it cannot be kept.
    """
    name, vectors = step.key.name, part.extent.vectors
    reason = f"core {step.key.core} was programmed again: read under its former programming"
    former = job.begun.get(name, 0)
    with job.switch.whole():
        file = keep_suspect(job.run.path, name, 0, _read(job, step, vectors), reason=reason)
        job.note(
            "suspect",
            step=name,
            first_vector=0,
            vectors=vectors,
            reason=reason,
            file=file,
            programming=former,
        )
        forget_part(job, step)
    job.events.tell(StepStarted(step=name))
    words = (
        f"core {step.key.core} was programmed again: step {name} begins anew, {vectors} vectors "
        f"of the former programming are not used (kept in {file})"
    )
    job.events.tell(Warned(words=words))


def _read(job: RunJob, step: PlannedStep, vectors: int) -> StoredBlock:
    with h5py.File(part_path(job, step), "r") as file:
        return StoredBlock(
            counts=np.asarray(file["raw"][:vectors]),
            expected=np.asarray(file["expected"][:vectors]),
            outputs=None,
        )


def _posix_s(utc: str) -> float:
    try:
        return datetime.fromisoformat(utc).timestamp()
    except ValueError:
        return math.nan
