"""Where a step's data come from, as its file and the chip's book say it."""

import platform
from dataclasses import replace

from hil.campaign.config.resolved import canonical_json, resolved_document
from hil.campaign.corrections_in_use import CorrectionInUse
from hil.campaign.plan import PlannedStep
from hil.campaign.run_job import RunJob
from hil.campaign.software import package_versions, source_commit
from hil.campaign.visits import has_visits
from hil.core.errors import FrameError
from hil.core.readout import ChipIdentity
from hil_calibration.quality import is_calibrated
from hil_datasets.chip_book.facts import summarize_calibration
from hil_datasets.circumstance import Circumstance
from hil_datasets.provenance import Provenance
from hil_datasets.step import StepConclusion, StepOrigin
from hil_datasets.step_files.part import StepPart


def step_origin(
    job: RunJob,
    step: PlannedStep,
    part: StepPart | None,
    in_use: CorrectionInUse | None,
    *,
    age_s: float,
) -> StepOrigin:
    """Return where a step's data come from, and see that the chip is still the same.

    Parameters
    ----------
    job, step
        The run and its step.
    part
        What an earlier process has read of it: when and how warm it began is said there.
    in_use
        The correction that it judges.
    age_s
        Time since its core was programmed; NaN if nobody knows.

    Raises
    ------
    FrameError
        If the chip is another one than at the beginning.
    TransportError, DeviceError
        If the device is lost or refuses.
    """
    chip = _same_chip(job)
    config = job.campaign.config
    temperature_c = job.chip.temperature_c(step.key.core, step.key.read_mode)
    job.book.temperature(temperature_c, core=step.key.core)
    origin = StepOrigin(
        title=config.campaign.title,
        campaign_sha256=job.campaign.sha256,
        resource=job.resource,
        chip=chip,
        counter_bits=job.chip.geometry().counter_bits,
        measured_utc=step.measured_utc or job.clock.utc(),
        temperature_c=temperature_c,
        seed=config.campaign.seed,
        calibration_vectors=step.calibration_vectors,
        verification_vectors=len(step.work.inputs) - step.calibration_vectors,
        rows_used=step.work.rows_used,
        columns_used=step.work.columns_used,
        first_row=step.work.tile.rows.start,
        first_column=step.work.tile.columns.start,
        software=dict(job.software),
        host=platform.node(),
        circumstance=_circumstance(job, step, in_use, age_s),
        provenance=_provenance(job, step),
    )
    if part is None:
        return origin
    return replace(
        origin,
        measured_utc=part.measured_utc,
        temperature_c=part.temperature_c,
        circumstance=replace(origin.circumstance, age_s=part.age_s),
    )


def note_in_book(
    job: RunJob,
    step: PlannedStep,
    conclusion: StepConclusion,
    raw_sha256: str,
    origin: StepOrigin,
) -> None:
    """Write a finished calibration into the chip's book."""
    job.book.calibrated(
        summarize_calibration(
            conclusion,
            is_calibrated(conclusion.flags),
            core=step.key.core,
            read_mode=step.key.read_mode,
            step=step.key.name,
            raw_sha256=raw_sha256,
            temperature_c=origin.temperature_c,
        )
    )


def _same_chip(job: RunJob) -> ChipIdentity:
    chip = job.chip.identify()
    if chip != job.identity:
        raise FrameError(
            f"the device was {job.identity} when the run began and says now that it is {chip}"
        )
    return chip


def _provenance(job: RunJob, step: PlannedStep) -> Provenance:
    config = job.campaign.config
    settings = resolved_document(config).get("instruments", {})
    used = {
        name: {"identity": identity, "settings": settings.get(name, {})}
        for name, identity in job.instruments.identities.items()
    }
    return Provenance(
        campaign=canonical_json(config).decode(),
        commit=source_commit(),
        packages=package_versions(),
        instruments=step.instruments if job.plays_recording else used,
    )


def _circumstance(
    job: RunJob, step: PlannedStep, in_use: CorrectionInUse | None, age_s: float
) -> Circumstance:
    circumstance = Circumstance(
        kind=step.key.kind,
        visit=step.key.visit,
        correction_of=None if in_use is None else in_use.source,
    )
    if step.circumstance is not None:
        return replace(circumstance, age_s=step.circumstance.age_s)
    # Without visits an age tells nothing, and would differ from run to run.
    return replace(circumstance, age_s=age_s) if has_visits(job.campaign.config) else circumstance
