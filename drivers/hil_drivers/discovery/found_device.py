"""What a search for devices has found."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What is known of a device beyond that it is there."""

    IDENTIFIED = "identified"
    """It said who it is."""
    NOT_ASKED = "not asked"
    """Nothing was sent to it."""
    SILENT = "silent"
    """It could be opened and did not answer in time."""
    BUSY = "busy"
    """Another program or another client has it."""
    UNREACHABLE = "unreachable"
    """It could not be opened."""
    STRANGE = "no identity"
    """It answered something that is no identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """One way to one device; a device that can be reached in two ways is found twice."""

    resource: str
    """Resource string to put into a campaign; empty where there is none to tell."""
    found_by: tuple[str, ...]
    """Names of the searches that found it."""
    description: str
    """What the search knows of it without asking it."""
    state: State = State.NOT_ASKED
    """What asking it has led to."""
    identity: str | None = None
    """Its answer to ``*IDN?``."""
    detail: str = ""
    """Why it was not asked or has no identity, and what to do."""
    also: tuple[str, ...] = ()
    """Other resource strings that lead to it by the same way."""


class Outcome(StrEnum):
    """How a search ended."""

    DONE = "done"
    LATE = "not finished in time"
    MISSING = "not possible"
    """Software that it needs is not installed."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One place that was looked at."""

    name: str
    """What was looked for."""
    outcome: Outcome
    """How it ended."""
    detail: str = ""
    """What went wrong or was left out, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finds:
    """What one search has found."""

    search: Search
    """The search."""
    devices: tuple[FoundDevice, ...] = ()
    """What it found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What all searches have found together."""

    devices: tuple[FoundDevice, ...]
    """Each once, by resource string."""
    searches: tuple[Search, ...]
    """Where was looked."""
