"""The visits of a campaign, and the steps of each: one pass over the cores per circumstance.

The product of the sweeps is ordered so that slow instruments move least: the quantity whose moves
may last longest is outermost, and those inside go back and forth instead of jumping back. The
values of one quantity are visited in the order of the campaign file, because it may matter which
comes first. A drift watch follows when everything else is done.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hil.campaign.config.instruments import QuantitySection
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.config.steps import STEPS_WHERE_NONE, DriftWatchStep, StepsSection
from hil_datasets.step import StepKey, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One pass over the cores."""

    number: int
    """From 0 over the whole campaign."""
    settings: Mapping[str, float]
    """What swept quantities are set to, by ``INSTRUMENT.QUANTITY``."""
    kinds: tuple[StepKind, ...]
    """What is done with each core and read mode, in order."""
    due_s: float | None = None
    """How old a core has to be, in seconds; None if that does not matter."""
    next_due_s: float | None = None
    """How old at the visit after it; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledStep:
    """One step, before anything is known of weights and vectors."""

    key: StepKey
    """Which step."""
    visit: Visit
    """Its visit."""
    calibration_vectors: int
    """Vectors that a fit sees."""
    held_out: int
    """Different vectors held out, the first ones of the campaign's."""
    repeats: int = 1
    """How often each of them is read."""
    attempts: int = 1
    """How often the core may be programmed for it."""
    is_conditional: bool = False
    """Whether it is taken only if the probe of its visit is beyond its limit."""

    @property
    def readings(self) -> int:
        """Readings in all."""
        return self.calibration_vectors + self.held_out * self.repeats


def steps_of(config: CampaignConfig) -> StepsSection:
    """Return what kinds of steps a campaign takes."""
    return STEPS_WHERE_NONE if config.steps is None else config.steps


def has_visits(config: CampaignConfig) -> bool:
    """Tell whether a campaign says anything of visits or kinds of steps."""
    return config.steps is not None or config.sweep is not None


def visits_of(config: CampaignConfig) -> tuple[Visit, ...]:
    """Return the visits of a campaign, in order."""
    steps = steps_of(config)
    visits: list[Visit] = []
    is_programmed = False
    if _visited_kinds(steps):
        for settings in _settings(config):
            kinds = [
                kind
                for kind in _visited_kinds(steps)
                if _is_there(settings, getattr(steps, kind).at)
            ]
            if StepKind.PROGRAM in kinds:
                if is_programmed and steps.program and not steps.program.every_visit:
                    kinds.remove(StepKind.PROGRAM)
                is_programmed = True
            if kinds:
                visits.append(Visit(number=len(visits), settings=settings, kinds=tuple(kinds)))
    if steps.drift_watch is not None:
        visits += _drift_visits(steps.drift_watch, tuple(visits))
    return tuple(visits)


def schedule(config: CampaignConfig, cores: Sequence[int]) -> Iterator[ScheduledStep]:
    """Yield the steps of a campaign in their order: visits, then cores, read modes and kinds.

    Parameters
    ----------
    config
        The campaign.
    cores
        Its cores.
    """
    for visit in visits_of(config):
        for core in cores:
            for read_mode in config.campaign.read_modes:
                for kind in visit.kinds:
                    # The weights are those of the core, whichever way it is read.
                    if kind is StepKind.PROGRAM and read_mode != config.campaign.read_modes[0]:
                        continue
                    key = StepKey(core, read_mode, visit=visit.number, kind=kind)
                    yield _scheduled(config, key, visit)


def swept_section(config: CampaignConfig, quantity: str) -> QuantitySection | None:
    """Return the section of a quantity, if there is one."""
    instrument, _, name = quantity.partition(".")
    section = config.instruments.get(instrument)
    return None if section is None else section.quantities.get(name)


def _scheduled(config: CampaignConfig, key: StepKey, visit: Visit) -> ScheduledStep:
    steps, vectors = steps_of(config), config.vectors
    calibration_vectors, held_out, repeats, attempts = 0, vectors.verification, 1, 1
    match key.kind:
        case StepKind.CALIBRATE:
            calibration_vectors = vectors.calibration
        case StepKind.PROGRAM if steps.program is not None:
            held_out, attempts = steps.program.vectors, steps.program.attempts
        case StepKind.PROBE if visit.due_s is not None and steps.drift_watch is not None:
            held_out = steps.drift_watch.vectors
        case StepKind.PROBE if steps.probe is not None:
            held_out = steps.probe.vectors
        case StepKind.CHARACTERISE if steps.characterise is not None:
            held_out, repeats = steps.characterise.vectors, steps.characterise.repeats
    return ScheduledStep(
        key=key,
        visit=visit,
        calibration_vectors=calibration_vectors,
        held_out=held_out,
        repeats=repeats,
        attempts=attempts,
        is_conditional=visit.due_s is not None and key.kind is StepKind.CALIBRATE,
    )


def _visited_kinds(steps: StepsSection) -> list[StepKind]:
    """Return the kinds that are taken in visits of the sweeps, in their order."""
    return [kind for kind in StepKind if getattr(steps, kind) is not None]


def _is_there(settings: Mapping[str, float], at: Mapping[str, float]) -> bool:
    return all(settings.get(quantity) == value for quantity, value in at.items())


def _settings(config: CampaignConfig) -> list[dict[str, float]]:
    """Return the product of the sweeps, the slowest quantity outermost."""
    # Sorting keeps the order of those that are equally slow, or of which nothing is known.
    sweeps = sorted(config.sweep or (), key=lambda sweep: -_longest_move_s(config, sweep.quantity))
    found: list[dict[str, float]] = [{}]
    for sweep in sweeps:
        found = [
            {**outer, sweep.quantity: value}
            for place, outer in enumerate(found)
            for value in (sweep.values if place % 2 == 0 else sweep.values[::-1])
        ]
    return found


def _longest_move_s(config: CampaignConfig, quantity: str) -> float:
    """Return how long moving a quantity through its whole sweep may take; 0 if nothing says it."""
    section = swept_section(config, quantity)
    values = next(sweep.values for sweep in config.sweep or () if sweep.quantity == quantity)
    if section is None:
        return 0.0
    range_, ramp = max(values) - min(values), section.ramp_per_s
    ramp_s = 0.0 if ramp is None else range_ / ramp
    return ramp_s + (0.0 if section.settle is None else section.settle.timeout_s)


def _drift_visits(watch: DriftWatchStep, before: Sequence[Visit]) -> Iterator[Visit]:
    settings = {**(before[-1].settings if before else {}), **watch.at}
    for place, age_s in enumerate(watch.ages_s):
        yield Visit(
            number=len(before) + place,
            settings=settings,
            kinds=(StepKind.PROBE, StepKind.CALIBRATE),
            due_s=age_s,
            next_due_s=watch.ages_s[place + 1] if place + 1 < len(watch.ages_s) else None,
        )
