"""Taking one step: from the beginning, from where it was left, or from its whole file."""

import platform
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hil.campaign.instruments import conditions_between
from hil.campaign.measure import StepBench, measure_step
from hil.campaign.plan import PlannedStep
from hil.campaign.run_events import StepFailed, StepFinished, StepStarted, VectorsRead
from hil.campaign.run_job import RunJob
from hil.core.errors import CalibrationError, DatasetError, FrameError
from hil_calibration.quality import is_calibrated
from hil_datasets.chip_book.facts import summarize_calibration
from hil_datasets.durable import PART_SUFFIX
from hil_datasets.step import StepConclusion, StepOrigin, StepRecord
from hil_datasets.step_part import StepLayout, StepPart, WantedStep, read_part
from hil_datasets.step_reader import read_step
from hil_datasets.step_writer import StepWriter


def take_step(
    job: RunJob, step: PlannedStep, program_core: Callable[[PlannedStep], None]
) -> str | None:
    """Take a step; return what is wrong with it, if anything is.

    Parameters
    ----------
    job
        The run.
    step
        The step.
    program_core
        Sees that the core holds the weights of a step.

    Raises
    ------
    FrameError
        If the chip is another one than at the beginning, or answers nonsense.
    TransportError, DeviceError
        If the device is lost or refuses.
    SafetyLimitError, InstrumentError
        If the conditions do not come about.
    DatasetError
        If the step cannot be stored.
    RunInterruptedError
        If the run shall stop.
    """
    whole = _find_whole(job, step) if job.is_resumed else None
    if whole is not None:
        job.events.tell(StepStarted(step=step.key.name, vectors_done=len(whole.inputs)))
        return _conclude(job, step, whole.conclusion, whole.raw_sha256, whole.origin)
    part = _find_part(job, step)
    watch = job.clock.begin_step() if part is None else job.clock.continue_step(part)
    done = 0 if part is None else part.extent.vectors
    job.events.tell(StepStarted(step=step.key.name, vectors_done=done))
    job.instruments.prepare_step()
    program_core(step)
    origin = _origin(job, step, part)
    writer = StepWriter(
        job.run.step_path(step.key),
        key=step.key,
        origin=origin,
        weights=step.work.weights,
        # What a part says of its process would leave its traces in the finished bytes.
        layout=None if job.plays_recording else _layout(job, step),
        began=watch.began,
        part=part,
    )
    with writer:
        bench = StepBench(
            chip=job.chip,
            writer=writer,
            config=job.campaign.config,
            counter_bits=origin.counter_bits,
            on_vectors=lambda vectors: _tell_vectors(job, step, vectors, watch.last_block),
            watch=watch,
            whole=job.switch.whole,
        )
        before = job.instruments.read()
        if done:
            _continue_noise(job, step, done)
        try:
            conclusion = measure_step(step, bench)
        except CalibrationError as error:
            return _fail(job, step, error)
        # A replay has the times and the conditions of the measurement, not its own.
        is_replayed = step.measured_utc is not None
        conditions = conditions_between(before, job.instruments.read())
        with job.switch.whole():
            raw_sha256 = writer.finish(
                conclusion,
                step.timing if is_replayed else watch.timing(),
                step.conditions if is_replayed else conditions,
            )
            return _conclude(job, step, conclusion, raw_sha256, origin)


def _tell_vectors(job: RunJob, step: PlannedStep, vectors: int, block: tuple[float, float]) -> None:
    began_s, ended_s = block
    job.book.vectors(step.key.core, vectors, seconds=ended_s - began_s)
    job.events.tell(VectorsRead(step=step.key.name, vectors=vectors))


def _layout(job: RunJob, step: PlannedStep) -> StepLayout:
    block, vectors = job.campaign.config.vectors.block, len(step.work.inputs)
    return StepLayout(
        blocks=(
            *range(0, step.calibration_vectors, block),
            *range(step.calibration_vectors, vectors, block),
        ),
        keeps_outputs=job.campaign.config.device.has_nmpu,
        config_sha256=job.campaign.resolved_sha256,
    )


def _find_part(job: RunJob, step: PlannedStep) -> StepPart | None:
    """Return what is there of a step that was begun; a recording is always played whole."""
    if not job.is_resumed or job.plays_recording:
        return None
    path = job.run.step_path(step.key)
    wanted = WantedStep(
        key=step.key,
        chip=job.identity,
        weights=step.work.weights,
        inputs=step.work.inputs,
        calibration_vectors=step.calibration_vectors,
        layout=_layout(job, step),
    )
    return read_part(path.with_name(path.name + PART_SUFFIX), wanted)


def _find_whole(job: RunJob, step: PlannedStep) -> StepRecord | None:
    """Return a step whose file got its name, but not its line in the journal."""
    path = job.run.step_path(step.key)
    if not path.exists():
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
        and np.array_equal(record.weights, step.work.weights)
        and np.array_equal(record.inputs, step.work.inputs)
    )
    if not is_the_step:
        return None
    path.with_name(path.name + PART_SUFFIX).unlink(missing_ok=True)
    return record


def _continue_noise(job: RunJob, step: PlannedStep, vector: int) -> None:
    """Have a simulated chip go on as if the run had not been interrupted."""
    continue_at = getattr(job.chip, "continue_at", None)  # a plug-in need not have it
    if continue_at is not None:
        continue_at(step.key.core, step.key.read_mode, vector)


def _fail(job: RunJob, step: PlannedStep, error: CalibrationError) -> str:
    job.note_faults(step.key.name)
    job.note("failure", step=step.key.name, reason=str(error))
    job.events.tell(StepFailed(step=step.key.name, reason=str(error)))
    return str(error)


def _conclude(
    job: RunJob,
    step: PlannedStep,
    conclusion: StepConclusion,
    raw_sha256: str,
    origin: StepOrigin,
) -> str | None:
    """Write a stored step into the journal and the chip's book; return what is wrong with it."""
    key = step.key
    job.note_faults(key.name)
    job.note(
        "step",
        core=key.core,
        read_mode=str(key.read_mode),
        file=str(job.run.step_path(key).relative_to(job.run.path)),
        raw_sha256=raw_sha256,
        errors=conclusion.errors,
    )
    job.book.calibrated(
        summarize_calibration(
            conclusion,
            is_calibrated(conclusion.flags),
            core=key.core,
            read_mode=key.read_mode,
            step=key.name,
            raw_sha256=raw_sha256,
            temperature_c=origin.temperature_c,
        )
    )
    job.events.tell(StepFinished(step=key.name, errors=conclusion.errors))
    if not conclusion.nmpu_mismatches:
        return None
    problem = (
        f"{conclusion.nmpu_mismatches} outputs of the device's NMPU differ from the integer "
        "model; the step is stored, its coefficients are not to be trusted on this device"
    )
    job.events.tell(StepFailed(step=key.name, reason=problem))
    return problem


def _origin(job: RunJob, step: PlannedStep, part: StepPart | None) -> StepOrigin:
    chip = job.chip.identify()
    if chip != job.identity:
        raise FrameError(
            f"the device was {job.identity} when the run began and says now that it is {chip}"
        )
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
    )
    if part is None:
        return origin
    return replace(origin, measured_utc=part.measured_utc, temperature_c=part.temperature_c)
