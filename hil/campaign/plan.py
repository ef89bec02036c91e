"""From a campaign and a chip's size to the steps to take, with their weights and vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.campaign.config import Campaign, CampaignConfig
from hil.campaign.workload import Tile, Workload, cut_into_tiles, load_workload
from hil.core.errors import ConfigError, Problem
from hil.core.readout import ChipGeometry
from hil_calibration.stimulus import gaussian_weights, uniform_inputs
from hil_datasets.recording import Recording
from hil_datasets.step import StepKey
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
    """Core and read mode."""
    work: CoreWork
    """What the core holds and is asked."""
    calibration_vectors: int
    """How many of the vectors, from the first, the fit sees."""
    measured_utc: str | None = None
    """When it was measured, where it is replayed."""
    timing: StepTiming | None = None
    """When its blocks were, where it is replayed and that is known."""
    conditions: tuple[Condition, ...] = ()
    """What the bench instruments showed, where it is replayed."""


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
    return [
        PlannedStep(
            key=StepKey(core, read_mode),
            work=work,
            calibration_vectors=config.vectors.calibration,
        )
        for core, work in works
        for read_mode in config.campaign.read_modes
    ]


def plan_replay(recording: Recording) -> list[PlannedStep]:
    """Plan exactly the recorded steps, with the recorded weights and vectors."""
    steps = []
    for key in recording.keys:
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
                measured_utc=origin.measured_utc,
                timing=record.timing,
                conditions=record.conditions,
            )
        )
    return steps


def keep_what_was_recorded(plan: Sequence[PlannedStep], recording: Recording) -> list[PlannedStep]:
    """Give the steps of a campaign on a recording the times and conditions of the measurement.

    A step that reads another selection of vectors than was recorded has no timing of its blocks.
    """
    steps = []
    for step in plan:
        if step.key not in recording.keys:
            steps.append(step)  # it will be refused, by name
            continue
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
            )
        )
    return steps


def _own_works(
    config: CampaignConfig, cores: Sequence[int], geometry: ChipGeometry
) -> list[tuple[int, CoreWork]]:
    vectors = config.vectors
    whole = Tile(rows=slice(0, geometry.rows), columns=slice(0, geometry.columns))
    works = []
    for core in cores:
        # A stream for each, so that changing one number of vectors leaves the rest as it was.
        rngs = [np.random.default_rng([config.campaign.seed, core, stream]) for stream in range(3)]
        weights = gaussian_weights(rngs[0], rows=geometry.rows, columns=geometry.columns)
        inputs = [
            uniform_inputs(rng, vectors=count, rows=geometry.rows, zeros=vectors.zeros)
            for rng, count in zip(
                rngs[1:], (vectors.calibration, vectors.verification), strict=True
            )
        ]
        work = CoreWork(weights=weights, inputs=np.concatenate(inputs), tile=whole)
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
    vectors = _choose_vectors(config, workload, path)
    return [
        (core, _tile_work(workload, vectors, tile, geometry))
        for core, tile in zip(cores, tiles, strict=False)
    ]


def _choose_vectors(
    config: CampaignConfig, workload: Workload, path: Path
) -> npt.NDArray[np.int64]:
    wanted = config.vectors.calibration + config.vectors.verification
    if wanted > len(workload.inputs):
        raise ConfigError(
            str(path),
            [
                Problem(
                    "inputs",
                    f"hold {len(workload.inputs)} vectors: vectors.calibration + "
                    f"vectors.verification ask for {wanted}; lower them in the campaign file",
                )
            ],
        )
    order = np.random.default_rng(config.campaign.seed).permutation(len(workload.inputs))
    # From both ends, so that changing one number of vectors leaves the others as they were.
    held_out = order[len(order) - config.vectors.verification :]
    return np.concatenate([order[: config.vectors.calibration], held_out])


def _tile_work(
    workload: Workload, vectors: npt.NDArray[np.int64], tile: Tile, geometry: ChipGeometry
) -> CoreWork:
    part = workload.weights[tile.rows, tile.columns]
    weights = np.zeros((geometry.rows, geometry.columns), dtype=np.int8)
    weights[: part.shape[0], : part.shape[1]] = part
    inputs = np.zeros((len(vectors), geometry.rows), dtype=np.int8)
    inputs[:, : part.shape[0]] = workload.inputs[vectors, tile.rows]
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
