"""How far a run is, as a value that goes into ``progress.json``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from hil.campaign.pause_tally import CurrentPause
from hil.campaign.run_events import (
    RunState,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentStep:
    """A step that is being taken."""

    name: str
    """Its name."""
    vectors_done: int
    """Vectors read."""
    vectors: int
    """Vectors planned."""
    chip: str = ""
    """Which of several chips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentWait:
    """A wait for time to pass on the bench."""

    reason: str
    """What for, such as ``until core 0 is 3 h old``."""
    left_s: float | None
    """How much longer; None if nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is."""

    state: RunState
    """How it is, or how it ended."""
    reason: str
    """Why it is paused, stopping, failed or interrupted; empty otherwise."""
    title: str
    """Title of the campaign."""
    chip: str
    """Who the device says it is."""
    steps_done: int
    """Steps finished, those from before it went on among them."""
    steps: int
    """Steps planned."""
    vectors_done: int
    """Vectors of finished steps, and those read of the current ones."""
    vectors: int
    """Vectors planned, without those of steps that were not needed."""
    elapsed_s: float
    """Since this process began with it."""
    eta_s: float | None
    """How much longer; None as long as nothing was measured, 0 at the end."""
    vectors_per_s: Mapping[str, float] = field(default_factory=dict)
    """Recent pace per read mode."""
    current: tuple[CurrentStep, ...] = ()
    """Steps that are being taken."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Steps that could not be calibrated, and why."""
    last_errors: Mapping[str, float | None] = field(default_factory=dict)
    """Relative L2 error of each correction in the last finished step; None where there is none."""
    last_errors_step: str = ""
    """Which step that was."""
    worst_errors: Mapping[str, float] = field(default_factory=dict)
    """Largest error of each correction so far, in the steps of this process."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """Faults of the link by kind."""
    last_fault: str = ""
    """The last one in words."""
    unsafe: str = ""
    """What could not be left safe, and why; empty if everything could."""
    waiting: CurrentWait | None = None
    """What the run waits for; None if it does not."""
    pause: CurrentPause | None = None
    """How the pause stands; None if the run is not paused."""
    steps_skipped: int = 0
    """Planned steps that were not needed."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def utc_text(now: datetime) -> str:
    """Return a time as the files of a run write it."""
    return now.isoformat(timespec="seconds")
