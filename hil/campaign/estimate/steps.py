"""Which steps a campaign would take, and what of it does not fit the chip, without any array.

`hil.campaign.plan.plan_campaign` makes the weights and vectors of all steps, and stops at the first
thing that does not fit. Here nothing is made, and everything that does not fit is told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hil.campaign.config.load import Campaign
from hil.campaign.visits import schedule
from hil.campaign.workload import Tile, Workload, cut_into_tiles, load_workload
from hil.core.errors import ConfigError, Problem
from hil.core.readout import ChipGeometry
from hil_datasets.recording import Recording
from hil_datasets.step import StepKey, StepKind
from hil_drivers.chip_driver import DEFAULT_DRIVER
from hil_drivers.frames import CRC_BYTES, HEADER_BYTES
from hil_drivers.link import DEFAULT_LARGEST_BLOCK


class ProgramsCores(Protocol):
    """A planned step, as far as it programs a core."""

    @property
    def key(self) -> StepKey:
        """Which step."""
        ...

    @property
    def attempts(self) -> int:
        """How often its core may be programmed for it, where it is a program step."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutline:
    """One step, without its weights and vectors."""

    key: StepKey
    """Which step."""
    calibration_vectors: int
    """Vectors that the fit sees."""
    verification_vectors: int
    """Readings of vectors held out."""
    rows_used: int | None
    """Rows that carry inputs; None where the chip's size is not known."""
    columns_used: int | None
    """Columns that carry weights; likewise."""
    attempts: int = 1
    """How often its core may be programmed for it, where it is a program step."""
    is_of_watch: bool = False
    """Whether it belongs to a drift watch, which may find that it need not be taken."""
    is_conditional: bool = False
    """Whether it is taken only where a probe finds that it has to be."""

    @property
    def uses_nmpu(self) -> bool:
        """Whether the device's NMPU is loaded for it and reads its held-out vectors."""
        return self.key.kind in {StepKind.CALIBRATE, StepKind.VERIFY}

    @property
    def vectors(self) -> int:
        """All vectors."""
        return self.calibration_vectors + self.verification_vectors

    def blocks(self, block: int) -> int:
        """Return in how many blocks of so many vectors it is read."""
        return -(-self.calibration_vectors // block) - (-self.verification_vectors // block)


def outline_steps(
    campaign: Campaign, geometry: ChipGeometry | None
) -> tuple[tuple[StepOutline, ...], list[Problem]]:
    """Return the steps of a campaign in their order, and what does not fit.

    Parameters
    ----------
    campaign
        The campaign.
    geometry
        Size of the chip; None if nothing says it. Then only the steps of cores that the campaign
        names are known.
    """
    config = campaign.config
    cores, problems = _cores(campaign, geometry)
    tiles: Sequence[Tile | None] = [None] * len(cores)
    if config.campaign.workload is not None:
        try:
            workload = load_workload(campaign.path.parent / config.campaign.workload)
        except ConfigError as error:
            problems += [Problem("campaign.workload", each.located(error.source))
                         for each in error.problems]  # fmt: skip
        else:
            problems += _vector_problems(campaign, workload)
            if geometry is not None:
                tiles, more = _tiles(campaign, workload, geometry, cores)
                problems += more
    used = dict(zip(cores, tiles, strict=False))
    outlines = tuple(
        StepOutline(
            key=step.key,
            calibration_vectors=step.calibration_vectors,
            verification_vectors=step.held_out * step.repeats,
            rows_used=_used(used[step.key.core], "rows", geometry),
            columns_used=_used(used[step.key.core], "columns", geometry),
            attempts=step.attempts,
            is_conditional=step.is_conditional,
            is_of_watch=step.visit.due_s is not None,
        )
        for step in schedule(config, list(used))
    )
    return outlines, problems + _block_problems(campaign, geometry)


def programmings(steps: Iterable[ProgramsCores]) -> dict[int, int]:
    """Return how often each core is programmed at most: once, unless a program step says again.

    Parameters
    ----------
    steps
        Steps in the order they are taken.
    """
    planned: dict[int, int] = {}
    for step in steps:
        if step.key.kind is StepKind.PROGRAM:
            planned[step.key.core] = planned.get(step.key.core, 0) + step.attempts
        else:
            planned.setdefault(step.key.core, 1)
    return planned


def unrecorded_problems(steps: Sequence[StepOutline], recording: Recording) -> list[Problem]:
    """Return a problem for each step that a recording does not hold."""
    return [
        Problem("device.resource", f"step {step.key.name} was not recorded")
        for step in steps
        if step.key not in recording.keys and not step.is_of_watch
    ]


def _cores(
    campaign: Campaign, geometry: ChipGeometry | None
) -> tuple[Sequence[int], list[Problem]]:
    named = campaign.config.campaign.cores
    if geometry is None:
        return named or [], []
    if named is None:
        return range(geometry.cores), []
    problems = [
        Problem(
            f"campaign.cores[{position}]",
            f"core {core} does not exist: the chip has cores 0 to {geometry.cores - 1}",
        )
        for position, core in enumerate(named)
        if core >= geometry.cores
    ]
    return named, problems


def _vector_problems(campaign: Campaign, workload: Workload) -> list[Problem]:
    if workload.inputs is None:
        return []
    vectors = campaign.config.vectors
    wanted, has = vectors.calibration + vectors.verification, len(workload.inputs)
    if wanted <= has:
        return []
    message = (
        f"the inputs of {campaign.config.campaign.workload} hold {has} vectors: "
        f"vectors.calibration + vectors.verification ask for {wanted}"
    )
    return [Problem("campaign.workload", message)]


def _tiles(
    campaign: Campaign, workload: Workload, geometry: ChipGeometry, cores: Sequence[int]
) -> tuple[Sequence[Tile], list[Problem]]:
    tiles = cut_into_tiles(workload.weights.shape, rows=geometry.rows, columns=geometry.columns)
    has_too_few = len(tiles) > len(cores)
    has_too_many = campaign.config.campaign.cores is not None and len(cores) > len(tiles)
    if not has_too_few and not has_too_many:
        return tiles, []
    rows, columns = workload.weights.shape
    message = (
        f"the weights of {campaign.config.campaign.workload}, {rows} x {columns}, need "
        f"{len(tiles)} cores of {geometry.rows} x {geometry.columns}: the campaign has {len(cores)}"
    )
    return tiles, [Problem("campaign.workload", message)]


def _used(tile: Tile | None, axis: str, geometry: ChipGeometry | None) -> int | None:
    if geometry is None:
        return None
    if tile is None:
        return int(getattr(geometry, axis))
    used: slice = getattr(tile, axis)
    return int(used.stop - used.start)


def _block_problems(campaign: Campaign, geometry: ChipGeometry | None) -> list[Problem]:
    if geometry is None:
        return []
    block, largest = campaign.config.vectors.block, geometry.max_vectors
    if block > largest:
        message = f"is {block}: this device takes at most {largest}"
        return [Problem("vectors.block", message)]
    if campaign.config.device.driver != DEFAULT_DRIVER:
        return []
    bytes_per_vector = max(geometry.rows, 4 * geometry.columns)
    fits = (DEFAULT_LARGEST_BLOCK - HEADER_BYTES - CRC_BYTES) // bytes_per_vector
    if block > fits:
        message = (
            f"is {block}: the protocol carries at most {fits} vectors of {geometry.columns} "
            "columns in one answer"
        )
        return [Problem("vectors.block", message)]
    return []
