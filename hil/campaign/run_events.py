"""What happens in a run, as values: told to whoever watches it.

The runner makes them and hands each to one `RunWatcher`, which is `Observers` with the progress
file, the log file, notifications and the terminal behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class RunState(StrEnum):
    """How a run is, or how it ended."""

    RUNNING = "running"
    """Steps are taken."""
    PAUSED = "paused"
    """A guard waits for something to clear; the chip is safe."""
    STOPPING = "stopping"
    """It was asked to stop and finishes its block."""
    COMPLETE = "complete"
    """Every step is finished."""
    INCOMPLETE = "incomplete"
    """It went to its end, but some steps could not be calibrated."""
    FAILED = "failed"
    """An error ended it."""
    INTERRUPTED = "interrupted"
    """Somebody ended it."""
    KILLED = "killed"
    """Its process is gone without a word; only readers say this, never the process itself."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self not in {RunState.RUNNING, RunState.PAUSED, RunState.STOPPING}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSize:
    """A planned step, as far as its duration depends on it."""

    name: str
    """Name of the step."""
    read_mode: str
    """Read mode: each has its own pace."""
    vectors: int
    """Vectors to read."""
    chip: str = ""
    """Which of several chips that are driven at the same time; empty for the only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run begins, or goes on."""

    run: Path
    """The run directory."""
    title: str
    """Title of the campaign."""
    chip: str
    """Who the device says it is."""
    steps: tuple[StepSize, ...]
    """Every planned step, in order."""
    finished: frozenset[str] = frozenset()
    """Names of those that were finished before, where the run goes on, skipped ones among them."""
    skipped: frozenset[str] = frozenset()
    """Names of those among them that were not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step begins, or goes on."""

    step: str
    """Its name."""
    vectors_done: int = 0
    """Vectors that were read before, where it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorsRead:
    """A block of vectors was read and stored."""

    step: str
    """Name of the step; empty for the only one that is being taken."""
    vectors: int
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step is stored for good."""

    step: str
    """Its name."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """Relative L2 error of each correction; NaN where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed:
    """A step could not be calibrated."""

    step: str
    """Its name."""
    reason: str
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped:
    """A step need not be taken: a drift watch has found so."""

    step: str
    """Its name."""
    reason: str
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultMet:
    """The link failed and was mended, or was given up."""

    kind: str
    """Kind of the fault."""
    request: str
    """The request that met it."""
    detail: str
    """What exactly."""
    recovered_s: float | None
    """Seconds until it was mended; None if it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPaused:
    """A guard has paused the run."""

    reason: str
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseSeen:
    """A guard has looked again while the run is paused."""

    found: str
    """What is wrong now, with its value."""
    left_s: float | None
    """How much longer it may be wrong before the run stops; None if nothing is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContinued:
    """A paused run goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The run waits for time to pass on the bench."""

    reason: str
    """What for: ``until core 0 is 3 h old``, ``for chamber.temperature to settle at 40 degC``."""
    now_s: float
    """When the wait began, seconds on the bench."""
    until_s: float | None
    """When it ends, likewise; None if nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitEnded:
    """The run waits no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked:
    """The run was asked to stop and ends as soon as it is safe."""

    reason: str
    """By whom, or by which signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftUnsafe:
    """The chip, or an instrument, could not be left safe."""

    reason: str
    """Which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something else that belongs into the log, such as a lock that was taken over."""

    words: str
    """What."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something that whoever runs it should know at once, though the run goes on."""

    words: str
    """What."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run has ended."""

    state: RunState
    """How: complete, incomplete, failed or interrupted."""
    reason: str = ""
    """What ended it, if not its plan."""


RunEvent = (
    RunStarted
    | StepStarted
    | VectorsRead
    | StepFinished
    | StepFailed
    | StepSkipped
    | FaultMet
    | RunPaused
    | PauseSeen
    | RunContinued
    | Waiting
    | WaitEnded
    | StopAsked
    | LeftUnsafe
    | Noted
    | Warned
    | RunEnded
)
"""Anything that happens in a run."""


class RunWatcher(Protocol):
    """Who is told what happens in a run."""

    def hear(self, event: RunEvent) -> None:
        """Hear what has happened; called from any thread, one call at a time."""
        ...

    def tick(self) -> None:
        """Do what is due by the clock; called about twice a second."""
        ...

    def close(self) -> None:
        """Finish, within a bounded time: nothing more will happen."""
        ...
