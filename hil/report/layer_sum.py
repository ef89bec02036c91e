"""The error of a layer that is spread over several cores, whose partial sums are added up."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_calibration.verify import CORRECTIONS, correct_all_ways, relative_l2
from hil_datasets.run_source import NoReadoutsError, Readouts, RunSource, StepFacts
from hil_datasets.step import StepKey, StepKind

_CALIBRATION = re.compile(r"core[0-9]+_[a-z]+_phase(?:_visit(?P<visit>[0-9]+))?")
"""Name of a calibration: other kinds of steps have it at the end."""


def last_layer_visit(keys: Iterable[StepKey]) -> int | None:
    """Return the last visit in which every core and read mode was calibrated that ever was."""
    tiles_of_visit: dict[int, set[tuple[int, ReadMode]]] = defaultdict(set)
    for key in keys:
        if key.kind is StepKind.CALIBRATE:
            tiles_of_visit[key.visit].add((key.core, key.read_mode))
    tiles = {tile for has in tiles_of_visit.values() for tile in has}
    return max((visit for visit, has in tiles_of_visit.items() if has == tiles), default=None)


def is_layer_whole(planned: Iterable[str], finished: Iterable[StepKey], visit: int | None) -> bool:
    """Tell whether all calibrations that a visit was to take are finished.

    Parameters
    ----------
    planned
        Names of the steps that were to be taken; none if nobody knows.
    finished
        Steps that were.
    visit
        The visit; None if there is none.
    """
    names = {
        name
        for name in planned
        if (found := _CALIBRATION.fullmatch(name)) and (int(found["visit"] or 0) == visit)
    }
    return bool(names) and names <= {key.name for key in finished}


def layer_errors(run: RunSource, steps: Sequence[StepFacts]) -> dict[str, dict[str, float]]:
    """Return the errors of the layer per read mode; none without readouts."""
    tiles = [step.origin.first_row for step in steps]
    if not any(tiles):  # independent cores: there is no sum, and no need to read anything
        return {}
    layer = _LayerSum()
    try:
        for step in steps:
            layer.add(step, run.readouts(step.key))
    except NoReadoutsError:
        return {}
    return layer.errors()


class _LayerSum:
    """Adds up the partial sums of a layer whose rows are spread over cores."""

    def __init__(self) -> None:
        self._outputs: dict[tuple[ReadMode, str], dict[int, Any]] = defaultdict(dict)
        self._expected: dict[ReadMode, dict[int, Any]] = defaultdict(dict)
        self._tiles: dict[ReadMode, list[tuple[int, int]]] = defaultdict(list)
        self._vectors: dict[ReadMode, set[tuple[int, int]]] = defaultdict(set)

    def add(self, step: StepFacts, readouts: Readouts) -> None:
        origin, conclusion, mode = step.origin, step.conclusion, step.key.read_mode
        self._vectors[mode].add((origin.calibration_vectors, origin.verification_vectors))
        if len(self._vectors[mode]) > 1:
            return  # a step that was salvaged has fewer vectors: there is no sum over the tiles
        held_out = slice(origin.calibration_vectors, None)
        columns = slice(0, origin.columns_used)
        outputs = correct_all_ways(
            readouts.raw[held_out],
            global_gain=conclusion.global_gain,
            correction=conclusion.correction,
            fmt=conclusion.fmt,
            registers=conclusion.registers,
        )
        self._tiles[mode].append((origin.first_row, origin.first_column))
        expected = readouts.expected[held_out, columns]
        _accumulate(self._expected[mode], origin.first_column, expected)
        for name in CORRECTIONS:
            products = getattr(outputs, name)[:, columns] * conclusion.output_lsb
            _accumulate(self._outputs[mode, name], origin.first_column, products)

    def errors(self) -> dict[str, dict[str, float]]:
        """Return the errors per read mode in which the cores are tiles of one matrix."""
        return {
            str(mode): {
                name: relative_l2(_joined(self._outputs[mode, name]), _joined(self._expected[mode]))
                for name in CORRECTIONS
            }
            for mode, tiles in self._tiles.items()
            # Cores that all begin at row 0 are independent, not parts of one sum.
            if any(first_row > 0 for first_row, _ in tiles) and len(self._vectors[mode]) == 1
        }


def _accumulate(sums: dict[int, Any], at: int, part: npt.NDArray[Any]) -> None:
    sums[at] = sums[at] + part if at in sums else part


def _joined(sums: dict[int, Any]) -> npt.NDArray[np.float64]:
    return np.concatenate([sums[at] for at in sorted(sums)], axis=1).astype(np.float64)
