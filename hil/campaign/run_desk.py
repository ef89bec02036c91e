"""What every run needs besides its steps: a lock, watchers, an open bench, its chip's book."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hil.campaign.bench import OpenDevice, open_device
from hil.campaign.book_keeping import keep_book, wear_problems
from hil.campaign.chips.claim import claimed_chip
from hil.campaign.config.load import Campaign
from hil.campaign.control import StopRequests
from hil.campaign.estimate.campaign_plan import check_plan, outline_plan
from hil.campaign.instruments import BenchInstruments, named_mock_instruments
from hil.campaign.interruption import StopSwitch
from hil.campaign.observers import watch_run
from hil.campaign.plan import (
    PlannedStep,
    keep_what_was_recorded,
    plan_campaign,
)
from hil.campaign.run_clock import RunClock
from hil.campaign.run_events import LeftUnsafe, Noted, RunWatcher, StopAsked
from hil.campaign.run_job import EventTeller, absolute
from hil.campaign.run_lock import acquire_run_lock
from hil.core.errors import ConfigError, SafetyLimitError
from hil.core.readout import ChipIdentity
from hil_datasets.chip_book.campaign_book import BookKeeper
from hil_datasets.chip_book.facts import CampaignFacts
from hil_datasets.chip_book.place import user_data_folder
from hil_datasets.chip_book.wear import WearLimits
from hil_datasets.recording import Recording
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey
from hil_drivers.chip import Chip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDesk:
    """What every run needs, whatever it is of."""

    clock: RunClock
    """What time it is."""
    events: EventTeller
    """Who is told what happens."""
    switch: StopSwitch
    """What stops the run."""
    locks: ExitStack
    """What is given back when the chip is safe."""
    monotonic: Callable[[], float]
    """Seconds that never go back."""

    def on_unsafe(self, reason: str) -> None:
        """Tell what could not be left safe."""
        self.events.tell(LeftUnsafe(reason=reason))

    def lock(self, run: RunDirectory, *, breaks_lock: bool = False) -> None:
        """Become the one writer of a run, until the chip is safe."""
        lock = acquire_run_lock(run.path, now=self.clock.now, breaks_lock=breaks_lock)
        self.locks.enter_context(lock)
        self.switch.watch(StopRequests(run.path, lock.owner.process))
        if lock.note:
            self.events.tell(Noted(words=lock.note))


@contextmanager
def open_desk(
    campaign: Campaign,
    watcher: RunWatcher,
    *,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> Iterator[RunDesk]:
    """Begin to tell watchers, and to hear who wants the run to stop."""
    clock = RunClock(now=now, clock=monotonic)
    notify = campaign.config.notify
    with ExitStack() as locks, watch_run(watcher, notify=notify, now=now) as observers:
        events = EventTeller(observers, clock)
        switch = StopSwitch(lambda reason: events.tell(StopAsked(reason=reason)))
        with switch.listening():
            yield RunDesk(
                clock=clock, events=events, switch=switch, locks=locks, monotonic=monotonic
            )


@contextmanager
def open_bench(
    campaign: Campaign, desk: RunDesk, recording: Recording | None, *, run: Path | None
) -> Iterator[tuple[OpenDevice, BenchInstruments]]:
    """Open the device and the instruments of a campaign; leave them safe on every way out.

    Parameters
    ----------
    campaign, desk, recording
        What is run, by whom, and what stands in for the device.
    run
        Folder of the run, where that is chosen.
    """
    config = campaign.config
    # A recording keeps the conditions that it was recorded in.
    sections = config.instruments if recording is None else {}
    with (
        open_device(
            config.device.resource,
            base=campaign.path.parent,
            seed=config.campaign.seed,
            timeout_s=config.device.timeout_s,
            choice=config.device.transport,
            recovery_s=config.device.recovery_s,
            driver=config.device.driver,
            on_unsafe=desk.on_unsafe,
            on_fault=desk.events.on_fault,
            recording=recording,
            mock_instruments=named_mock_instruments(sections),
            check=desk.switch.check,
            on_wait=desk.events.tell,
        ) as device,
        device.instruments(sections) as instruments,
    ):
        # Two campaigns at one chip would program and read each other's weights.
        reserve = getattr(device.chip, "reserve", None)  # a plug-in need not have it
        if reserve is not None:
            reserve()
        if run is not None and not plays_recording(device.chip):
            claim = claimed_chip(device.chip.identify(), run, campaign)
            desk.locks.enter_context(claim)
        yield device, instruments


def plan_steps(
    campaign: Campaign,
    chip: Chip,
    recording: Recording | None,
    *,
    folder: Path,
    finished: Collection[StepKey] | None = None,
) -> list[PlannedStep]:
    """Plan the steps of a campaign on its device.

    Parameters
    ----------
    campaign, chip, recording
        What is planned, and on what.
    folder
        Where the run goes.
    finished
        Steps that a run which is resumed has already; None for a new run.

    Raises
    ------
    ConfigError
        If they do not fit the chip, or not onto the disk or into memory: with every reason.
    """
    outline = outline_plan(
        campaign, geometry=chip.geometry(), folder=folder, recording=recording, finished=finished
    )
    # Whether the folder may be used is told by who makes it.
    room = replace(outline.room, problem="")
    if problems := check_plan(replace(outline, room=room)):
        raise ConfigError(str(campaign.path), problems)
    plan = plan_campaign(campaign, chip.geometry())
    return plan if recording is None else keep_what_was_recorded(plan, recording)


def plays_recording(chip: Chip) -> bool:
    """Tell whether a device plays a recording."""
    ask = getattr(chip, "plays_recording", None)  # a plug-in need not have it
    return ask is not None and bool(ask())


def _limits(campaign: Campaign) -> WearLimits:
    return WearLimits(programmings_per_core=campaign.config.limits.programmings_per_core)


def check_wear_limits(
    campaign: Campaign, identity: ChipIdentity, plan: Sequence[PlannedStep]
) -> None:
    """Refuse a plan that wears the chip beyond its limit, before there is a folder for it."""
    problems = wear_problems(
        identity, plan, limits=_limits(campaign), data_folder=user_data_folder()
    )
    if problems:
        raise SafetyLimitError("; ".join(map(str, problems)))


def begin_book(
    campaign: Campaign,
    desk: RunDesk,
    chip: Chip,
    run: RunDirectory,
    plan: Sequence[PlannedStep],
    *,
    is_resumed: bool = False,
) -> BookKeeper:
    """Begin the campaign in the book of its chip."""
    facts = CampaignFacts(
        run=absolute(run.path),
        title=campaign.config.campaign.title,
        campaign_sha256=campaign.sha256,
        resource=campaign.config.device.resource,
        firmware=chip.identify().firmware,
        is_resumed=is_resumed,
    )
    return keep_book(
        chip,
        facts,
        plan,
        limits=_limits(campaign),
        data_folder=user_data_folder(),
        now=desk.clock.now,
        monotonic=desk.monotonic,
        on_failure=lambda reason: desk.events.tell(Noted(words=f"chip's book: {reason}")),
    )


def named_instruments(instruments: BenchInstruments) -> Mapping[str, Any]:
    """Return what the event with which a process begins says of the instruments."""
    identities = instruments.identities
    return {"instruments": identities} if identities else {}
