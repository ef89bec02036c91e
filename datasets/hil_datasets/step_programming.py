"""Whether the readouts of a step are all of one programming of its core, as its journal tells.

A step that says when it begins has no ``program`` line of its core between there and its end. Of
older software's only the times tell: a core that was programmed in a resumed run after the first
block of the step was there.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hil_datasets.journal_plan import key_of
from hil_datasets.step import StepKey
from hil_datasets.step_timing import StepTiming

_NOT_MEASURED = ("replay_of", "refit_of", "converted_from")
"""What the `start` of a run says that has the readouts of another one."""

Line = tuple[int, Mapping[str, Any]]
"""An event, and the number of its line."""


_MOCK = "mock://"
"""A private mock: whoever programs the same weights into its cores gets the same noise."""
_UNKNOWN_S = (math.nan, math.nan)


def read_span_s(timing: StepTiming | None) -> tuple[float, float]:
    """Return when the first and the last block of a step were there, POSIX seconds.

    NaN if nobody knows.
    """
    if timing is None or len(timing.ended_s) == 0:
        return _UNKNOWN_S
    began_s = _posix_s(timing.began_utc)
    return began_s + float(timing.ended_s[0]), began_s + float(timing.ended_s[-1])


class StepProgrammings:
    """Which programmings a run's steps were read under.

    Parameters
    ----------
    lines
        The journal's events in order, with their numbers.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self._start: Mapping[str, Any] = {}
        self._resumed = math.inf
        self._repaired = math.inf
        self._programs: dict[int, list[Line]] = defaultdict(list)
        self._taken: dict[str, list[Line]] = defaultdict(list)
        for number, event in lines:
            what = event["event"]
            if what == "start" and not self._start:
                self._start = event
            elif what == "resume":
                self._resumed = min(self._resumed, number)
            elif what == "repair":
                self._repaired = min(self._repaired, number)
            elif what == "program" and "core" in event:
                self._programs[event["core"]].append((number, event))
            elif what == "begin" and "step" in event:
                self._taken[event["step"]].append((number, event))
            elif what == "step":
                self._taken[key_of(event).name].append((number, event))

    def problem(self, key: StepKey, *, read_s: tuple[float, float] = _UNKNOWN_S) -> str:
        """Say that a step was read under more than one programming; nothing if it was not.

        Parameters
        ----------
        key
            The step.
        read_s
            When its first and its last block were there, as `read_span_s`.
        """
        taken = self._last_taking(key)
        if not taken or taken[-1][1]["event"] != "step" or self._is_mock:
            return ""
        end, (first_s, last_s) = taken[-1][0], read_s
        if end > self._repaired:  # a repair has written its line, not who took the step
            return _other_numbers(key, taken)
        if len(taken) > 1 and not taken[0][1].get("vectors"):
            # A whole step whose line was lost is told when the run goes on: after its last block.
            again = [
                number
                for number, event in self._programs[key.core]
                if taken[0][0] < number < end and not _posix_s(event.get("utc")) > last_s
            ]
            return _joined(key, again) or _other_numbers(key, taken)
        return _joined(key, self._programmed_later(key, end, first_s))

    @property
    def _is_mock(self) -> bool:
        return str(self._start.get("resource", "")).startswith(_MOCK)

    def _last_taking(self, key: StepKey) -> list[Line]:
        """Return the lines of a step from where it began last, of vector 0 if it says so."""
        taken = self._taken.get(key.name, [])
        first = 0
        for place, (_, event) in enumerate(taken[:-1]):
            if event["event"] == "step":
                first = place + 1
            elif not event.get("vectors"):
                first = place
        return taken[first:]

    def _programmed_later(self, key: StepKey, end: int, read_s: float) -> list[int]:
        start = self._start
        # What was read before the run began was recorded by another one.
        is_own = _posix_s(start.get("utc")) <= read_s
        if not is_own or any(name in start for name in _NOT_MEASURED):
            return []
        return [
            number
            for number, event in self._programs[key.core]
            if self._resumed < number < end and _posix_s(event.get("utc")) > read_s
        ]


def _joined(key: StepKey, again: Sequence[int]) -> str:
    if not again:
        return ""
    return (
        f"was read under two programmings of core {key.core}: line "
        f"{', '.join(map(str, again))} of the journal programs it again between the step's first "
        "vectors and its last, and the weights have another noise from there on; take the step "
        "anew, in another run"
    )


def _other_numbers(key: StepKey, taken: Sequence[Line]) -> str:
    """Say that a step names other programmings as it goes on: its journal may lack a line."""
    numbers = [event["programming"] for _, event in taken if "programming" in event]
    if len(set(numbers)) < 2:
        return ""
    told = " and ".join(map(str, dict.fromkeys(numbers)))
    return f"was read under programmings {told} of core {key.core}, as the journal says"


def _posix_s(utc: object) -> float:
    try:
        return datetime.fromisoformat(str(utc)).timestamp()
    except (ValueError, OverflowError):
        return math.nan
