"""Taking the steps of a run one after the other, losing nothing that is finished."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from hil.campaign.observers import why_ended
from hil.campaign.plan import PlannedStep
from hil.campaign.plan_fit import terms_of
from hil.campaign.run_events import RunStarted, StepSize
from hil.campaign.run_job import RunJob, RunOutcome, absolute
from hil.campaign.step_taking import StepTaker
from hil.core.errors import HilError
from hil_datasets.index import write_index
from hil_datasets.journal_plan import event_of
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import hash_work
from hil_datasets.visit_terms import terms_to_json


def take_steps(job: RunJob) -> RunOutcome:
    """Take every step of a run that is not finished; whatever ends it, say so in its journal.

    Raises
    ------
    HilError
        As `StepTaker.take`.
    RunInterruptedError
        If the run shall stop.
    """
    _begin(job)
    taker = StepTaker(job)
    failed: list[str] = []
    try:
        job.chip.reset()
        for step in job.plan:
            if step.key in job.finished:
                taker.pass_by(step)
                continue
            job.switch.check()
            problem = taker.take(step)
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
                _stop(job, "failed", failed, reason=why_ended(error))
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
        "planned": [key.name for key in (*(step.key for step in job.plan), *job.recorded_skips)],
        "visits": terms_to_json(terms_of(job.campaign.config)),
        "work": work_hashes(job.plan),
        **job.beginning,
    }
    job.note(str(details.pop("event", "start")), **details)
    for key, reason in job.recorded_skips.items():
        if key not in job.finished:
            job.note("skip", step=key.name, reason=reason, **event_of(key))
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
            skipped=frozenset(key.name for key in job.skipped),
        )
    )


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
