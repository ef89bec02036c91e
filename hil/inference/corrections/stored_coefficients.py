"""The corrections that a calibration run has stored: of each core, those of its newest calibration.

They were fitted with the run's own weights and vectors, on the chip as it was then. What is taken
from the run is the real-valued correction; its register codes belong to the run's output step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.correction import ColumnFlag, Correction
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.nmpu_format import NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil.inference.computing.readings import ChipFacts
from hil.inference.placing.mapping import spans
from hil.inference.placing.tiles import Tile
from hil_calibration.calibrate import CoreCalibration
from hil_calibration.quality import is_calibrated
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.content_id import set_id
from hil_datasets.opened import open_source
from hil_datasets.run_source import StepFacts

_MOST_NAMED = 8
_ID_DIGITS = 12
"""Digits of an id that people are shown."""


@dataclass(frozen=True, kw_only=True)
class StoredCoefficients:
    """What a run has stored of a chip in a read mode."""

    path: Path
    """Folder or packed file of the run."""
    chip: ChipIdentity
    """The chip that it calibrated."""
    read_mode: ReadMode
    """How that read."""
    calibrations: Mapping[int, StepFacts] = field(repr=False)
    """The newest calibration of each core, by core."""

    @property
    def identity(self) -> dict[str, str]:
        """What predictions depend on: another set of coefficients is another evaluation."""
        first, last = self._measured_utc
        found = self.calibrations.values()
        return {
            "coefficients_run": self.path.resolve().name,
            "coefficients_set_id": set_id((one.key, one.ids.coefficients) for one in found),
            "coefficients_measured_utc": first if first == last else f"{first} to {last}",
        }

    @property
    def words(self) -> str:
        """Which coefficients, to print."""
        identity = self.identity
        digits = identity["coefficients_set_id"][:_ID_DIGITS]
        return (
            f"coefficients of run {identity['coefficients_run']} (set {digits}, measured "
            f"{identity['coefficients_measured_utc']})"
        )

    def age_s(self, now: datetime) -> float:
        """Return how many seconds before a moment the newest of them was measured."""
        return (now - datetime.fromisoformat(self._measured_utc[1])).total_seconds()

    @property
    def _measured_utc(self) -> tuple[str, str]:
        moments = [one.origin.measured_utc for one in self.calibrations.values()]
        return min(moments), max(moments)

    def require_chip(self, facts: ChipFacts) -> None:
        """Refuse coefficients of another chip, or of cores of another size.

        Raises
        ------
        ConfigError
            With both chips, or both sizes.
        """
        if facts.identity is None:
            message = f"{self.path} is of {self.chip}: {facts.name} are no chip that it could be of"
            raise _refusal(message)
        mine, other = ChipKey.of(self.chip), ChipKey.of(facts.identity)
        if mine != other:
            message = (
                f"{self.path} has calibrated {mine}; this is {other}: gains of one chip say "
                "nothing of another. Name a run of this chip; a simulated one is the same only "
                "with the same profile and seed (mock://PROFILE?seed=N)"
            )
            raise _refusal(message)
        columns = {core: one.conclusion.flags.size for core, one in self.calibrations.items()}
        for core, size in columns.items():
            if size != facts.columns:
                message = (
                    f"{self.path} has coefficients of {size} columns for core {core}, cores of "
                    f"this chip have {facts.columns}"
                )
                raise _refusal(message)

    def of_tiles(self, tiles: Sequence[Tile]) -> dict[int, CoreCalibration]:
        """Return the stored calibration of each tile's core, cut to the columns in use.

        Raises
        ------
        ConfigError
            If a tile uses columns that the run did not: all such cores, with their columns.
        """
        problems = []
        for tile in tiles:
            facts = self.calibrations[tile.core]
            lacking = _unused(facts)[: tile.column_count]
            if lacking.any():
                columns = spans([int(column) for column in np.flatnonzero(lacking)])
                message = (
                    f"core {tile.core}: the network uses columns 0-{tile.column_count - 1}, and "
                    f"{self.path.name} has no weights and so no coefficients in {columns}"
                )
                problems.append(Problem("", message))
        if problems:
            more = len(problems) - _MOST_NAMED
            shown = problems[:_MOST_NAMED] + (
                [Problem("", f"and {more} more cores")] if more > 0 else []
            )
            todo = "calibrate all columns: hil run without [workload], or with one that fills them"
            raise ConfigError("--coefficients", [*shown, Problem("", todo)])
        return {tile.core: _cut(self.calibrations[tile.core], tile.column_count) for tile in tiles}


def open_coefficients(path: Path, read_mode: ReadMode | None) -> StoredCoefficients:
    """Read the newest calibration of every core of a run.

    Parameters
    ----------
    path
        Folder or packed file of the run.
    read_mode
        Which read mode; four-phase where None, or the other one if the run has that alone.

    Raises
    ------
    DatasetError
        If it cannot be read, or has no calibration in this read mode.
    ConfigError
        If it is of several chips.
    """
    run = open_source(path)
    newest = newest_calibrations(run.finished_steps())
    if not newest:
        message = "has no finished calibration, so no coefficients: calibrate with hil run"
        raise DatasetError(str(path), [Problem("", message)])
    mode = preferred_mode({key.read_mode for key in newest}) if read_mode is None else read_mode
    keys = [key for key in newest if key.read_mode is mode]
    if not keys:
        modes = ", ".join(sorted({str(key.read_mode) for key in newest}))
        message = (
            f"has no coefficients for {mode}, only for {modes}: each read mode has its own; choose "
            "it with --read-mode, or calibrate in this one"
        )
        raise DatasetError(str(path), [Problem("", message)])
    found = {key.core: run.read_facts(key) for key in keys}
    chips = {ChipKey.of(one.origin.chip): one.origin.chip for one in found.values()}
    if len(chips) > 1:
        message = f"has calibrations of {len(chips)} chips: {', '.join(map(str, sorted(chips)))}"
        raise ConfigError(str(path), [Problem("", message)])
    return StoredCoefficients(
        path=path, chip=next(iter(chips.values())), read_mode=mode, calibrations=found
    )


def preferred_mode(modes: set[ReadMode]) -> ReadMode:
    """Return how a run's chip reads where nobody says: four-phase unless it has only the other."""
    has_other = len(modes) > 0 and ReadMode.FOUR_PHASE not in modes
    return ReadMode.ONE_PHASE if has_other else ReadMode.FOUR_PHASE


def neutral_note(calibrations: Mapping[int, CoreCalibration]) -> tuple[str, ...]:
    """Return a note of the columns in use that the run could not calibrate, if there are any."""
    found = {
        core: int((~is_calibrated(one.flags)).sum()) for core, one in sorted(calibrations.items())
    }
    dead = {core: number for core, number in found.items() if number}
    if not dead:
        return ()
    shown = ", ".join(f"{number} of core {core}" for core, number in list(dead.items())[:8])
    more = f" and of {len(dead) - 8} more cores" if len(dead) > 8 else ""
    note = (
        "the run whose coefficients are taken could not calibrate some columns that the network "
        f"uses (hil info names them): {shown}{more}; they say 0 until calibrated again"
    )
    return (note,)


def _unused(facts: StepFacts) -> npt.NDArray[np.bool_]:
    """Return which columns carried no weights, shape (column,)."""
    flags = facts.conclusion.flags
    beyond = np.arange(flags.size) >= facts.origin.columns_used
    return np.asarray(beyond | ((flags & np.uint16(ColumnFlag.UNUSED)) > 0))


def _cut(facts: StepFacts, columns: int) -> CoreCalibration:
    """Return what was concluded of the first columns of a core."""
    found, quality = facts.conclusion, facts.conclusion.quality
    correction, unknown = found.correction, np.full(found.flags.size, np.nan)
    return CoreCalibration(
        output_lsb=found.output_lsb,
        global_gain=found.global_gain,
        correction=Correction(
            a_p=correction.a_p[:columns], a_n=correction.a_n[:columns], b=correction.b[:columns]
        ),
        a_p_se=found.a_p_se[:columns],
        a_n_se=found.a_n_se[:columns],
        b_se=found.b_se[:columns],
        residual_rms=found.residual_rms[:columns],
        r_squared=found.r_squared[:columns],
        condition=(unknown if quality is None else quality.condition)[:columns],
        glitch_share=(unknown if quality is None else quality.glitch_share)[:columns],
        saturated_counts=found.saturated_counts[:columns],
        flags=found.flags[:columns],
        fmt=found.fmt,
        registers=NmpuRegisters.from_codes(found.registers.to_codes()[:, :columns]),
    )


def _refusal(message: str) -> ConfigError:
    return ConfigError("--coefficients", [Problem("", message)])
