"""A drift watch: waiting until a core is old enough, and what of it need not be taken."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hil.campaign.corrections_in_use import CorrectionsInUse
from hil.campaign.plan import PlannedStep
from hil.campaign.programming import Programmer
from hil.campaign.run_job import RunJob
from hil_datasets.step import StepKind


def why_not_needed(job: RunJob, step: PlannedStep, corrections: CorrectionsInUse) -> str:
    """Say why a conditional calibration need not be taken; nothing if it must be.

    Parameters
    ----------
    job
        The run.
    step
        The calibration.
    corrections
        The steps that are finished.
    """
    verdict = _verdict(job, step, corrections)
    return "" if verdict is None or verdict.is_needed else verdict.reason


def why_needed(job: RunJob, step: PlannedStep, corrections: CorrectionsInUse) -> str:
    """Say why a conditional calibration is taken; nothing of any other step.

    Parameters
    ----------
    job
        The run.
    step
        The step.
    corrections
        The steps that are finished.
    """
    verdict = _verdict(job, step, corrections) if step.is_conditional else None
    return verdict.reason if verdict is not None and verdict.is_needed else ""


def what_remains(job: RunJob, step: PlannedStep, errors: Mapping[str, float]) -> str:
    """Say of a conditional calibration that it did not help; nothing if it did.

    Parameters
    ----------
    job
        The run.
    step
        The calibration.
    errors
        Errors of its own correction.
    """
    steps = job.campaign.config.steps
    if not step.is_conditional or steps is None or steps.drift_watch is None:
        return ""
    error, limit = errors[_judged_by(job)], steps.drift_watch.error_limit
    if error <= limit:
        return ""
    return (
        f"core {step.key.core} {step.key.read_mode}: still at {_percent(error)} after calibrating, "
        f"the limit is {_percent(limit)}: only programming it again helps, or a higher limit"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """Whether a calibration of a drift watch is needed, and why."""

    is_needed: bool
    reason: str


def _verdict(job: RunJob, step: PlannedStep, corrections: CorrectionsInUse) -> _Verdict | None:
    """Judge by the probe of the same visit; None where no drift watch decides."""
    steps = job.campaign.config.steps
    if steps is None or steps.drift_watch is None:
        return None
    probe = replace(step.key, kind=StepKind.PROBE)
    if probe in job.skipped:
        return _Verdict(is_needed=False, reason=f"{probe.name} was skipped")
    errors = corrections.errors_of(probe)
    if errors is None:
        # Nobody knows that the correction still holds.
        return _Verdict(is_needed=True, reason=f"{probe.name} failed")
    name = _judged_by(job)
    error, limit = errors[name], steps.drift_watch.error_limit
    is_needed = not error <= limit  # of no number either
    where = "beyond" if is_needed else "within"
    reason = (
        f"the {name} error of {probe.name} is {_percent(error)}: {where} the limit, "
        f"{_percent(limit)}"
    )
    return _Verdict(is_needed=is_needed, reason=reason)


def _judged_by(job: RunJob) -> str:
    return "nmpu" if job.campaign.config.device.has_nmpu else "float"


def _percent(error: float) -> str:
    return f"{100 * error:.4g} %"


def why_too_late(step: PlannedStep, age_s: float) -> str:
    """Say why a probe comes too late to tell anything; nothing if it does not.

    A core that was programmed long before the watch begins is past its first ages.
    """
    due_s, next_due_s = step.due_s, step.next_due_s
    if due_s is None or next_due_s is None or not age_s >= next_due_s:
        return ""
    return (
        f"core {step.key.core} is {age_s:.0f} s old: the visit at {due_s:.0f} s is over, the next "
        f"one is due at {next_due_s:.0f} s"
    )


def wait_until_due(job: RunJob, step: PlannedStep, programmer: Programmer) -> bool:
    """Wait until the core of a step is as old as it has to be; return whether that took a wait.

    Raises
    ------
    RunInterruptedError
        If the run shall stop.
    TransportError
        If the time is that of a mock, which is lost.
    """
    if step.due_s is None:
        return False
    left_s = step.due_s - programmer.age_s(step.key.core)
    if not left_s > 0:  # an age that nobody knows is waited for by nobody
        return False
    reason = f"until core {step.key.core} is {shown_age(step.due_s)} old"
    until_s = job.time.now_s() + left_s
    with job.waits.told(reason, until_s=until_s):
        while (left_s := until_s - job.time.now_s()) > 0:
            job.waits.sleep(left_s)
    return True


def shown_age(seconds: float) -> str:
    """Return an age in words.

    Examples
    --------
    >>> shown_age(129.3), shown_age(12927), shown_age(259200)
    ('129 s', '3.59 h', '3 d')
    """
    for unit_s, unit in ((86400, "d"), (3600, "h")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds:.3g} s"
