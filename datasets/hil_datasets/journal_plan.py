"""What a journal says was skipped, held to what it says was planned."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError, Problem
from hil_datasets.journal import BEGINNINGS
from hil_datasets.step import StepKey, StepKind
from hil_datasets.visit_terms import VisitTerms

_SKIPPED_KINDS = (StepKind.CALIBRATE, StepKind.PROBE)
"""What a drift watch may leave out."""


def key_of(event: Mapping[str, Any]) -> StepKey:
    """Return the step that a ``step`` or ``skip`` event is of."""
    return StepKey(
        event["core"],
        event["read_mode"],
        visit=event.get("visit", 0),
        kind=event.get("kind", StepKind.CALIBRATE),
    )


def event_of(key: StepKey) -> dict[str, Any]:
    """Return what tells a step from others, as its line in the journal says it."""
    visit = {"visit": key.visit} if key.visit else {}
    kind = {} if key.kind is StepKind.CALIBRATE else {"kind": str(key.kind)}
    return {"core": key.core, "read_mode": str(key.read_mode), **visit, **kind}


def check_skips(
    path: Path, events: Iterable[Mapping[str, Any]], *, visits: Sequence[VisitTerms] = ()
) -> None:
    """See that steps which a journal calls skipped were planned, and may be skipped.

    Parameters
    ----------
    path
        The journal.
    events
        Its events, all of them: one a line.
    visits
        The visits of the plan, where the journal does not say them.

    Raises
    ------
    DatasetError
        If one was not planned, was finished before, or is of no drift watch; with its line.
    """
    planned: set[str] | None = None
    finished: set[StepKey] = set()
    problems: list[Problem] = []
    for number, event in enumerate(events, start=1):
        if event["event"] in BEGINNINGS:
            if "planned" in event:
                planned = (planned or set()).union(event["planned"])
            visits = event.get("visits", visits)
        elif event["event"] == "step":
            finished.add(key_of(event))
        elif event["event"] == "skip":
            message = _skip_problem(event, planned, finished, visits)
            if message:
                problems.append(Problem(f"line {number}", f"skip event: {message}"))
    if problems:
        raise DatasetError(str(path), problems)


def check_planned(path: Path, events: Iterable[Mapping[str, Any]]) -> None:
    """See that the steps which a journal calls finished were planned.

    Raises
    ------
    DatasetError
        If one was not; with its line.
    """
    planned: set[str] | None = None
    problems: list[Problem] = []
    for number, event in enumerate(events, start=1):
        if event["event"] in BEGINNINGS and "planned" in event:
            planned = (planned or set()).union(event["planned"])
        elif event["event"] == "step" and planned is not None:
            name = key_of(event).name
            if name not in planned:
                problem = Problem(f"line {number}", f"step event: {name}: {_UNPLANNED}")
                problems.append(problem)
    if problems:
        raise DatasetError(str(path), problems)


_UNPLANNED = "the run has not planned such a step"


def _skip_problem(
    event: Mapping[str, Any],
    planned: Collection[str] | None,
    finished: Collection[StepKey],
    visits: Sequence[VisitTerms],
) -> str:
    key = key_of(event)
    if event.get("step", key.name) != key.name:
        return f"names {event['step']}: its core, read mode, visit and kind are {key.name}"
    if planned is not None and key.name not in planned:
        return f"{key.name}: {_UNPLANNED}"
    if key in finished:
        return f"{key.name}: was finished before, and cannot have been skipped"
    if key.kind not in _SKIPPED_KINDS:
        return f"{key.name}: a {key.kind} step is never skipped"
    if key.visit < len(visits) and visits[key.visit].due_s is None:
        return f"{key.name}: visit {key.visit} is not of a drift watch, which alone skips steps"
    return ""
