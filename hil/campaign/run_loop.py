"""Taking the steps of a run one after the other, losing nothing that is finished."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from hil.campaign.plan import PlannedStep
from hil.campaign.run_events import RunStarted, StepSize
from hil.campaign.run_job import RunJob, RunOutcome, absolute
from hil.campaign.step_taking import take_step
from hil.core.errors import HilError
from hil_datasets.chip_book.facts import digest_weights
from hil_datasets.index import write_index
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import hash_work
from hil_drivers.link_fault import FaultKind


def take_steps(job: RunJob) -> RunOutcome:
    """Take every step of a run that is not finished; whatever ends it, say so in its journal.

    Raises
    ------
    HilError
        As `take_step`.
    RunInterruptedError
        If the run shall stop.
    """
    _begin(job)
    programmer = _Programmer(job)
    failed: list[str] = []
    try:
        job.chip.reset()
        for step in job.plan:
            if step.key in job.finished:
                continue
            job.switch.check()
            problem = take_step(job, step, programmer.program)
            if problem:
                failed.append(f"{step.key.name}: {problem}")
        job.switch.end()
        _index_finished(job.run)
    except BaseException as error:
        job.switch.end()
        # What broke the run is what the user must hear of, whatever breaks while tidying up.
        with suppress(HilError):
            _index_finished(job.run)
        with suppress(HilError):
            if isinstance(error, KeyboardInterrupt):
                _stop(job, "interrupted", failed, reason=str(error) or "Ctrl-C")
            else:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
                _stop(job, "aborted", failed, reason=reason)
        raise
    _stop(job, "incomplete" if failed else "complete", failed)
    return RunOutcome(run=job.run, failed=tuple(failed))


def work_hashes(plan: Sequence[PlannedStep]) -> dict[str, str]:
    """Return the hash of weights and vectors of each step, by its name."""
    known: dict[int, str] = {}  # read modes share the work of their core
    for step in plan:
        if id(step.work) not in known:
            known[id(step.work)] = hash_work(step.work.weights, step.work.inputs)
    return {step.key.name: known[id(step.work)] for step in plan}


def _begin(job: RunJob) -> None:
    details = {
        "title": job.campaign.config.campaign.title,
        "campaign": absolute(job.campaign.path),
        "campaign_sha256": job.campaign.sha256,
        "resolved_sha256": job.campaign.resolved_sha256,
        "resource": job.resource,
        "chip": str(job.identity),
        "identity": asdict(job.identity),
        "geometry": asdict(job.chip.geometry()),
        "software": dict(job.software),
        "planned": [step.key.name for step in job.plan],
        "work": work_hashes(job.plan),
        **job.beginning,
    }
    job.note(str(details.pop("event", "start")), **details)
    sizes = (
        StepSize(
            name=step.key.name,
            read_mode=str(step.key.read_mode),
            vectors=len(step.work.inputs),
        )
        for step in job.plan
    )
    job.events.tell(
        RunStarted(
            run=job.run.path,
            title=job.campaign.config.campaign.title,
            chip=str(job.identity),
            steps=tuple(sizes),
            finished=frozenset(key.name for key in job.finished),
        )
    )


class _Programmer:
    """Programs each core once, and not at all if it has kept what this run programmed before."""

    def __init__(self, job: RunJob) -> None:
        self._job = job
        self._core: int | None = None

    def program(self, step: PlannedStep) -> None:
        core, weights = step.key.core, step.work.weights
        if self._core == core:
            return
        digest = digest_weights(weights)
        if not self._is_kept(step, digest):
            job = self._job
            with job.switch.whole():
                job.note("program", core=core, weights=digest)
                begun = self._begun_in_vain()
                with job.book.programming(core, digest) as pulse:
                    job.chip.program(core, weights)
                    pulse.repeated(self._begun_in_vain() - begun)
        self._core = core

    def _is_kept(self, step: PlannedStep, digest: str) -> bool:
        holds = getattr(self._job.chip, "holds", None)  # a plug-in need not have it
        if holds is None or self._job.programmed.get(step.key.core) != digest:
            return False
        return bool(holds(step.key.core, step.work.weights))

    def _begun_in_vain(self) -> int:
        return self._job.clock.fault_counts.get(FaultKind.HALF_PROGRAMMED.value, 0)


def _index_finished(run: RunDirectory) -> None:
    finished = run.finished_steps()
    if finished:
        write_index(run, finished)


def _stop(job: RunJob, status: str, failed: Sequence[str], *, reason: str = "") -> None:
    job.book.stopped(status, reason=reason)
    job.note_faults("")
    job.note(
        "stop",
        status=status,
        reason=reason,
        failed=list(failed),
        faults=job.clock.fault_counts,
    )
