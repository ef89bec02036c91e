"""What a run found visit by visit: under what, by which steps, with what errors."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hil.core.readout import ReadMode
from hil.report.run_facts import ConditionSummary, summarize_conditions
from hil_calibration.verify import CORRECTIONS
from hil_datasets.run_directory import key_of
from hil_datasets.run_source import ConcludedStep
from hil_datasets.step import StepKey, StepKind
from hil_datasets.step_conditions import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitedStep:
    """What the summary of a visit needs of one of its steps."""

    key: StepKey
    """Which step."""
    age_s: float
    """Seconds since the core was programmed; NaN if that is not known."""
    conditions: tuple[Condition, ...]
    """What the bench instruments showed."""
    errors: Mapping[str, float]
    """Relative L2 error per correction."""

    @classmethod
    def of(cls, step: ConcludedStep) -> "VisitedStep":
        """Take it from a step."""
        return cls(
            key=step.key,
            age_s=step.origin.circumstance.age_s,
            conditions=step.conditions,
            errors=step.conclusion.errors,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSummary:
    """The steps of one kind and read mode in a visit."""

    kind: str
    """What they do."""
    read_mode: str
    """Read mode: the errors of two are not comparable."""
    steps: int
    """How many were taken."""
    errors: dict[str, float]
    """Per correction, the median of their relative L2 errors; NaN where none has one."""
    worst_error: float
    """The largest of the NMPU's."""
    worst_step: str
    """Name of the step that has it; empty if none has an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedStep:
    """A step that was not needed."""

    step: str
    """Its name."""
    reason: str
    """Why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """A calibration that a drift watch found needed."""

    step: str
    """Its name."""
    reason: str
    """Why."""
    remark: str
    """That it did not help enough; empty if it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitSummary:
    """One visit of a run."""

    visit: int
    """Its number."""
    conditions: tuple[ConditionSummary, ...]
    """What the bench instruments were set to and showed."""
    youngest_s: float
    """Least seconds since its core was programmed of any step; NaN if that is not known."""
    oldest_s: float
    """Most of them."""
    kinds: tuple[KindSummary, ...]
    """Its steps by their kind and read mode, in the order in which these came up."""
    skipped: tuple[SkippedStep, ...]
    """Steps that were not needed."""
    recalibrated: tuple[Recalibration, ...] = ()
    """Calibrations that a drift watch found needed."""


def summarize_visits(
    steps: Sequence[VisitedStep],
    skipped: Mapping[StepKey, str],
    recalibrated: Mapping[StepKey, Recalibration],
) -> tuple[VisitSummary, ...]:
    """Sum up the visits of a run, in order; none if all it did was to calibrate once.

    Parameters
    ----------
    steps
        The finished steps, in the order they were.
    skipped
        Why steps were skipped.
    recalibrated
        Calibrations that a drift watch found needed.
    """
    keys = [*(step.key for step in steps), *skipped]
    if not skipped and all(key == StepKey(key.core, key.read_mode) for key in keys):
        return ()
    of_visit: dict[int, list[VisitedStep]] = defaultdict(list)
    for step in steps:
        of_visit[step.key.visit].append(step)
    skipped_of: dict[int, dict[StepKey, str]] = defaultdict(dict)
    for key, reason in skipped.items():
        skipped_of[key.visit][key] = reason
    return tuple(
        _summarize_visit(
            visit,
            of_visit[visit],
            skipped_of[visit],
            [each for key, each in recalibrated.items() if key.visit == visit],
        )
        for visit in sorted({key.visit for key in keys})
    )


def recalibrations(events: Iterable[Mapping[str, Any]]) -> dict[StepKey, Recalibration]:
    """Return the calibrations among the events of a journal that a drift watch found needed."""
    return {
        (key := key_of(event)): Recalibration(
            step=key.name, reason=str(event["reason"]), remark=str(event.get("remark", ""))
        )
        for event in events
        if event["event"] == "step" and event.get("reason")
    }


def _summarize_visit(
    visit: int,
    steps: Sequence[VisitedStep],
    skipped: Mapping[StepKey, str],
    recalibrated: Sequence[Recalibration],
) -> VisitSummary:
    by_kind: dict[tuple[StepKind, ReadMode], list[VisitedStep]] = defaultdict(list)
    for step in steps:
        by_kind[step.key.kind, step.key.read_mode].append(step)
    ages = [step.age_s for step in steps if not math.isnan(step.age_s)]
    return VisitSummary(
        visit=visit,
        conditions=summarize_conditions(step.conditions for step in steps),
        youngest_s=min(ages, default=math.nan),
        oldest_s=max(ages, default=math.nan),
        kinds=tuple(_summarize_kind(*kind, taken) for kind, taken in by_kind.items()),
        skipped=tuple(
            SkippedStep(step=key.name, reason=reason) for key, reason in sorted(skipped.items())
        ),
        recalibrated=tuple(recalibrated),
    )


def _summarize_kind(
    kind: StepKind, read_mode: ReadMode, steps: Sequence[VisitedStep]
) -> KindSummary:
    judged = [step for step in steps if math.isfinite(step.errors["nmpu"])]
    worst = max(judged, key=lambda step: step.errors["nmpu"], default=None)
    return KindSummary(
        kind=str(kind),
        read_mode=str(read_mode),
        steps=len(steps),
        errors={name: _median([step.errors[name] for step in steps]) for name in CORRECTIONS},
        worst_error=math.nan if worst is None else worst.errors["nmpu"],
        worst_step="" if worst is None else worst.key.name,
    )


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return median(finite) if finite else math.nan
