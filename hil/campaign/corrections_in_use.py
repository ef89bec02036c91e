"""Which calibration's correction a step judges: the newest one before it in the plan."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from hil.campaign.plan import PlannedStep
from hil.core.readout import ReadMode
from hil_datasets.circumstance import CorrectionSource
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepConclusion, StepKey, StepKind

_Tile = tuple[int, ReadMode]
"""A core in a read mode: what a correction is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionInUse:
    """A correction, and the calibration that made it."""

    source: CorrectionSource
    """The calibration."""
    conclusion: StepConclusion
    """What it concluded."""


class CorrectionsInUse:
    """The finished calibrations and probes of a run.

    Parameters
    ----------
    run
        The run: what an earlier process has finished is read from there when it is asked for.
    plan
        Its steps in order.
    finished
        Those that are finished.
    """

    def __init__(
        self, run: RunDirectory, plan: Sequence[PlannedStep], finished: Collection[StepKey]
    ) -> None:
        self._run = run
        self._places = {step.key: place for place, step in enumerate(plan)}
        self._finished = set(finished) & self._places.keys()
        self._errors: dict[StepKey, Mapping[str, float]] = {}
        self._calibrations: dict[_Tile, list[StepKey]] = defaultdict(list)
        self._in_use: dict[_Tile, tuple[StepKey, CorrectionInUse]] = {}
        for key in self._finished:
            self._note_calibration(key)

    def note(self, key: StepKey, conclusion: StepConclusion, raw_sha256: str) -> None:
        """Take note of a step that is finished."""
        self._finished.add(key)
        self._errors[key] = conclusion.errors
        if self._note_calibration(key):
            self._keep(key, conclusion, raw_sha256)

    def before(self, key: StepKey) -> CorrectionInUse | None:
        """Return the correction that a step judges; None if there is none.

        Raises
        ------
        DatasetError
            If the file of its calibration is damaged.
        """
        tile = _tile_of(key)
        place = self._places[key]
        earlier = [each for each in self._calibrations[tile] if self._places[each] < place]
        if not earlier:
            return None
        newest = max(earlier, key=self._places.__getitem__)
        if tile not in self._in_use or self._in_use[tile][0] != newest:
            record = self._run.read_step(newest)
            self._keep(newest, record.conclusion, record.raw_sha256)
        return self._in_use[tile][1]

    def errors_of(self, key: StepKey) -> Mapping[str, float] | None:
        """Return the errors of a finished step; None if it is not finished.

        Raises
        ------
        DatasetError
            If its file is damaged.
        """
        if key not in self._finished:
            return None
        if key not in self._errors:
            self._errors[key] = self._run.read_step(key).conclusion.errors
        return self._errors[key]

    def _note_calibration(self, key: StepKey) -> bool:
        """Take note of a step if it is a calibration; tell whether it is one."""
        if key.kind is not StepKind.CALIBRATE:
            return False
        self._calibrations[_tile_of(key)].append(key)
        return True

    def _keep(self, key: StepKey, conclusion: StepConclusion, raw_sha256: str) -> None:
        # Only the newest of a tile is judged any more.
        in_use = CorrectionInUse(
            source=CorrectionSource(step=key.name, raw_sha256=raw_sha256),
            conclusion=replace(conclusion, outputs=None),  # those are of its own vectors
        )
        self._in_use[_tile_of(key)] = key, in_use


def _tile_of(key: StepKey) -> _Tile:
    return key.core, key.read_mode
