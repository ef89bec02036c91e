"""Which calibrations of a run are meant, where a core and read mode has several."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hil.core.errors import ConfigError, Problem
from hil.core.readout import ReadMode
from hil_datasets.run_source import ConcludedStep, RunSource
from hil_datasets.step import StepKey, StepKind

_CLOSE = 1e-9
"""Relative difference of two settings that are the same."""
_MOST_LISTED = 12
"""Calibrations that an error lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationChoice:
    """What calibrations have to be; each condition leaves fewer of them."""

    at: Mapping[str, float] = field(default_factory=dict)
    """Settings by name, ``chamber.temperature``; those that are not named may be any."""
    visit: int | None = None
    """Number of the visit; None for any."""
    newest: bool = False
    """Whether it is the last one, of those that are left, of each core and read mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCalibration:
    """A finished calibration, and under what it was made."""

    key: StepKey
    """Which step."""
    setpoints: Mapping[str, float]
    """What the campaign had set, by name."""
    age_s: float
    """Seconds since the core was programmed; NaN if that is not known."""

    @classmethod
    def of(cls, step: ConcludedStep) -> "FoundCalibration":
        """Take it from a step."""
        return cls(
            key=step.key,
            setpoints=setpoints_of(step),
            age_s=step.origin.circumstance.age_s,
        )

    def __str__(self) -> str:
        """Return the step's name and its circumstance in words."""
        words = [f"{name}={value:g}" for name, value in self.setpoints.items()]
        if not math.isnan(self.age_s):
            words.append(f"{round(self.age_s, 1):g} s after programming")
        return f"{self.key.name} (visit {', '.join([str(self.key.visit), *words])})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenCalibrations:
    """At most one calibration of each core and read mode."""

    keys: tuple[StepKey, ...]
    """Which steps, sorted."""
    is_choice: bool
    """Whether the run has several of some core and read mode."""
    left_out: tuple[StepKey, ...]
    """Cores and read modes, each as its first calibration, of which none was meant."""


def setpoints_of(step: ConcludedStep) -> dict[str, float]:
    """Return what the campaign had set during a step, by name."""
    return {each.name: each.setpoint for each in step.conditions if each.setpoint is not None}


def newest_calibrations(keys: Iterable[StepKey]) -> list[StepKey]:
    """Return the calibration of the highest visit of each core and read mode, sorted."""
    calibrations = sorted(key for key in keys if key.kind is StepKind.CALIBRATE)
    newest = {(key.core, key.read_mode): key for key in calibrations}
    return sorted(newest.values())


def choose_calibrations(
    run: RunSource, choice: CalibrationChoice, *, among: Collection[StepKey] | None = None
) -> ChosenCalibrations:
    """Choose at most one calibration of each core and read mode.

    Parameters
    ----------
    run
        The run.
    choice
        What they have to be.
    among
        Finished steps that they are chosen from; None for all of the run.

    Raises
    ------
    ConfigError
        If the choice leaves several of one, or none at all; the calibrations are listed.
    DatasetError
        If a step that has to be looked at is damaged.
    """
    steps = run.finished_steps() if among is None else among
    keys = sorted(key for key in steps if key.kind is StepKind.CALIBRATE)
    tiles = _by_tile(keys)
    is_choice = len(tiles) < len(keys)
    if not keys or (not is_choice and choice == CalibrationChoice()):
        return ChosenCalibrations(keys=tuple(keys), is_choice=False, left_out=())
    found = [FoundCalibration.of(run.read_facts(key)) for key in keys]
    left = [each for each in found if _is_meant(each, choice)]
    if not left:
        raise _error(run, _nothing_left(found, choice), found)
    chosen = [each.key for each in left]
    if choice.newest:
        chosen = newest_calibrations(chosen)
    chosen_tiles = _by_tile(chosen)
    several = [calibrations for calibrations in chosen_tiles.values() if len(calibrations) > 1]
    if several:
        first = several[0][0]
        message = (
            f"has {len(several[0])} such calibrations of core {first.core} {first.read_mode}; "
            "say which with --at NAME=VALUE, --visit NUMBER or --newest"
        )
        raise _error(run, message, left)
    left_out = [calibrations[0] for tile, calibrations in tiles.items() if tile not in chosen_tiles]
    return ChosenCalibrations(keys=tuple(chosen), is_choice=is_choice, left_out=tuple(left_out))


def _by_tile(keys: Iterable[StepKey]) -> dict[tuple[int, ReadMode], list[StepKey]]:
    tiles: dict[tuple[int, ReadMode], list[StepKey]] = defaultdict(list)
    for key in keys:
        tiles[key.core, key.read_mode].append(key)
    return dict(tiles)


def _is_meant(found: FoundCalibration, choice: CalibrationChoice) -> bool:
    if choice.visit is not None and found.key.visit != choice.visit:
        return False
    return all(
        name in found.setpoints
        and math.isclose(found.setpoints[name], value, rel_tol=_CLOSE, abs_tol=_CLOSE)
        for name, value in choice.at.items()
    )


def _nothing_left(found: Sequence[FoundCalibration], choice: CalibrationChoice) -> str:
    known = {name for each in found for name in each.setpoints}
    for name in choice.at:
        if name not in known:
            names = ", ".join(sorted(known)) or "nothing"
            return f"--at {name}: the campaign has not set it; it has set {names}"
    wanted = [f"--at {name}={value:g}" for name, value in choice.at.items()]
    wanted += [f"--visit {choice.visit}"] if choice.visit is not None else []
    return f"has no calibration with {' '.join(wanted)}"


def _error(run: RunSource, message: str, found: Sequence[FoundCalibration]) -> ConfigError:
    # Of many, some of each visit: those of the first one alone would not say what can be chosen.
    shown = _some_of_each_visit(found) if len(found) > _MOST_LISTED else list(found)
    lines = [str(each) for each in shown]
    if len(found) > len(shown):
        lines.append(f"{len(found) - len(shown)} more, see hil info")
    listed = "".join(f"\n  {line}" for line in lines)
    return ConfigError(str(run.path), [Problem("", f"{message}; there are:{listed}")])


def _some_of_each_visit(found: Sequence[FoundCalibration]) -> list[FoundCalibration]:
    """Return as many as are listed: the first of each visit, the second, and so on, sorted."""
    turns: dict[int, int] = defaultdict(int)
    ranked: list[tuple[int, int, int]] = []
    for each in found:
        ranked.append((turns[each.key.visit], each.key.visit, len(ranked)))
        turns[each.key.visit] += 1
    places = sorted(place for _, _, place in sorted(ranked)[:_MOST_LISTED])
    return [found[place] for place in places]
