"""The calibrations of one chip over time: from runs, wherever they lie."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.readout import ReadMode
from hil.recorded.compare import QUANTITIES, physical
from hil.recorded.compare_factor import FloatArray
from hil.recorded.history_runs import LeftOut
from hil_calibration.quality import is_calibrated
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.journal import last_beginning
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepKind
from hil_datasets.trace.ages import age_at

_TO_SIGMA = 1.4826
"""From the median magnitude of normal deviations to their standard deviation."""


MOST_LEFT_OUT_SHOWN = 10
"""Runs left out that are named one by one where people read."""


@dataclass(frozen=True, kw_only=True)
class HistoryPoint:
    """One calibration of a core in one read mode."""

    run: Path
    """The run that holds it."""
    facts: StepFacts
    """The calibration."""
    values: Mapping[str, FloatArray]
    """Gains (products per count) and offset (products) by name, shape (column,); NaN where a
    column carries no fitted correction."""
    errors: Mapping[str, FloatArray]
    """Their standard errors, likewise."""
    is_made_again: bool = False
    """Whether the run was fitted again or replayed, from the readouts of another."""
    journal_age_s: float = math.nan
    """Seconds since the core was programmed, as the journal tells; NaN where it does not."""

    @property
    def temperature_c(self) -> float:
        """Temperature of the chip, degrees Celsius."""
        return self.facts.origin.temperature_c

    @property
    def age_s(self) -> float:
        """Seconds since the core was programmed; NaN if that is not known."""
        stored = self.facts.origin.circumstance.age_s
        return self.journal_age_s if math.isnan(stored) else stored

    @property
    def utc(self) -> str:
        """When it was measured."""
        return self.facts.origin.measured_utc

    def median(self, name: str) -> float:
        """Return the median of a quantity over the columns; NaN if there are none."""
        known = self.values[name][np.isfinite(self.values[name])]
        return float(np.median(known)) if known.size else math.nan

    def spread(self, name: str) -> float:
        """Return its spread over the columns, as a standard deviation made from the median one."""
        known = self.values[name][np.isfinite(self.values[name])]
        return float(_TO_SIGMA * np.median(np.abs(known - np.median(known)))) if known.size else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryChoice:
    """What of a chip is asked for."""

    serial: str
    """Serial number of the chip."""
    manufacturer: str | None = None
    """Which of several chips with that serial number."""
    model: str | None = None
    """Likewise."""
    core: int | None = None
    """Only this core."""
    read_mode: ReadMode | None = None
    """Only this read mode."""

    def is_meant(self, chip: ChipKey) -> bool:
        """Tell whether a chip is the one."""
        return (
            chip.serial == self.serial
            and self.manufacturer in {None, chip.manufacturer}
            and self.model in {None, chip.model}
        )


@dataclass(kw_only=True)
class ChipHistory:
    """What was found of a chip."""

    chip: ChipKey
    """Which chip."""
    points: list[HistoryPoint]
    """Its calibrations, sorted by time, core and read mode."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What could not be used."""
    runs_of_others: int = 0
    """Runs of other chips."""
    copies: int = 0
    """Calibrations that were found again: copies, replays, and fits of the same readouts."""

    def tiles(self) -> list[list[HistoryPoint]]:
        """Return the points of each core and read mode, sorted."""
        tiles: dict[tuple[int, str], list[HistoryPoint]] = {}
        for point in self.points:
            key = point.facts.key
            tiles.setdefault((key.core, str(key.read_mode)), []).append(point)
        return [points for _, points in sorted(tiles.items())]


def collect_history(
    runs: Iterable[RunSource], choice: HistoryChoice, left_out: Sequence[LeftOut] = ()
) -> ChipHistory:
    """Collect the calibrations of a chip, each of the same readouts once.

    Parameters
    ----------
    runs
        Where to look. Of several that hold the same readouts the first counts that measured them.
    choice
        Which chip, and what of it.
    left_out
        What could not even be opened; read once `runs` has ended.

    Raises
    ------
    ConfigError
        If nothing is found of such a chip, or calibrations of several chips.
    """
    problems: list[LeftOut] = []
    by_readouts: dict[tuple[str, str], HistoryPoint] = {}
    chips: set[ChipKey] = set()
    serials: set[str] = set()
    others = copies = 0
    for run in runs:
        try:
            found = _points_of(run, choice, serials)
        except DatasetError as error:
            problems.append(LeftOut(path=run.path, reason=str(error)))
            continue
        others += found is None
        for point in found or ():
            chips.add(ChipKey.of(point.facts.origin.chip))
            place = (point.facts.key.name, point.facts.raw_sha256)
            known = by_readouts.get(place)
            copies += known is not None
            # What was measured stands for the fits that were made of it later.
            if known is None or (known.is_made_again and not point.is_made_again):
                by_readouts[place] = point
    left = [*left_out, *problems]
    _require_one_chip(choice, chips, serials, left)
    points = sorted(by_readouts.values(), key=_order)
    return ChipHistory(
        chip=next(iter(chips)), points=points, left_out=left, runs_of_others=others, copies=copies
    )


def _order(point: HistoryPoint) -> tuple[str, int, str, int]:
    key = point.facts.key
    return point.utc, key.core, str(key.read_mode), key.visit


def _points_of(
    run: RunSource, choice: HistoryChoice, serials: set[str]
) -> list[HistoryPoint] | None:
    """Return the calibrations of a run; None if it is of another chip."""
    identity = last_beginning(run.events()).get("identity")
    if isinstance(identity, Mapping) and not _may_be_meant(identity, choice, serials):
        return None
    keys = [
        key
        for key in run.finished_steps()
        if key.kind is StepKind.CALIBRATE
        and choice.core in {None, key.core}
        and choice.read_mode in {None, key.read_mode}
    ]
    points, events = [], run.events()
    for key in sorted(keys):
        facts = run.read_facts(key)
        serials.add(facts.origin.chip.serial)
        if not choice.is_meant(ChipKey.of(facts.origin.chip)):
            return None
        point = replace(point_of(run, facts), journal_age_s=age_at(facts, events))
        points.append(replace(point, is_made_again=_is_made_again(events)))
    return points


def _is_made_again(events: Sequence[Mapping[str, Any]]) -> bool:
    return any(event.get(name) for event in events for name in ("refit_of", "replay_of"))


def _may_be_meant(identity: Mapping[str, Any], choice: HistoryChoice, serials: set[str]) -> bool:
    """Tell by a journal whether a run can be of the chip, so that others are not read at all."""
    named = {name: identity.get(name) for name in ("manufacturer", "model", "serial")}
    if not all(isinstance(value, str) for value in named.values()):
        return True
    serials.add(str(named["serial"]))
    return choice.is_meant(ChipKey(**{name: str(value) for name, value in named.items()}))


def point_of(run: RunSource, facts: StepFacts) -> HistoryPoint:
    """Return a calibration in physical units."""
    values, errors = physical(facts)
    held = is_calibrated(facts.conclusion.flags)
    return HistoryPoint(
        run=run.path,
        facts=facts,
        values={name: np.where(held, values[name], np.nan) for name in QUANTITIES},
        errors={name: np.where(held, errors[name], np.nan) for name in QUANTITIES},
    )


def _require_one_chip(
    choice: HistoryChoice, chips: set[ChipKey], serials: set[str], left_out: Sequence[LeftOut]
) -> None:
    if len(chips) == 1:
        return
    if chips:
        listed = "; ".join(sorted(map(str, chips)))
        message = f"several chips have this serial number: {listed}; say --manufacturer or --model"
        raise ConfigError(choice.serial, [Problem("", message)])
    what = "no calibration of a chip with this serial number was found"
    known = ", ".join(sorted(serials)) or "no other one either"
    message = f"{what}; found: {known}; say where to look with --root FOLDER"
    problems = [Problem("", message)]
    shown = left_out[:MOST_LEFT_OUT_SHOWN]
    problems += [Problem(str(one.path), f"left out: {one.reason}") for one in shown]
    if len(left_out) > len(shown):
        problems.append(Problem("", f"{len(left_out) - len(shown)} more are left out"))
    raise ConfigError(choice.serial, problems)
