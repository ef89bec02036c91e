"""What the line of a step in the journal says besides: why it was needed, what it does not tell."""

from collections.abc import Mapping

from hil.campaign.corrections_in_use import CorrectionsInUse
from hil.campaign.drift_watch import what_remains, why_needed
from hil.campaign.plan import PlannedStep
from hil.campaign.run_events import Noted
from hil.campaign.run_job import RunJob
from hil_datasets.circumstance import CorrectionSource
from hil_datasets.step import StepConclusion, StepOrigin


def remarks_on(
    job: RunJob,
    step: PlannedStep,
    conclusion: StepConclusion,
    origin: StepOrigin,
    *,
    corrections: CorrectionsInUse,
    read_under: Mapping[str, int],
) -> dict[str, str]:
    """Return the remarks on a finished step, by their keys in the journal; log them as well.

    Parameters
    ----------
    job, step, conclusion, origin
        The run, its step, what it concluded and where its data come from.
    corrections
        The steps that are finished.
    read_under
        Number of the programming that each step was read under, by its name.
    """
    source = origin.circumstance.correction_of
    said = {
        "reason": why_needed(job, step, corrections),
        "remark": what_remains(job, step, conclusion.errors)
        or ("" if source is None else _other_programming(job, step, source, read_under)),
    }
    told = {name: words for name, words in said.items() if words}
    for words in told.values():
        job.events.tell(Noted(words=f"{step.key.name}: {words}"))
    return told


def _other_programming(
    job: RunJob, step: PlannedStep, source: CorrectionSource, read_under: Mapping[str, int]
) -> str:
    """Say that a step judges a calibration of another programming; nothing if it does not."""
    if job.time.is_virtual:
        return ""  # a mock that is programmed again in virtual time is as it was
    own, of_calibration = read_under.get(step.key.name), read_under.get(source.step)
    if own is None or of_calibration in {None, own}:
        return ""
    return (
        f"judges {source.step}, which was read under programming {of_calibration} of core "
        f"{step.key.core}; this step was under programming {own}: its error is not of age alone"
    )
