"""Which steps the tiles of an exported file come from, held to what those steps have."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil.core.readout import ChipIdentity
from hil_datasets.export.aihwkit_format import affine_of, one_scale
from hil_datasets.export.exported import AffineTile, ExportedSet, ExportedTile
from hil_datasets.run_source import StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepKind
from hil_datasets.trace.links import LinkState
from hil_datasets.trace.search import RunIds

Tile = ExportedTile | AffineTile


@dataclass(frozen=True, slots=True, kw_only=True)
class TileHome:
    """Where a tile of an exported file comes from."""

    name: str
    """Name of the tile."""
    core: int
    """Its core."""
    read_mode: str
    """Its read mode."""
    content_id: str
    """The id that was looked for: of the coefficients, or of the readouts in an older file."""
    state: LinkState
    """Whether a run was found, and has what the file holds."""
    reason: str
    """What was compared, or what differs."""
    steps: tuple[tuple[Path, StepKey], ...] = ()
    """Every run and calibration that has it, in the order of the runs."""


def find_homes(exported: ExportedSet, runs: Iterable[RunIds]) -> tuple[TileHome, ...]:
    """Return where each tile of an exported file comes from, in the file's order.

    Parameters
    ----------
    exported
        What the file holds.
    runs
        The ids of the runs that are looked through.
    """
    known: dict[str, list[tuple[Path, StepFacts]]] = {}
    for run in runs:
        for facts, ids in run.steps:
            if facts.key.kind is StepKind.CALIBRATE:
                for content_id in (ids.coefficients, facts.raw_sha256):
                    known.setdefault(content_id, []).append((run.run, facts))
    return tuple(_home(tile, exported.chip, known) for tile in exported.tiles)


def _home(
    tile: Tile, chip: ChipIdentity | None, known: dict[str, list[tuple[Path, StepFacts]]]
) -> TileHome:
    wanted = tile.coefficients_id or tile.raw_sha256
    found = known.get(wanted, [])
    problems: list[list[str]] = [list(_differences(tile, chip, facts)) for _, facts in found]
    good = [each for each, wrong in zip(found, problems, strict=True) if not wrong]
    if good:
        state = LinkState.OK
        reason = "id and registers are those of the step"
        if isinstance(tile, AffineTile):
            reason = "id is that of the step, scale and bias follow from its registers"
        if not tile.coefficients_id:
            reason = "readouts and registers are those of the step; the file has no id of its own"
    elif found:
        least = min(problems, key=len)
        state, reason = LinkState.BROKEN, "; ".join(least)
    else:
        state, reason = LinkState.BROKEN, "none of the runs has it"
    return TileHome(
        name=tile.name,
        core=tile.core,
        read_mode=str(tile.read_mode),
        content_id=wanted,
        state=state,
        reason=reason,
        steps=tuple((run, facts.key) for run, facts in good or found),
    )


def _differences(tile: Tile, chip: ChipIdentity | None, facts: StepFacts) -> Iterator[str]:
    """Yield what a tile and the step that it names differ in."""
    if (tile.core, tile.read_mode) != (facts.key.core, facts.key.read_mode):
        yield f"is that of core {facts.key.core} {facts.key.read_mode}"
    if chip is not None and chip != facts.origin.chip:
        yield f"is of the chip {facts.origin.chip}: the file says {chip}"
    if tile.raw_sha256 != facts.raw_sha256:
        yield f"raw_sha256 is {tile.raw_sha256}: the step has {facts.raw_sha256}"
    if tile.correction_id not in {"", facts.ids.correction}:
        yield f"correction_id is {tile.correction_id}: the step has {facts.ids.correction}"
    if isinstance(tile, AffineTile):
        yield from _affine_differences(tile, facts.conclusion)
    else:
        yield from _register_differences(tile, facts.conclusion)


def _affine_differences(tile: AffineTile, conclusion: StepConclusion) -> Iterator[str]:
    of_p, of_n, offset = affine_of(conclusion.registers, conclusion.fmt, conclusion.output_lsb)
    if not np.array_equal(tile.scale, one_scale(of_p, of_n)):
        yield "its scales are not those of the step's registers"
    if not np.array_equal(tile.offset, offset):
        yield "its biases are not those of the step's registers"


def _register_differences(tile: ExportedTile, conclusion: StepConclusion) -> Iterator[str]:
    if tile.registers != conclusion.registers:
        yield f"its registers differ from the step's{_first_column(tile, conclusion)}"
    if tile.shift != conclusion.fmt.shift:
        yield f"shift is {tile.shift}: the step has {conclusion.fmt.shift}"
    if tile.output_lsb not in {None, conclusion.output_lsb}:
        yield f"output_lsb is {tile.output_lsb}: the step has {conclusion.output_lsb}"


def _first_column(tile: ExportedTile, conclusion: StepConclusion) -> str:
    codes, due = tile.registers.to_codes(), conclusion.registers.to_codes()
    if codes.shape != due.shape:
        return f": {codes.shape[1]} columns, the step has {due.shape[1]}"
    column = int(np.argmax((codes != due).any(axis=0)))
    return f", first in column {column}"
