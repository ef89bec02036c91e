"""What a journal tells of one step: how it came to be, and what happened to it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hil_datasets.journal import BEGINNINGS
from hil_datasets.journal_plan import key_of
from hil_datasets.step import StepKey


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStory:
    """The events of a journal that a step is concerned by."""

    finished: Mapping[str, Any]
    """Its last ``step`` event; empty if there is none."""
    beginning: Mapping[str, Any]
    """The last ``start`` or ``resume`` before it with its campaign file; empty if none has it."""
    programming: Mapping[str, Any]
    """The last ``program`` event of its core before it; empty if there is none."""
    told: tuple[Mapping[str, Any], ...]
    """Every event that names it, in order."""

    @classmethod
    def of(
        cls, events: Sequence[Mapping[str, Any]], key: StepKey, campaign_sha256: str | None
    ) -> "StepStory":
        """Return the story of a step.

        Parameters
        ----------
        events
            The journal's events.
        key
            The step.
        campaign_sha256
            Hash of its campaign file; None if the step cannot be read: any will do then.
        """
        ends = [
            place
            for place, event in enumerate(events)
            if event["event"] == "step" and key_of(event) == key
        ]
        before = events[: ends[-1]] if ends else events
        programmings = [
            event
            for event in before
            if event["event"] == "program" and event.get("core") == key.core
        ]
        beginnings = [
            event
            for event in before
            if event["event"] in BEGINNINGS
            and campaign_sha256 in {None, event.get("campaign_sha256")}
        ]
        return cls(
            finished=events[ends[-1]] if ends else {},
            beginning=(beginnings or [{}])[-1],
            programming=(programmings or [{}])[-1],
            told=tuple(_naming(events, key)),
        )


def without_nan(value: Any) -> Any:
    """Return what a journal holds with None for NaN, as JSON knows none."""
    if isinstance(value, Mapping):
        return {name: without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def former_hashes(events: Sequence[Mapping[str, Any]], step: str) -> set[str]:
    """Return the content hashes that a step had before repairs."""
    return {
        event["was_raw_sha256"]
        for event in events
        if event["event"] == "repair" and event.get("step") == step and "was_raw_sha256" in event
    }


def _naming(events: Sequence[Mapping[str, Any]], key: StepKey) -> Iterator[Mapping[str, Any]]:
    for event in events:
        what = event["event"]
        if what == "merge":
            yield from _source_in(event, key)
        elif what == "split":
            if key.name in event.get("steps", ()):
                yield {name: value for name, value in event.items() if name != "steps"}
        elif event.get("step") == key.name or (what in {"step", "skip"} and key_of(event) == key):
            yield event


def _source_in(event: Mapping[str, Any], key: StepKey) -> Iterator[Mapping[str, Any]]:
    """Yield, of a merge, the run that had a step."""
    for source in event.get("sources", ()):
        if isinstance(source, dict) and key.name in source.get("steps", ()):
            told = {"event": "merge", "utc": event.get("utc", "")}
            yield told | {"journal_sha256": source.get("journal_sha256", "")}
