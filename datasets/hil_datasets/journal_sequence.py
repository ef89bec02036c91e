"""The order in which a run writes its journal.

Lines that come in another one are not all of one run, or not as it wrote them: nobody can tell then
which of them a step's numbers are of.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hil.core.errors import DatasetError, Problem
from hil_datasets.journal import BEGINNINGS
from hil_datasets.journal_plan import key_of
from hil_datasets.step import StepKey

_OF_ITS_MAKING = frozenset({"repair", "merge", "split"})
"""Events of whoever made a run from others."""
_TELLING = BEGINNINGS | _OF_ITS_MAKING | {"stop", "program", "begin", "step", "skip"}
"""Events that say what a step's numbers are of, or where a run begins and ends."""
_ANOTHER_ORDER = ("refit_of", "converted_from")
"""What the `start` of a run says whose steps need not be in the order of its plan."""

Line = tuple[int, Mapping[str, Any]]
"""An event, and the number of its line."""


def sequence_problems(lines: Iterable[Line]) -> Iterator[Problem]:
    """Yield what comes in an order in which no run writes it.

    Parameters
    ----------
    lines
        The journal's events in order, with their numbers.
    """
    has_begun, has_stopped = False, False
    finished: dict[StepKey, int] = {}
    for number, event in lines:
        what, where = event["event"], f"line {number}"
        if what == "start" and has_begun:
            yield Problem(where, "is a second start of the run")
        if has_stopped and what not in BEGINNINGS | _OF_ITS_MAKING | {"stop"}:
            message = f"a {what} event after the run stopped, without a resume between them"
            yield Problem(where, message)
        has_begun = has_begun or what == "start"
        has_stopped = what == "stop" or (
            has_stopped and what not in BEGINNINGS and what not in _OF_ITS_MAKING
        )
        if what == "step":
            key = key_of(event)
            if key in finished:
                message = f"{key.name} is finished a second time, after line {finished[key]}"
                yield Problem(where, message)
            finished[key] = number


def file_problem(event: Mapping[str, Any]) -> str:
    """Say how a `step` event names another file than its step has; nothing if it does not."""
    name = key_of(event).name
    file = file_of(name)
    if event.get("file", file) == file:
        return ""
    return f"the step event of {name} names {event['file']!r}: must be {file}"


def file_of(name: str) -> str:
    """Return the file of a step in the folder of its run."""
    return f"steps/{name}.h5"


def check_sequence(source: str, events: Iterable[Mapping[str, Any]]) -> None:
    """See that a journal's lines are those of one run, in an order in which a run writes them.

    Parameters
    ----------
    source
        Name of the run, for messages.
    events
        The journal's events, all of them: one a line.

    Raises
    ------
    DatasetError
        If they are not; with each line.
    """
    lines = [each for each in enumerate(events, start=1) if each[1]["event"] in _TELLING]
    problems = list(sequence_problems(lines))
    problems += [
        Problem(f"line {number}", message)
        for number, event in lines
        if event["event"] == "step" and (message := file_problem(event))
    ]
    if problems:
        *others, last = problems
        hint = (
            "nobody can tell which steps are this run's: hil data verify says all that is wrong, "
            "hil data repair makes a run of what fits"
        )
        problems = [*others, Problem(last.where, f"{last.message}; {hint}")]
        raise DatasetError(f"{source}: journal.jsonl", problems)


def order_problems(lines: Iterable[Line]) -> Iterator[Problem]:
    """Yield steps that were finished in another order than that of the plan.

    Every process takes the steps in the order in which its beginning names them. Of a run that was
    made from others nothing is said.

    Parameters
    ----------
    lines
        The journal's events in order, with their numbers.
    """
    lines = list(lines)
    if any(_is_made_from_others(event) for _, event in lines):
        return
    places: dict[str, int] = {}
    finished: set[str] = set()
    last, last_place = "", -1
    for number, event in lines:
        if event["event"] in BEGINNINGS:
            places = {name: place for place, name in enumerate(event.get("planned", ()))}
            last, last_place = "", -1
        elif event["event"] == "step":
            name = key_of(event).name
            place = last_place if name in finished else places.get(name, last_place)
            finished.add(name)
            if place < last_place:
                message = f"{name} is finished after {last}, and was planned before it"
                yield Problem(f"line {number}", message)
            else:
                last, last_place = name, place


def _is_made_from_others(event: Mapping[str, Any]) -> bool:
    if event["event"] in BEGINNINGS:
        return any(name in event for name in _ANOTHER_ORDER)
    return event["event"] in _OF_ITS_MAKING
