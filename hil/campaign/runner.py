"""Running a plan into a run directory, step by step, losing nothing that is finished."""

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from hil.campaign.bench import open_device, open_recording
from hil.campaign.config import START_PLACEHOLDER, Campaign
from hil.campaign.instruments import BenchInstruments, conditions_between, named_mock_instruments
from hil.campaign.measure import StepBench, measure_step
from hil.campaign.plan import PlannedStep, keep_what_was_recorded, plan_campaign, plan_replay
from hil.campaign.replay_resource import recording_of
from hil.campaign.run_clock import RunClock, StepWatch
from hil.campaign.software import software_versions
from hil.core.errors import (
    CalibrationError,
    ConfigError,
    DatasetError,
    FrameError,
    HilError,
    Problem,
)
from hil.core.readout import ChipIdentity
from hil_datasets.index import write_index
from hil_datasets.recording import Recording
from hil_datasets.run_directory import RunDirectory, create_run, open_run
from hil_datasets.step import StepKey, StepOrigin
from hil_datasets.step_writer import StepWriter
from hil_drivers.chip import Chip


class RunObserver(Protocol):
    """Who is told how a run goes."""

    def on_start(self, *, steps: int, vectors: int, run: RunDirectory) -> None:
        """Hear how much there is to do."""
        ...

    def on_step(self, key: StepKey) -> None:
        """Hear that a step begins."""
        ...

    def on_vectors(self, vectors: int) -> None:
        """Hear how many more vectors were read."""
        ...

    def on_unsafe(self, reason: str) -> None:
        """Hear what could not be left safe, and why."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended."""

    run: RunDirectory
    """Where it is."""
    failed: tuple[str, ...]
    """Steps that could not be calibrated, and why; empty if all could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    campaign: Campaign
    plan: Sequence[PlannedStep]
    run: RunDirectory
    chip: Chip
    resource: str
    software: dict[str, str]
    observer: RunObserver
    clock: RunClock
    instruments: BenchInstruments


def run_campaign(
    campaign: Campaign,
    *,
    out: Path | None,
    observer: RunObserver,
    now: Callable[[], datetime],
    monotonic: Callable[[], float] = time.monotonic,
) -> RunOutcome:
    """Run a campaign on its device, under the conditions that its instruments are to bring about.

    Parameters
    ----------
    campaign
        The checked campaign file.
    out
        Output folder; the campaign's own where None.
    observer
        Who is told how it goes.
    now
        The time, UTC.
    monotonic
        Seconds that never go back.

    Raises
    ------
    ConfigError
        If the campaign does not fit the chip, or the folder cannot be used.
    TransportError, FrameError, DeviceError
        If the device is absent, lost, refuses or answers nonsense. Finished steps stay.
    SafetyLimitError, InstrumentError
        If the conditions are beyond a limit, or do not come about; likewise.
    DatasetError
        If the device is a recording that cannot be read.
    """
    config, base = campaign.config, campaign.path.parent
    clock = RunClock(now=now, clock=monotonic)
    recording = recording_of(config.device.resource, base)
    # A recording keeps the conditions that it was recorded in.
    sections = config.instruments if recording is None else {}
    with open_device(
        config.device.resource,
        base=base,
        seed=config.campaign.seed,
        timeout_s=config.device.timeout_s,
        choice=config.device.transport,
        recovery_s=config.device.recovery_s,
        driver=config.device.driver,
        on_unsafe=observer.on_unsafe,
        on_fault=clock.on_fault,
        recording=recording,
        mock_instruments=named_mock_instruments(sections),
    ) as device:
        plan = plan_campaign(campaign, device.chip.geometry())
        if recording is not None:
            plan = keep_what_was_recorded(plan, recording)
        _check_block(campaign, device.chip)
        folder = out or Path(config.campaign.out.replace(START_PLACEHOLDER, _stamp(now())))
        with device.instruments(sections) as instruments:
            job = _Job(
                campaign=campaign,
                plan=plan,
                run=create_run(folder, campaign.content),
                chip=device.chip,
                resource=config.device.resource,
                software=software_versions(),
                observer=observer,
                clock=clock,
                instruments=instruments,
            )
            identities = instruments.identities
            return _take_steps(job, started_from={"instruments": identities} if identities else {})


def replay_run(
    source: Path,
    campaign: Campaign,
    *,
    is_own: bool,
    out: Path | None,
    observer: RunObserver,
    now: Callable[[], datetime],
) -> RunOutcome:
    """Calibrate again from the stored readouts of a run; no device is involved.

    The recording stands in for the device behind the real driver, so every line of the way is the
    one that a measurement takes.

    Parameters
    ----------
    source
        The run to replay.
    campaign
        Its campaign file, or another one, of which the NMPU's format and the calibration's options
        are taken.
    is_own
        Whether it is the run's own, and must be as it was when the run was made.
    out
        Output folder; ``SOURCE-replay-TIME`` where None.
    observer, now
        As in `run_campaign`.

    Raises
    ------
    DatasetError
        If the run or one of its steps is damaged.
    ConfigError
        If the output folder cannot be used.
    """
    source = source.resolve()  # "." has no name to make another one from
    recorded = open_run(source)
    recording = Recording(recorded.read_steps())
    first = recording.record(recording.keys[0])
    if is_own and campaign.sha256 != first.origin.campaign_sha256:
        raise DatasetError(
            str(recorded.campaign_path),
            [
                Problem(
                    "",
                    "was changed since the run: its hash differs from the recorded one; to fit "
                    "with other options, give a campaign file of your own with --campaign",
                )
            ],
        )
    with open_recording(recording) as chip:
        folder = out or source.with_name(f"{source.name}-replay-{_stamp(now())}")
        job = _Job(
            campaign=campaign,
            plan=plan_replay(recording),
            run=create_run(folder, campaign.content),
            chip=chip,
            resource=first.origin.resource,
            software=software_versions(),
            observer=observer,
            clock=RunClock(now=now),
            instruments=BenchInstruments({}, {}),
        )
        replayed = {record.name: recording.record(record).raw_sha256 for record in recording.keys}
        return _take_steps(job, started_from={"replay_of": replayed})


def _take_steps(job: _Job, *, started_from: dict[str, Any]) -> RunOutcome:
    chip, run = job.chip, job.run
    identity = chip.identify()
    run.journal.append(
        "start",
        utc=job.clock.utc(),
        title=job.campaign.config.campaign.title,
        campaign_sha256=job.campaign.sha256,
        resource=job.resource,
        chip=str(identity),
        software=job.software,
        planned=[step.key.name for step in job.plan],
        **started_from,
    )
    vectors = sum(len(step.work.inputs) for step in job.plan)
    job.observer.on_start(steps=len(job.plan), vectors=vectors, run=run)
    failed: list[str] = []
    try:
        chip.reset()
        programmed = None
        for step in job.plan:
            job.observer.on_step(step.key)
            job.instruments.prepare_step()
            watch = job.clock.begin_step()
            if programmed != step.key.core:
                chip.program(step.key.core, step.work.weights)
                programmed = step.key.core
            problem = _take_step(job, step, identity, watch)
            if problem:
                failed.append(f"{step.key.name}: {problem}")
        _index_finished(run)
    except BaseException as error:
        # What broke the run is what the user must hear of, whatever breaks while tidying up.
        with suppress(HilError):
            _index_finished(run)
        with suppress(HilError):
            _stop(job, "aborted", failed, reason=f"{type(error).__name__}: {error}".rstrip(": "))
        raise
    _stop(job, "incomplete" if failed else "complete", failed)
    return RunOutcome(run=run, failed=tuple(failed))


def _index_finished(run: RunDirectory) -> None:
    finished = run.finished_steps()
    if finished:
        write_index(run, finished)


def _stop(job: _Job, status: str, failed: Sequence[str], *, reason: str = "") -> None:
    _write_faults(job, "")
    job.run.journal.append(
        "stop",
        utc=job.clock.utc(),
        status=status,
        reason=reason,
        failed=list(failed),
        faults=job.clock.fault_counts,
    )


def _write_faults(job: _Job, step: str) -> None:
    """Write down what has befallen the link since this was done last."""
    for utc, fault in job.clock.take_faults():
        job.run.journal.append(
            "fault",
            utc=utc,
            step=step,
            kind=fault.kind.value,
            request=fault.request,
            detail=fault.detail,
            recovered_s=fault.recovered_s,
        )


def _take_step(
    job: _Job, step: PlannedStep, identity: ChipIdentity, watch: StepWatch
) -> str | None:
    """Take a step; return what is wrong with it, if anything is."""
    path = job.run.step_path(step.key)
    origin = _origin(job, step, chip=job.chip.identify())
    if origin.chip != identity:
        raise FrameError(
            f"the device was {identity} when the run began and says now that it is {origin.chip}"
        )
    with StepWriter(path, key=step.key, origin=origin, weights=step.work.weights) as writer:
        bench = StepBench(
            chip=job.chip,
            writer=writer,
            config=job.campaign.config,
            counter_bits=origin.counter_bits,
            on_vectors=job.observer.on_vectors,
            watch=watch,
        )
        before = job.instruments.read()
        try:
            conclusion = measure_step(step, bench)
        except CalibrationError as error:
            _write_faults(job, step.key.name)
            job.run.journal.append(
                "failure", utc=job.clock.utc(), step=step.key.name, reason=str(error)
            )
            return str(error)
        # A replay has the times and the conditions of the measurement, not its own.
        is_replayed = step.measured_utc is not None
        conditions = conditions_between(before, job.instruments.read())
        raw_sha256 = writer.finish(
            conclusion,
            step.timing if is_replayed else watch.timing(),
            step.conditions if is_replayed else conditions,
        )
    _write_faults(job, step.key.name)
    job.run.journal.append(
        "step",
        utc=job.clock.utc(),
        core=step.key.core,
        read_mode=str(step.key.read_mode),
        file=str(path.relative_to(job.run.path)),
        raw_sha256=raw_sha256,
        errors=conclusion.errors,
    )
    if conclusion.nmpu_mismatches:
        return (
            f"{conclusion.nmpu_mismatches} outputs of the device's NMPU differ from the integer "
            "model; the step is stored, its coefficients are not to be trusted on this device"
        )
    return None


def _origin(job: _Job, step: PlannedStep, *, chip: ChipIdentity) -> StepOrigin:
    config = job.campaign.config
    return StepOrigin(
        title=config.campaign.title,
        campaign_sha256=job.campaign.sha256,
        resource=job.resource,
        chip=chip,
        counter_bits=job.chip.geometry().counter_bits,
        measured_utc=step.measured_utc or job.clock.utc(),
        temperature_c=job.chip.temperature_c(step.key.core, step.key.read_mode),
        seed=config.campaign.seed,
        calibration_vectors=step.calibration_vectors,
        verification_vectors=len(step.work.inputs) - step.calibration_vectors,
        rows_used=step.work.rows_used,
        columns_used=step.work.columns_used,
        first_row=step.work.tile.rows.start,
        first_column=step.work.tile.columns.start,
        software=job.software,
        host=platform.node(),
    )


def _check_block(campaign: Campaign, chip: Chip) -> None:
    largest = chip.geometry().max_vectors
    block = campaign.config.vectors.block
    if block > largest:
        raise ConfigError(
            str(campaign.path),
            [Problem("vectors.block", f"is {block}: this device takes at most {largest}")],
        )


def utc_now() -> datetime:
    """Return the time: the one place where the program asks for it."""
    return datetime.now(UTC)


def _stamp(time: datetime) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ")
