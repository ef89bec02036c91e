"""Comparing two runs: which calibrations belong together, and whether they may be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.readout import ChipIdentity, ReadMode
from hil.recorded.compare import TileComparison, compare_tile
from hil.recorded.compare_weights import weights_in
from hil_datasets.calibration_choice import CalibrationChoice, choose_calibrations
from hil_datasets.journal import last_beginning
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepKey

_MOST_VECTORS = 256
"""Readouts that the effect on the outputs is judged by; more hardly change an rms."""

Tile = tuple[int, ReadMode]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSide:
    """One of the two runs."""

    run: RunSource
    """The run."""
    choice: CalibrationChoice
    """Which of its calibrations are meant."""


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Two runs, compared."""

    runs: tuple[Path, Path]
    """The folder or file of each."""
    chips: tuple[ChipIdentity, ChipIdentity]
    """The chip of each."""
    tiles: tuple[TileComparison, ...]
    """What both have, sorted."""
    only_before: tuple[StepKey, ...]
    """What only the first has."""
    only_after: tuple[StepKey, ...]
    """What only the second has."""
    notes: tuple[str, ...]
    """What whoever reads the numbers has to know."""

    @property
    def has_changed(self) -> bool:
        """Whether any core has moved, or any column of one."""
        return any(tile.has_changed for tile in self.tiles)


def compare_runs(
    before: ComparedSide, after: ComparedSide, *, sigmas: float, any_chip: bool = False
) -> RunComparison:
    """Compare the calibrations of two runs, or of one under two circumstances.

    Parameters
    ----------
    before, after
        The runs, and which calibrations.
    sigmas
        Standard errors beyond which a column has moved.
    any_chip
        Whether they may be of different chips.

    Raises
    ------
    ConfigError
        If a choice leaves several calibrations or none, the chips differ, or both have no core and
        read mode in common.
    DatasetError
        If a calibration cannot be read.
    """
    old, new = _chosen(before), _chosen(after)
    chips = _chip_of(before.run, old), _chip_of(after.run, new)
    if not any_chip and not _is_same_chip(*chips):
        message = f"is of {chips[1]}, {before.run.path} of {chips[0]}; --any-chip compares them"
        raise ConfigError(str(after.run.path), [Problem("", message)])
    common = sorted(old.keys() & new.keys())
    if not common:
        message = f"has {_named(new)}, {before.run.path} {_named(old)}: nothing in common"
        raise ConfigError(str(after.run.path), [Problem("", message)])
    notes: dict[str, None] = {}
    _note_fits((before.run, after.run), notes)
    tiles = []
    for tile in common:
        counts = _counts([(after.run, new[tile]), (before.run, old[tile])], notes)
        tiles.append(compare_tile(old[tile], new[tile], sigmas=sigmas, counts=counts))
        _note_circumstances(before.run, after.run, tiles[-1], notes)
    return RunComparison(
        runs=(before.run.path, after.run.path),
        chips=chips,
        tiles=tuple(tiles),
        only_before=tuple(old[tile].key for tile in sorted(old.keys() - new.keys())),
        only_after=tuple(new[tile].key for tile in sorted(new.keys() - old.keys())),
        notes=tuple(notes),
    )


def _note_fits(sides: Sequence[RunSource], notes: dict[str, None]) -> None:
    """Say how a side was fitted that `hil calibrate fit` has made."""
    for name, run in zip("AB", sides, strict=True):
        options = last_beginning(run.events()).get("options")
        if options is not None:
            told = [f"a {options['fit']} fit"] if "fit" in options else []
            told += options["set"]
            vectors = options["calibration_vectors"]
            told += [] if vectors is None else [f"{vectors} vectors"]
            with_what = ", ".join(told) or "the campaign's own options"
            notes[f"{name} was fitted again, with {with_what}"] = None


def _chosen(side: ComparedSide) -> dict[Tile, StepFacts]:
    keys = choose_calibrations(side.run, side.choice).keys
    if not keys:
        problem = Problem("", "this run has no finished calibration")
        raise DatasetError(str(side.run.path), [problem])
    return {(key.core, key.read_mode): side.run.read_facts(key) for key in keys}


def _chip_of(run: RunSource, steps: Mapping[Tile, StepFacts]) -> ChipIdentity:
    chips = [facts.origin.chip for facts in steps.values()]
    for chip in chips:
        if not _is_same_chip(chip, chips[0]):
            raise DatasetError(str(run.path), [Problem("", f"is of {chips[0]}, and of {chip}")])
    return chips[0]


def _is_same_chip(one: ChipIdentity, other: ChipIdentity) -> bool:
    return replace(one, firmware="") == replace(other, firmware="")


def _named(steps: Mapping[Tile, StepFacts]) -> str:
    return ", ".join(facts.key.name for facts in steps.values())


def _counts(
    sides: Sequence[tuple[RunSource, StepFacts]], notes: dict[str, None]
) -> npt.NDArray[np.uint16] | None:
    """Return readouts of the first side that has any; None, and why, if neither has."""
    for run, facts in sides:
        origin = facts.origin
        # A step may hold out none; those of the fit are as good a measure of a difference.
        first = origin.calibration_vectors if origin.verification_vectors else 0
        try:
            return np.asarray(run.readouts(facts.key).raw[first : first + _MOST_VECTORS])
        except DatasetError as error:
            reason = str(error)
    notes[f"no effect in output LSB: {reason}"] = None
    return None


def _note_circumstances(
    before: RunSource, after: RunSource, tile: TileComparison, notes: dict[str, None]
) -> None:
    place = f"core {tile.core} {tile.read_mode}"
    if tile.has_same_readouts and not tile.has_same_correction:
        notes[
            f"{place}: both were fitted to the same readouts, so their errors are the same too: "
            "read the differences, not their standard errors"
        ] = None
    old, new = (weights_in(run.events(), tile.core) for run in (before, after))
    if old and new and not old & new:
        notes[
            f"core {tile.core} held other weights: faulty cells then shift a fit otherwise, and "
            "more columns pass for moved than by chance"
        ] = None
