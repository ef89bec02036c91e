"""A run's coefficients as one value: what the exporters write."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.correction import ColumnQuality
from hil.core.errors import DatasetError, Problem
from hil.core.nmpu_format import NmpuRegisters
from hil.core.readout import ChipIdentity
from hil_datasets.calibration_choice import setpoints_of
from hil_datasets.content_id import set_id
from hil_datasets.run_source import StepFacts
from hil_datasets.step import StepKey, StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCoefficients:
    """The coefficients of one core in one read mode."""

    key: StepKey
    """Core and read mode."""
    shift: int
    """The tile's right shift."""
    output_lsb: float
    """Size of one output code, in product units."""
    first_row: int
    """Where the tile begins in the workload's weight matrix."""
    rows_used: int
    """Rows that carry inputs."""
    first_column: int
    """Where the tile begins in the workload's weight matrix."""
    columns_used: int
    """Columns that carry weights."""
    registers: NmpuRegisters
    """Register codes per column."""
    flags: npt.NDArray[np.uint16]
    """`ColumnFlag` bit fields per column."""
    raw_sha256: str
    """Content hash of the readouts they were made from."""
    correction_id: str
    """Id of the real-valued correction that they hold in fixed point."""
    coefficients_id: str
    """Their id."""
    nmpu_mismatches: int | None
    """Outputs of the device's NMPU that differ from the integer model; None if not compared."""
    quality: ColumnQuality | None
    """How good each column is in numbers; None where the step file has none."""
    setpoints: Mapping[str, float] = field(default_factory=dict)
    """What the campaign had set while it was calibrated, by name."""
    temperature_c: float = math.nan
    """Chip temperature when the calibration began, degrees Celsius; NaN if that is not known."""
    age_s: float = math.nan
    """Seconds since the core was programmed, when it began; NaN if that is not known."""
    calibrated_utc: str = ""
    """When it began, ISO 8601, UTC; empty if that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoefficientSet:
    """The coefficients of a run."""

    nmpu: Mapping[str, int | bool | str | None]
    """Every NMPU parameter by name; ``shift`` is None, because each tile has its own."""
    chip: ChipIdentity
    """The chip they belong to."""
    campaign_sha256: str
    """Hash of the campaign file that they were made by; of several, sorted, with commas between."""
    software: str
    """Name and version of the software that made them."""
    tiles: tuple[TileCoefficients, ...]
    """Sorted by core and read mode."""

    @property
    def coefficients_id(self) -> str:
        """Id of the set, from those of its tiles."""
        return set_id((tile.key, tile.coefficients_id) for tile in self.tiles)


def collect_coefficients(
    source: str,
    steps: Iterable[StepRecord | StepFacts],
    *,
    campaigns: Collection[str] = (),
) -> CoefficientSet:
    """Gather the coefficients of finished calibrations.

    Parameters
    ----------
    source
        Name of the run, for messages.
    steps
        Its finished calibrations.
    campaigns
        Hashes of the campaign files that the run went on with, or was merged of: its steps may
        have different ones of these. Without any they must have the same.

    Raises
    ------
    DatasetError
        If there are none, if one comes twice, or if they do not belong to one chip, campaign,
        NMPU format and software version.
    """
    tiles: list[TileCoefficients] = []
    common: list[dict[str, Any]] = []
    used: set[str] = set()
    for record in steps:
        used.add(record.origin.campaign_sha256)
        tiles.append(_tile(record))
        common.append(_common(record, campaigns))
    _check_one_run(source, tiles, common)
    return CoefficientSet(
        nmpu=common[0]["NMPU format"],
        chip=common[0]["chip"],
        campaign_sha256=common[0]["campaign"] or ",".join(sorted(used)),
        software=common[0]["software"],
        tiles=tuple(sorted(tiles, key=lambda tile: tile.key)),
    )


def _tile(record: StepRecord | StepFacts) -> TileCoefficients:
    conclusion, origin = record.conclusion, record.origin
    ids = record.ids if isinstance(record, StepFacts) else StepFacts.of(record).ids
    return TileCoefficients(
        key=record.key,
        shift=conclusion.fmt.shift,
        output_lsb=conclusion.output_lsb,
        registers=conclusion.registers,
        flags=conclusion.flags,
        first_row=origin.first_row,
        rows_used=origin.rows_used,
        first_column=origin.first_column,
        columns_used=origin.columns_used,
        raw_sha256=record.raw_sha256,
        correction_id=ids.correction,
        coefficients_id=ids.coefficients,
        nmpu_mismatches=conclusion.nmpu_mismatches,
        quality=conclusion.quality,
        setpoints=setpoints_of(record),
        temperature_c=origin.temperature_c,
        age_s=origin.circumstance.age_s,
        calibrated_utc=origin.measured_utc,
    )


def _common(record: StepRecord | StepFacts, campaigns: Collection[str]) -> dict[str, Any]:
    """Return what all steps of a set must have alike, by its name."""
    conclusion, origin = record.conclusion, record.origin
    of_several = origin.campaign_sha256 in campaigns
    return {
        "chip": origin.chip,
        "campaign": None if of_several else origin.campaign_sha256,
        # By name: a format need not be legal with another shift than its own.
        "NMPU format": conclusion.fmt.to_dict() | {"shift": None},
        "software": f"aimc-hil {origin.software.get('aimc-hil', 'unknown')}",
        "number of columns": len(conclusion.flags),
    }


def _check_one_run(
    source: str, tiles: Sequence[TileCoefficients], common: Sequence[Mapping[str, Any]]
) -> None:
    if not tiles:
        raise DatasetError(source, [Problem("", "has no finished step")])
    problems = [
        Problem("", f"its steps differ in {name}: {first} and {step[name]}")
        for name, first in common[0].items()
        for step in common
        if step[name] != first
    ]
    # Two visits of one tile are the same tile twice.
    keys = [StepKey(tile.key.core, tile.key.read_mode) for tile in tiles]
    problems += [
        Problem("", f"has {key.name} {keys.count(key)} times")
        for key in sorted(set(keys))
        if keys.count(key) > 1
    ]
    if problems:
        # One of a kind is enough: a hundred steps would repeat it.
        raise DatasetError(source, list(dict.fromkeys(problems)))
