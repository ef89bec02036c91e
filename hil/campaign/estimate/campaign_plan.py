"""What a campaign would do, cost and need, before it does anything; and why it cannot, if so."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hil.campaign.config.load import Campaign
from hil.campaign.estimate.duration import TimeEstimate
from hil.campaign.estimate.link import BoardTraffic, Traffic
from hil.campaign.estimate.steps import (
    StepOutline,
    outline_steps,
    programmings,
    unrecorded_problems,
)
from hil.campaign.estimate.storage import (
    Room,
    StorageNeed,
    available_memory,
    look_at_room,
    memory_need,
    room_problems,
    shown_bytes,
    storage_need,
)
from hil.campaign.visits import Visit, visits_of
from hil.core.errors import Problem
from hil.core.readout import ChipGeometry, ChipIdentity
from hil_datasets.chip_book.content import BookContent
from hil_datasets.chip_book.totals import total
from hil_datasets.chip_book.wear import WearLimits, check_wear
from hil_datasets.recording import Recording
from hil_datasets.step import StepKey
from hil_drivers.chip_driver import DEFAULT_DRIVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Setpoint:
    """What a campaign sets one quantity of an instrument to, with its limits."""

    instrument: str
    """Name of the instrument in the campaign file."""
    quantity: str
    """Name of the quantity there."""
    unit: str
    """Its unit."""
    value: float
    """What it is set to before the steps."""
    lower: float
    """Lowest value that may ever be set."""
    upper: float
    """Highest value that may ever be set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreWear:
    """How often a core is programmed."""

    core: int
    """Core number."""
    planned: int
    """By this campaign, at most."""
    before: int | None
    """In its life so far, by the chip's book; None where no chip was asked."""
    limit: int | None
    """Most in its life; None for no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Bytes of memory."""

    needed_bytes: int
    """At the peak, about."""
    available_bytes: int | None
    """What can be had without swapping; None if it cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPlan:
    """What a campaign would do."""

    title: str
    """Title of the campaign."""
    resource: str
    """Resource string of its device."""
    chip: ChipIdentity | None
    """Who the device says it is; None if it was not asked."""
    geometry: ChipGeometry | None
    """Size of the chip; None if nothing says it."""
    steps: tuple[StepOutline, ...]
    """The steps in their order."""
    visits: tuple[Visit, ...]
    """The visits that they belong to."""
    block: int
    """Vectors sent, read and stored at a time."""
    setpoints: tuple[Setpoint, ...]
    """What its instruments are set to."""
    traffic: Traffic | None
    """What goes over the link; None where another driver, or no size, is known."""
    storage: StorageNeed | None
    """What goes to the disk; None where the chip's size is not known."""
    room: Room
    """What the disk has."""
    memory: MemoryNeed | None
    """What it takes of the memory; likewise."""
    wear: tuple[CoreWear, ...]
    """Programmings per core, at most; none where a recording is played."""
    time: TimeEstimate | None = None
    """How long it takes; None where nothing was measured and nothing recorded."""
    misfits: tuple[Problem, ...] = ()
    """What does not fit the chip or its life."""
    unknowns: tuple[str, ...] = ()
    """What cannot be known, and why."""

    @property
    def vectors(self) -> int:
        """Vectors of all steps."""
        return sum(step.vectors for step in self.steps)


def check_plan(plan: CampaignPlan) -> list[Problem]:
    """Return every reason for which a plan cannot be carried out; none if it can."""
    problems = [*plan.misfits, *room_problems(plan.room, plan.storage)]
    memory = plan.memory
    if memory is not None and memory.available_bytes is not None:
        needed, available = memory.needed_bytes, memory.available_bytes
        if needed > available:
            message = (
                f"needs about {shown_bytes(needed)} of memory, {shown_bytes(available)} can be "
                "had; lower vectors.calibration, vectors.verification or the number of cores"
            )
            problems.append(Problem("vectors", message))
    return problems


def outline_plan(
    campaign: Campaign,
    *,
    geometry: ChipGeometry | None,
    folder: Path,
    recording: Recording | None = None,
    chip: ChipIdentity | None = None,
    book: BookContent | None = None,
    finished: Collection[StepKey] | None = None,
) -> CampaignPlan:
    """Plan a campaign from what is known already; nothing is opened, and nothing measured.

    Parameters
    ----------
    campaign
        The campaign.
    geometry
        Size of its chip; None if that is not known.
    folder
        The output folder; it need not exist.
    recording
        What it plays, where it plays one.
    chip
        Who the device says it is.
    book
        What the chip's book holds.
    finished
        Steps that the run in the folder has already, where it is resumed; None for a new run.
    """
    config = campaign.config
    steps, misfits = outline_steps(campaign, geometry)
    steps = tuple(step for step in steps if step.key not in (finished or ()))
    sections = config.instruments if recording is None else {}
    quantities = sum(len(section.quantities) for section in sections.values())
    planned = {} if recording is not None else programmings(steps)
    limit = config.limits.programmings_per_core
    if recording is not None:
        misfits += unrecorded_problems(steps, recording)
    if book is not None:
        misfits += check_wear(book, planned, WearLimits(programmings_per_core=limit))
    storage = memory = traffic = None
    if geometry is not None:
        storage = storage_need(steps, geometry, config, quantities=quantities)
        memory = MemoryNeed(
            needed_bytes=memory_need(steps, geometry), available_bytes=available_memory()
        )
        if config.device.driver == DEFAULT_DRIVER:
            traffic = BoardTraffic(geometry, config).campaign(steps)
    return CampaignPlan(
        title=config.campaign.title,
        resource=config.device.resource,
        chip=chip,
        geometry=geometry,
        steps=steps,
        visits=_visits(campaign, steps),
        block=config.vectors.block,
        setpoints=_setpoints(campaign) if recording is None else (),
        traffic=traffic,
        storage=storage,
        room=look_at_room(
            folder, 0 if storage is None else storage.total_bytes, is_resumed=finished is not None
        ),
        memory=memory,
        wear=_wear(planned, book, limit),
        misfits=tuple(_placed(campaign, problem) for problem in misfits),
    )


def _visits(campaign: Campaign, steps: Sequence[StepOutline]) -> tuple[Visit, ...]:
    numbers = {step.key.visit for step in steps}
    return tuple(visit for visit in visits_of(campaign.config) if visit.number in numbers)


def _wear(
    planned: Mapping[int, int], book: BookContent | None, limit: int | None
) -> tuple[CoreWear, ...]:
    totals = None if book is None else total(book)
    return tuple(
        CoreWear(
            core=core,
            planned=count,
            before=None if totals is None else totals.worn(core),
            limit=limit,
        )
        for core, count in sorted(planned.items())
    )


def _setpoints(campaign: Campaign) -> tuple[Setpoint, ...]:
    return tuple(
        Setpoint(
            instrument=name,
            quantity=key,
            unit=quantity.unit,
            value=quantity.value,
            lower=quantity.lower,
            upper=quantity.upper,
        )
        for name, section in campaign.config.instruments.items()
        for key, quantity in section.quantities.items()
        if quantity.value is not None and quantity.lower is not None and quantity.upper is not None
    )


def _placed(campaign: Campaign, problem: Problem) -> Problem:
    """Return a problem with the line of its key."""
    if campaign.sources is None:
        return problem
    keys = tuple(
        int(word) if word.isdigit() else word for word in re.findall(r"\w+", problem.where)
    )
    place = campaign.sources.layers.place_of(keys)
    return replace(problem, line=place.line, source=place.source)
