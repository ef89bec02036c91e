"""Taking steps: from the beginning, from where they were left, or from their whole file."""

from dataclasses import dataclass

from hil.campaign.begun_anew import begin_anew, is_of_former_programming
from hil.campaign.corrections_in_use import CorrectionInUse, CorrectionsInUse
from hil.campaign.drift_watch import wait_until_due, why_not_needed, why_too_late
from hil.campaign.guards.step_guard import guard_step
from hil.campaign.instruments import InstrumentReading, conditions_between
from hil.campaign.judge import judge_step
from hil.campaign.measure import StepBench, measure_step
from hil.campaign.plan import PlannedStep
from hil.campaign.programming import Programmer
from hil.campaign.run_clock import StepWatch
from hil.campaign.run_events import (
    StepFailed,
    StepFinished,
    StepSkipped,
    StepStarted,
    VectorsRead,
)
from hil.campaign.run_job import RunJob
from hil.campaign.step_origin import note_in_book, step_origin
from hil.campaign.step_remains import find_part, find_whole, forget_part, step_layout
from hil.campaign.step_remarks import remarks_on
from hil.core.errors import CalibrationError
from hil_datasets.journal_plan import event_of
from hil_datasets.run_source import StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepKind, StepOrigin
from hil_datasets.step_files.concluded import concluded_sha256
from hil_datasets.step_files.part import StepPart
from hil_datasets.step_files.told_facts import facts_sha256
from hil_datasets.step_files.writer import StepWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A step that is about to be read."""

    step: PlannedStep
    in_use: CorrectionInUse | None
    """The correction that it judges."""
    origin: StepOrigin
    watch: StepWatch
    part: StepPart | None
    """What an earlier process has read of it."""


class StepTaker:
    """Takes the steps of a run, one after the other in the order of its plan.

    Parameters
    ----------
    job
        The run.
    """

    def __init__(self, job: RunJob) -> None:
        self._job = job
        self._programmer = Programmer(job)
        self._corrections = CorrectionsInUse(job.run, job.plan, job.finished - job.skipped)
        self._refused: dict[int, str] = {}
        self._read_under = dict(job.begun)

    def take(self, step: PlannedStep) -> str | None:
        """Take a step; return what is wrong with it, if anything is.

        Raises
        ------
        FrameError
            If the chip is another one than at the beginning, or answers nonsense.
        TransportError, DeviceError
            If the device is lost or refuses.
        SafetyLimitError, InstrumentError
            If the conditions do not come about, or programming would wear a core too much.
        DatasetError
            If the step cannot be stored.
        RunInterruptedError
            If the run shall stop.
        """
        in_use = self._in_use(step)
        source = None if in_use is None else in_use.source
        whole = find_whole(self._job, step, source)
        if whole is not None:
            started = StepStarted(step=step.key.name, vectors_done=len(whole.inputs))
            self._job.events.tell(started)
            # First, since passing by may program the core: the step is of what it held before.
            problem = self._conclude(step, StepFacts.of(whole))
            self.pass_by(step)
            return problem
        kind, refused = step.key.kind, self._refused.get(step.key.core)
        if refused is not None and kind is not StepKind.PROGRAM:
            return self._fail(step, refused)
        reason = self._why_skipped(step)
        if reason:
            self._skip(step, reason)
            return None
        if kind in {StepKind.PROBE, StepKind.VERIFY} and in_use is None:
            problem = "there is no correction to judge: no calibration before it has succeeded"
            return self._fail(step, problem)
        if kind is StepKind.PROGRAM:
            return self._take_program(step)
        return self._take_new(step, in_use)

    def pass_by(self, step: PlannedStep) -> None:
        """Bring about what a finished step did to the bench, where its time begins anew.

        A mock in virtual time begins at 0 with every process. Cores have to be as old, and
        instruments as they were, when the run goes on: so everything but the readouts is repeated.
        """
        job, key = self._job, step.key
        if not job.time.is_virtual or job.plays_recording:
            return
        if key in job.skipped and key.kind is not StepKind.PROBE:
            return
        self._await_due(step)
        if key not in job.skipped:
            if key.kind is StepKind.PROGRAM:
                self._prepare(step)
                self._programmer.program_again(step)
            self._prepare(step)
            self._programmer.program(step)
            for _ in ("before", "after"):
                job.instruments.read()

    def _in_use(self, step: PlannedStep) -> CorrectionInUse | None:
        if step.key.kind in {StepKind.PROGRAM, StepKind.CALIBRATE}:
            return None
        return self._corrections.before(step.key)

    def _why_skipped(self, step: PlannedStep) -> str:
        if self._job.plays_recording:
            return ""
        if step.is_conditional:
            return why_not_needed(self._job, step, self._corrections)
        return (
            ""
            if self._await_due(step)
            else why_too_late(step, self._programmer.age_s(step.key.core))
        )

    def _await_due(self, step: PlannedStep) -> bool:
        """Wait until the core of a drift watch's probe is old enough; say whether that took a wait.

        The conditions come about before, since they take their time as well.
        """
        if step.due_s is None or step.key.kind is not StepKind.PROBE:
            return False
        self._prepare(step)
        self._programmer.program(step)
        return wait_until_due(self._job, step, self._programmer)

    def _skip(self, step: PlannedStep, reason: str) -> None:
        job, key = self._job, step.key
        job.note("skip", step=key.name, reason=reason, **event_of(key))
        job.skipped.add(key)
        job.events.tell(StepSkipped(step=key.name, reason=reason))

    def _take_program(self, step: PlannedStep) -> str | None:
        """Program a core until it holds its weights, as often as the campaign allows."""
        self._prepare(step)
        refused = self._programmer.program_for(step)
        problem = self._fail(step, refused) if refused else self._take_new(step, None)
        while problem is not None and self._programmer.attempts(step) < step.attempts:
            forget_part(self._job, step)
            self._programmer.program_again(step)
            problem = self._take_new(step, None)
        if problem is not None:
            self._refused[step.key.core] = f"{step.key.name}: {problem}"
        return problem

    def _prepare(self, step: PlannedStep) -> None:
        """Bring the instruments to what a step wants; a recording keeps what was recorded."""
        settings = {} if self._job.plays_recording else _quantities(step)
        self._job.instruments.prepare_step(settings)

    def _take_new(self, step: PlannedStep, in_use: CorrectionInUse | None) -> str | None:
        """Take a step, from where an earlier process has left it."""
        job = self._job
        part = find_part(job, step, None if in_use is None else in_use.source)
        watch = (
            job.clock.begin_step(is_replayed=job.plays_recording)
            if part is None
            else job.clock.continue_step(part)
        )
        done = 0 if part is None else part.extent.vectors
        job.events.tell(StepStarted(step=step.key.name, vectors_done=done))
        self._prepare(step)
        self._programmer.program(step)
        if part is not None and is_of_former_programming(job, self._programmer, step, part):
            begin_anew(job, step, part)
            part, watch = None, job.clock.begin_step()
        self._note_begin(step, part)
        job.play(step.key)
        age_s = self._programmer.age_s(step.key.core)
        origin = step_origin(job, step, part, in_use, age_s=age_s)
        return self._measure(
            _Begun(step=step, in_use=in_use, origin=origin, watch=watch, part=part)
        )

    def _note_begin(self, step: PlannedStep, part: StepPart | None) -> None:
        """Write down under which programming of its core a step is read from now on."""
        job, key = self._job, step.key
        if job.plays_recording:
            return
        self._read_under[key.name] = self._programmer.number(key.core)
        vectors = 0 if part is None else part.extent.vectors
        told = self._programmer.told(key.core)
        job.note("begin", step=key.name, core=key.core, vectors=vectors, **told)

    def _measure(self, begun: _Begun) -> str | None:
        """Read what is missing of a step, conclude from it and store both."""
        job, step, watch, part = self._job, begun.step, begun.watch, begun.part
        writer = StepWriter(
            job.run.step_path(step.key),
            key=step.key,
            origin=begun.origin,
            weights=step.work.weights,
            # What a part says of its process would leave its traces in the finished bytes.
            layout=None if job.plays_recording else step_layout(job, step),
            began=watch.began,
            part=part,
        )
        with writer:
            guard = guard_step(
                job,
                step,
                writer=writer,
                watch=watch,
                continue_noise=lambda vector: continue_noise(job, step, vector),
                settle=lambda: self._prepare(step),
            )
            bench = StepBench(
                chip=job.chip,
                writer=writer,
                config=job.campaign.config,
                counter_bits=begun.origin.counter_bits,
                on_vectors=lambda vectors: _tell_vectors(job, step, vectors, watch.last_block),
                watch=watch,
                whole=job.switch.whole,
                guard=guard,
            )
            before = job.instruments.read()
            done = 0 if part is None else part.extent.vectors
            if step.noise_place + done or job.is_resumed:
                continue_noise(job, step, done)
            try:
                conclusion = guard.run(lambda: _measured(begun, bench))
            except CalibrationError as error:
                return self._fail(step, str(error))
            return self._store(begun, writer, conclusion, before)

    def _store(
        self,
        begun: _Begun,
        writer: StepWriter,
        conclusion: StepConclusion,
        before: tuple[InstrumentReading, ...],
    ) -> str | None:
        job, step = self._job, begun.step
        # A replay has the times and the conditions of the measurement, not its own.
        is_replayed = step.measured_utc is not None
        conditions = conditions_between(before, job.instruments.read())
        with job.switch.whole():
            conditions = step.conditions if is_replayed else conditions
            timing = step.timing if is_replayed else begun.watch.timing()
            stored = StepFacts(
                key=step.key,
                origin=begun.origin,
                conclusion=conclusion,
                raw_sha256=writer.finish(conclusion, timing, conditions),
                conditions=conditions,
            )
            return self._conclude(step, stored)

    def _fail(self, step: PlannedStep, reason: str) -> str:
        job = self._job
        job.note_faults(step.key.name)
        job.note("failure", step=step.key.name, reason=reason)
        job.events.tell(StepFailed(step=step.key.name, reason=reason))
        return reason

    def _conclude(self, step: PlannedStep, stored: StepFacts) -> str | None:
        """Write a stored step into journal and chip's book; return what is wrong with it."""
        job, key = self._job, step.key
        conclusion, raw_sha256, origin = stored.conclusion, stored.raw_sha256, stored.origin
        job.note_faults(key.name)
        job.note(
            "step",
            **event_of(key),
            file=str(job.run.step_path(key).relative_to(job.run.path)),
            raw_sha256=raw_sha256,
            concluded_sha256=concluded_sha256(conclusion),
            facts_sha256=facts_sha256(key, origin, stored.conditions),
            errors=conclusion.errors,
            **self._programming_of(key),
            **remarks_on(
                job,
                step,
                conclusion,
                origin,
                corrections=self._corrections,
                read_under=self._read_under,
            ),
        )
        self._corrections.note(key, conclusion, raw_sha256)
        if key.kind is StepKind.CALIBRATE:
            note_in_book(job, step, conclusion, raw_sha256, origin)
        job.events.tell(StepFinished(step=key.name, errors=conclusion.errors))
        if not conclusion.nmpu_mismatches:
            return None
        problem = (
            f"{conclusion.nmpu_mismatches} outputs of the device's NMPU differ from the integer "
            "model; the step is stored, its coefficients are not to be trusted on this device"
        )
        job.events.tell(StepFailed(step=key.name, reason=problem))
        return problem

    def _programming_of(self, key: StepKey) -> dict[str, int]:
        number = self._read_under.get(key.name)
        return {} if number is None else {"programming": number}


def continue_noise(job: RunJob, step: PlannedStep, vector: int) -> None:
    """Have a simulated chip read a vector of a step with the noise that it has in a quiet run."""
    ask = getattr(job.chip, "continue_at", None)  # a plug-in need not have it
    if ask is not None and not job.plays_recording:
        ask(step.key.core, step.key.read_mode, step.noise_place + vector)


def _measured(begun: _Begun, bench: StepBench) -> StepConclusion:
    if begun.step.key.kind is StepKind.CALIBRATE:
        return measure_step(begun.step, bench)
    return judge_step(begun.step, bench, None if begun.in_use is None else begun.in_use.conclusion)


def _quantities(step: PlannedStep) -> dict[tuple[str, str], float]:
    settings = {}
    for quantity, value in step.settings.items():
        instrument, _, name = quantity.partition(".")
        settings[instrument, name] = value
    return settings


def _tell_vectors(job: RunJob, step: PlannedStep, vectors: int, block: tuple[float, float]) -> None:
    began_s, ended_s = block
    job.book.vectors(step.key.core, vectors, seconds=ended_s - began_s)
    job.events.tell(VectorsRead(step=step.key.name, vectors=vectors))
