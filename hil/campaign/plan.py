"""From a campaign and a chip's size to the steps to take, with their weights and vectors."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.campaign.config.load import Campaign
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.own_inputs import own_inputs
from hil.campaign.visits import ScheduledStep, schedule
from hil.campaign.workload import Tile, Workload, cut_into_tiles, load_workload
from hil.core.errors import ConfigError, Problem
from hil.core.readout import ChipGeometry, ReadMode
from hil_calibration.stimulus import gaussian_weights
from hil_datasets.circumstance import Circumstance
from hil_datasets.recording import Recording
from hil_datasets.step import StepKey, StepKind
from hil_datasets.step_conditions import Condition
from hil_datasets.step_timing import StepTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreWork:
    """What one core holds and is asked."""

    weights: npt.NDArray[np.int8]
    """Shape (row, column) of the core; unused rows and columns are 0."""
    inputs: npt.NDArray[np.int8]
    """Shape (vector, row): calibration vectors, then verification vectors."""
    tile: Tile
    """Which part of the whole weight matrix it is."""

    @property
    def rows_used(self) -> int:
        """Rows that carry inputs."""
        return int(self.tile.rows.stop - self.tile.rows.start)

    @property
    def columns_used(self) -> int:
        """Columns that carry weights."""
        return int(self.tile.columns.stop - self.tile.columns.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step to take."""

    key: StepKey
    """Which step."""
    work: CoreWork
    """What the core holds and is asked."""
    calibration_vectors: int
    """How many of the vectors, from the first, the fit sees."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """What its visit sets quantities to, by ``INSTRUMENT.QUANTITY``."""
    due_s: float | None = None
    """How old the core has to be, in seconds; None if that does not matter."""
    next_due_s: float | None = None
    """How old at the visit after it; None if there is none."""
    repeats: int = 1
    """How often its vectors are read, all of them in turn."""
    attempts: int = 1
    """How often the core may be programmed for it."""
    is_conditional: bool = False
    """Whether it is taken only if the probe of its visit is beyond its limit."""
    noise_place: int = 0
    """Readings of its core in its read mode that are planned before it: where the noise of a
    simulated chip goes on."""
    measured_utc: str | None = None
    """When it was measured, where it is replayed."""
    timing: StepTiming | None = None
    """When its blocks were, where it is replayed and that is known."""
    conditions: tuple[Condition, ...] = ()
    """What the bench instruments showed, where it is replayed."""
    circumstance: Circumstance | None = None
    """Under what it was taken, where it is replayed."""
    instruments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What its bench instruments were and how they were set, where it is replayed."""

    @property
    def uses_nmpu(self) -> bool:
        """Whether its held-out vectors go through the device's NMPU, if it has one."""
        return self.key.kind in {StepKind.CALIBRATE, StepKind.VERIFY}


def plan_campaign(campaign: Campaign, geometry: ChipGeometry) -> list[PlannedStep]:
    """Plan the steps of a campaign, ordered so that each core is programmed once.

    Raises
    ------
    ConfigError
        If the campaign names a core that the chip does not have, or its workload does not fit.
    """
    config, folder = campaign.config, campaign.path.parent
    cores = config.campaign.cores or range(geometry.cores)
    _check_cores(str(campaign.path), cores, geometry)
    works = (
        _own_works(config, cores, geometry)
        if config.campaign.workload is None
        else _workload_works(config, cores, geometry, folder / config.campaign.workload)
    )
    return _with_works(config, dict(works))


def _with_works(config: CampaignConfig, works: Mapping[int, CoreWork]) -> list[PlannedStep]:
    """Return the scheduled steps with what their cores hold and are asked."""
    steps: list[PlannedStep] = []
    parts: dict[tuple[int, int, int, int], CoreWork] = {}  # the same for many visits
    readings: dict[tuple[int, ReadMode], int] = defaultdict(int)
    for scheduled in schedule(config, list(works)):
        key, visit = scheduled.key, scheduled.visit
        asked = (scheduled.calibration_vectors, scheduled.held_out, scheduled.repeats)
        if (key.core, *asked) not in parts:
            parts[key.core, *asked] = _part_of(works[key.core], scheduled, config)
        steps.append(
            PlannedStep(
                key=key,
                work=parts[key.core, *asked],
                calibration_vectors=scheduled.calibration_vectors,
                settings=visit.settings,
                due_s=visit.due_s,
                next_due_s=visit.next_due_s,
                repeats=scheduled.repeats,
                attempts=scheduled.attempts,
                is_conditional=scheduled.is_conditional,
                noise_place=readings[key.core, key.read_mode],
            )
        )
        readings[key.core, key.read_mode] += scheduled.readings
    return steps


def _part_of(work: CoreWork, step: ScheduledStep, config: CampaignConfig) -> CoreWork:
    """Return the part of a core's vectors that a step reads."""
    calibration = config.vectors.calibration
    if step.calibration_vectors:
        return work
    held_out = work.inputs[calibration : calibration + step.held_out]
    return replace(work, inputs=np.tile(held_out, (step.repeats, 1)))


def plan_replay(recording: Recording) -> list[PlannedStep]:
    """Plan exactly the recorded steps, with the recorded weights and vectors."""
    steps = []
    for key in sorted(recording.keys, key=lambda key: _replay_order(key, recording)):
        record = recording.record(key)
        origin = record.origin
        tile = Tile(
            rows=slice(origin.first_row, origin.first_row + origin.rows_used),
            columns=slice(origin.first_column, origin.first_column + origin.columns_used),
        )
        steps.append(
            PlannedStep(
                key=key,
                work=CoreWork(weights=record.weights, inputs=record.inputs, tile=tile),
                calibration_vectors=origin.calibration_vectors,
                repeats=_repeats(key, record.inputs),
                measured_utc=origin.measured_utc,
                timing=record.timing,
                conditions=record.conditions,
                circumstance=origin.circumstance,
                instruments={} if origin.provenance is None else origin.provenance.instruments,
            )
        )
    return steps


def _replay_order(key: StepKey, recording: Recording) -> tuple[int, int, str, float]:
    """Return the order in which steps were taken: a probe before the calibration it brought on."""
    place = float(key.kind.place)
    source = recording.record(key).origin.circumstance.correction_of
    own = replace(key, kind=StepKind.CALIBRATE).name
    if key.kind is StepKind.PROBE and source is not None and source.step != own:
        place = StepKind.CALIBRATE.place - 0.5
    return key.visit, key.core, key.read_mode, place


def _repeats(key: StepKey, inputs: npt.NDArray[np.int8]) -> int:
    """Return how often the vectors of a characterisation come, all of them in turn."""
    if key.kind is not StepKind.CHARACTERISE:
        return 1
    again = (place for place in range(1, len(inputs)) if np.array_equal(inputs[place], inputs[0]))
    period = next(again, len(inputs))
    return len(inputs) // period


def keep_what_was_recorded(plan: Sequence[PlannedStep], recording: Recording) -> list[PlannedStep]:
    """Give the steps of a campaign on a recording the times and conditions of the measurement.

    A step that reads another selection of vectors than was recorded has no timing of its blocks.
    """
    steps = []
    for step in plan:
        if step.key not in recording.keys:
            if step.due_s is None:
                steps.append(step)  # it will be refused, by name
            continue  # a drift watch takes what it needs, and that was recorded
        record = recording.record(step.key)
        origin = record.origin
        is_same = step.calibration_vectors == origin.calibration_vectors and np.array_equal(
            step.work.inputs, record.inputs
        )
        steps.append(
            replace(
                step,
                measured_utc=origin.measured_utc,
                timing=record.timing if is_same else None,
                conditions=record.conditions,
                circumstance=origin.circumstance,
                instruments={} if origin.provenance is None else origin.provenance.instruments,
                is_conditional=False,
            )
        )
    return steps


def _own_works(
    config: CampaignConfig, cores: Sequence[int], geometry: ChipGeometry
) -> list[tuple[int, CoreWork]]:
    whole = Tile(rows=slice(0, geometry.rows), columns=slice(0, geometry.columns))
    works = []
    for core in cores:
        rng = np.random.default_rng([config.campaign.seed, core, 0])
        weights = gaussian_weights(rng, rows=geometry.rows, columns=geometry.columns)
        inputs = own_inputs(config, core=core, rows=geometry.rows)
        work = CoreWork(weights=weights, inputs=inputs, tile=whole)
        works.append((core, work))
    return works


def _workload_works(
    config: CampaignConfig, cores: Sequence[int], geometry: ChipGeometry, path: Path
) -> list[tuple[int, CoreWork]]:
    workload = load_workload(path)
    tiles = cut_into_tiles(workload.weights.shape, rows=geometry.rows, columns=geometry.columns)
    if len(tiles) > len(cores):
        rows, columns = workload.weights.shape
        raise ConfigError(
            str(path),
            [
                Problem(
                    "weights",
                    f"{rows} x {columns} need {len(tiles)} cores of {geometry.rows} x "
                    f"{geometry.columns}; the campaign has {len(cores)}",
                )
            ],
        )
    if config.campaign.cores is not None and len(cores) > len(tiles):
        raise ConfigError(
            str(path),
            [
                Problem(
                    "weights",
                    f"need {len(tiles)} cores: campaign.cores names {len(cores)}, name "
                    f"{len(tiles)} or leave it out",
                )
            ],
        )
    inputs = _inputs(config, workload, path)
    return [
        (core, _tile_work(workload.weights, inputs, tile, geometry))
        for core, tile in zip(cores, tiles, strict=False)
    ]


def _inputs(config: CampaignConfig, workload: Workload, path: Path) -> npt.NDArray[np.int8]:
    """Return the vectors of the whole matrix, shape (vector, row): chosen, or drawn."""
    if workload.inputs is None:
        return own_inputs(config, core=0, rows=len(workload.weights))
    return workload.inputs[_choose_vectors(config, len(workload.inputs), path)]


def _choose_vectors(config: CampaignConfig, has: int, path: Path) -> npt.NDArray[np.int64]:
    wanted = config.vectors.calibration + config.vectors.verification
    if wanted > has:
        raise ConfigError(
            str(path),
            [
                Problem(
                    "inputs",
                    f"hold {has} vectors: vectors.calibration + "
                    f"vectors.verification ask for {wanted}; lower them in the campaign file",
                )
            ],
        )
    order = np.random.default_rng(config.campaign.seed).permutation(has)
    # From both ends, so that changing one number of vectors leaves the others as they were.
    held_out = order[len(order) - config.vectors.verification :]
    return np.concatenate([order[: config.vectors.calibration], held_out])


def _tile_work(
    whole_weights: npt.NDArray[np.int8],
    whole_inputs: npt.NDArray[np.int8],
    tile: Tile,
    geometry: ChipGeometry,
) -> CoreWork:
    part = whole_weights[tile.rows, tile.columns]
    weights = np.zeros((geometry.rows, geometry.columns), dtype=np.int8)
    weights[: part.shape[0], : part.shape[1]] = part
    inputs = np.zeros((len(whole_inputs), geometry.rows), dtype=np.int8)
    inputs[:, : part.shape[0]] = whole_inputs[:, tile.rows]
    return CoreWork(weights=weights, inputs=inputs, tile=tile)


def _check_cores(source: str, cores: Sequence[int], geometry: ChipGeometry) -> None:
    problems = [
        Problem(
            f"campaign.cores[{position}]",
            f"core {core} does not exist: the chip has cores 0 to {geometry.cores - 1}",
        )
        for position, core in enumerate(cores)
        if core >= geometry.cores
    ]
    if problems:
        raise ConfigError(source, problems)
