"""A run under way: what it works with, and where it writes down what happens."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hil.campaign.bench_time import BenchTime, RealTime
from hil.campaign.config.load import Campaign
from hil.campaign.guards.fault_rate import FaultRate
from hil.campaign.guards.probation import Probation
from hil.campaign.instruments import BenchInstruments
from hil.campaign.interruption import StopSwitch
from hil.campaign.observers import Observers
from hil.campaign.plan import PlannedStep
from hil.campaign.run_clock import RunClock
from hil.campaign.run_events import FaultMet, RunEvent
from hil.campaign.waits import Waits
from hil.core.readout import ChipIdentity
from hil_datasets.chip_book.campaign_book import BookKeeper
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey
from hil_drivers.chip import Chip
from hil_drivers.link_fault import LinkFault


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended."""

    run: RunDirectory
    """Where it is."""
    failed: tuple[str, ...]
    """Steps that could not be calibrated, and why; empty if all could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programming:
    """A programming of a core, as the journal tells it."""

    weights: str
    """Digest of the weights."""
    utc: str
    """When, ISO 8601."""
    step: str
    """Name of the program step that did it; empty if the core was to be programmed anyway."""
    number: int = 0
    """Which programming of the core in this run it is, from 1."""
    chip_count: int | None = None
    """How often the core was programmed in its life, this time included; None if the chip does not
    say, or was not asked before the process ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramAttempts:
    """What earlier processes have tried for a program step."""

    count: int = 0
    """How often its core was programmed for it."""
    has_failed: bool = False
    """Whether the core was found, after the last time, not to hold its weights."""


def attempts_in(events: Iterable[Mapping[str, Any]]) -> dict[str, ProgramAttempts]:
    """Return what the events of a journal tell of program steps, by their names."""
    found: dict[str, ProgramAttempts] = {}
    for event in events:
        step = str(event.get("step", ""))
        before = found.get(step, ProgramAttempts())
        if event["event"] == "program" and step:
            found[step] = ProgramAttempts(count=before.count + 1)
        elif event["event"] == "failure" and step in found:
            found[step] = replace(before, has_failed=True)
    return found


def programmings_in(events: Iterable[Mapping[str, Any]]) -> dict[int, Programming]:
    """Return the last programming of each core among the events of a journal."""
    found: dict[int, Programming] = {}
    for event in events:
        what, core = event["event"], event.get("core")
        if what == "program" and {"core", "weights"} <= event.keys():
            before = found.get(event["core"])
            found[event["core"]] = Programming(
                weights=event["weights"],
                utc=str(event.get("utc", "")),
                step=str(event.get("step", "")),
                # Older software has not numbered them.
                number=event.get("number", 1 if before is None else before.number + 1),
            )
        elif what == "begin" and core in found and event.get("programming") == found[core].number:
            found[core] = replace(found[core], chip_count=event.get("chip_count"))
    return found


def begun_in(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the number of the programming that each step was read under last, by its name."""
    return {
        event["step"]: event["programming"]
        for event in events
        if event["event"] == "begin" and {"step", "programming"} <= event.keys()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob:
    """What a run works with."""

    campaign: Campaign
    """What to do."""
    plan: Sequence[PlannedStep]
    """Every step, in order."""
    run: RunDirectory
    """Where it goes."""
    chip: Chip
    """The chip."""
    identity: ChipIdentity
    """Who it said it was when this process began."""
    resource: str
    """Resource string of the device."""
    software: Mapping[str, str]
    """Name and version of what computes and stores."""
    events: "EventTeller"
    """Who is told what happens."""
    clock: RunClock
    """What time it is."""
    instruments: BenchInstruments
    """What surrounds the chip."""
    switch: StopSwitch
    """What stops the run."""
    book: BookKeeper
    """Where the life of the chip is written down."""
    beginning: Mapping[str, Any]
    """What the event with which this process begins says besides."""
    finished: frozenset[StepKey] = frozenset()
    """Steps that were finished before, skipped ones among them."""
    skipped: set[StepKey] = field(default_factory=set)
    """Those that need not be taken, of this process and those before."""
    programmed: Mapping[int, Programming] = field(default_factory=dict)
    """Cores that the run has programmed before, and what they got last."""
    begun: Mapping[str, int] = field(default_factory=dict)
    """Numbers of the programmings that its steps were read under before, by their names."""
    attempts: Mapping[str, ProgramAttempts] = field(default_factory=dict)
    """What became of its program steps before, by their names."""
    recorded_skips: Mapping[StepKey, str] = field(default_factory=dict)
    """Why steps were skipped that are played, where the device is a recording."""
    time: BenchTime = field(default_factory=RealTime)
    """The time that passes for the chip and the instruments."""
    waits: Waits = field(default_factory=lambda: Waits(RealTime()))
    """How to let it pass."""
    play: Callable[[StepKey], None] = lambda _: None
    """Has a recording answer for a step from now on."""
    plays_recording: bool = False
    """Whether the device is a recording, which measures nothing."""
    fault_rate: FaultRate = field(default_factory=FaultRate)
    """Faults of the link among the last vectors."""
    probation: Probation = field(default_factory=Probation)
    """How long the run is looked at closely after a pause."""

    @property
    def is_resumed(self) -> bool:
        """Whether the run had begun before."""
        return self.beginning.get("event") == "resume"

    def note(self, event: str, **details: Any) -> None:
        """Append an event to the journal."""
        self.run.journal.append(event, utc=self.clock.utc(), **details)

    def note_faults(self, step: str) -> None:
        """Write down what has befallen the link since this was done last."""
        for utc, fault in self.clock.take_faults():
            self.run.journal.append(
                "fault",
                utc=utc,
                step=step,
                kind=fault.kind.value,
                request=fault.request,
                detail=fault.detail,
                recovered_s=fault.recovered_s,
            )


class EventTeller:
    """Tells who watches a run what happens in it.

    Parameters
    ----------
    watcher
        Everybody who is told.
    clock
        Who has to know of faults of the link.
    """

    def __init__(self, watcher: Observers, clock: RunClock) -> None:
        self._watcher = watcher
        self._clock = clock

    def tell(self, event: RunEvent) -> None:
        """Tell of an event."""
        self._watcher.hear(event)

    def on_fault(self, fault: LinkFault) -> None:
        """Tell of a fault of the link that is over."""
        self._clock.on_fault(fault)
        self.tell(
            FaultMet(
                kind=fault.kind.value,
                request=fault.request,
                detail=fault.detail,
                recovered_s=fault.recovered_s,
            )
        )


def absolute(path: Path) -> str:
    """Return a path as the journal and the chip's book keep it."""
    return str(path.absolute())
