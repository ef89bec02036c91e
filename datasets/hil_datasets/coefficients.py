"""A run's coefficients as one value: what the exporters write."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity
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
    registers: NmpuRegisters
    """Register codes per column."""
    flags: npt.NDArray[np.uint16]
    """`ColumnFlag` bit fields per column."""
    raw_sha256: str
    """Content hash of the readouts they were made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoefficientSet:
    """The coefficients of a run."""

    fmt: NmpuFormat
    """NMPU format; its shift means nothing, each tile has its own."""
    chip: ChipIdentity
    """The chip they belong to."""
    campaign_sha256: str
    """Hash of the campaign file that they were made by."""
    software: str
    """Name and version of the software that made them."""
    tiles: tuple[TileCoefficients, ...]
    """Sorted by core and read mode."""


def collect_coefficients(source: str, steps: Iterable[StepRecord]) -> CoefficientSet:
    """Gather the coefficients of finished steps.

    Parameters
    ----------
    source
        Name of the run, for messages.
    steps
        Its finished steps.

    Raises
    ------
    DatasetError
        If there are none, or they do not belong to one chip, campaign and NMPU format.
    """
    tiles: list[TileCoefficients] = []
    common: set[tuple[NmpuFormat, ChipIdentity, str, str]] = set()
    for record in steps:
        conclusion = record.conclusion
        tiles.append(
            TileCoefficients(
                key=record.key,
                shift=conclusion.fmt.shift,
                output_lsb=conclusion.output_lsb,
                registers=conclusion.registers,
                flags=conclusion.flags,
                raw_sha256=record.raw_sha256,
            )
        )
        software = f"aimc-hil {record.origin.software.get('aimc-hil', 'unknown')}"
        origin = record.origin
        common.add((conclusion.fmt.with_shift(0), origin.chip, origin.campaign_sha256, software))
    if len(common) != 1:
        raise DatasetError(
            source,
            [Problem("", "its steps differ in chip, campaign, NMPU format or software version")],
        )
    fmt, chip, campaign_sha256, software = common.pop()
    return CoefficientSet(
        fmt=fmt,
        chip=chip,
        campaign_sha256=campaign_sha256,
        software=software,
        tiles=tuple(sorted(tiles, key=lambda tile: tile.key)),
    )
