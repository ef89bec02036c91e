"""How old the weights of a core were at a calibration: as its step says, or else the journal."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hil_datasets.journal import BEGINNINGS
from hil_datasets.journal_plan import key_of
from hil_datasets.run_source import StepFacts

_RESOLUTION_S = 2.0
"""Journals and steps tell time in whole seconds, so one may be told before what came before it."""


def age_at(facts: StepFacts, events: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds since a core was programmed, when a step began; NaN if nobody knows.

    A campaign without visits stores no ages; its journal tells when it programmed. In a replay
    nothing was programmed.

    Parameters
    ----------
    facts
        The step.
    events
        The journal's events.
    """
    stored = facts.origin.circumstance.age_s
    if not math.isnan(stored):
        return stored
    measured = _time_of(facts.origin.measured_utc)
    age_s, began_s, is_replay = math.nan, math.nan, False
    for event in events:
        what = event["event"]
        if what in BEGINNINGS:
            is_replay = bool(event.get("replay_of"))
        elif what == "program" and event.get("core") == facts.key.core and not is_replay:
            began_s = _seconds(_time_of(event.get("utc")), measured)
        elif what == "step" and key_of(event) == facts.key:
            age_s = began_s  # of the last one, where it was taken again
    return age_s


def _seconds(began: datetime | None, ended: datetime | None) -> float:
    if began is None or ended is None:
        return math.nan
    try:
        passed_s = (ended - began).total_seconds()
    except TypeError:  # one of them does not say its zone
        return math.nan
    return max(0.0, passed_s) if passed_s >= -_RESOLUTION_S else math.nan


def _time_of(utc: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(utc))
    except ValueError:
        return None
