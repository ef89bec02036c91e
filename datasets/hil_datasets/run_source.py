"""Reading a run, whatever holds it: a folder, or one packed file.

`RunSource` is the seam between those who ask (exports, reports, comparisons) and what is stored.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError
from hil_datasets.content_id import StepIds, step_ids
from hil_datasets.step import StepConclusion, StepKey, StepKind, StepOrigin, StepRecord
from hil_datasets.step_conditions import Condition
from hil_datasets.step_timing import StepTiming


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """A finished step without its readouts."""

    key: StepKey
    """Which step."""
    origin: StepOrigin
    """Where its data come from."""
    conclusion: StepConclusion
    """What was concluded."""
    raw_sha256: str
    """Content hash of the step's own readouts."""
    timing: StepTiming | None = None
    """When it was read; None in files from before that was stored."""
    conditions: tuple[Condition, ...] = ()
    """What the bench instruments showed; empty if there were none."""

    @classmethod
    def of(cls, record: StepRecord) -> "StepFacts":
        """Return the facts of a step that was read whole."""
        return cls(
            key=record.key,
            origin=record.origin,
            conclusion=record.conclusion,
            raw_sha256=record.raw_sha256,
            timing=record.timing,
            conditions=record.conditions,
        )

    @cached_property
    def ids(self) -> StepIds:
        """Ids of what was concluded; a step that judges has those of the calibration it judges."""
        source = self.origin.circumstance.correction_of
        return step_ids(self.conclusion, self.raw_sha256 if source is None else source.raw_sha256)


@dataclass(frozen=True, kw_only=True)
class ToldStep:
    """What a journal says of a finished step as well."""

    key: StepKey
    """Which step."""
    raw_sha256: str
    """Content hash of its readouts."""
    campaign_sha256: str
    """SHA-256 of the campaign file."""
    errors: Mapping[str, float]
    """Error of each correction."""


ConcludedStep = StepFacts | StepRecord
"""A finished step, with or without its readouts."""


class NoReadoutsError(DatasetError):
    """The run was packed without its readouts."""


class Readouts(Protocol):
    """What a step has sent and read, opened when it is asked for; every array is read-only."""

    @property
    def weights(self) -> npt.NDArray[np.int8]:
        """Programmed weights, shape (row, column)."""
        ...

    @property
    def inputs(self) -> npt.NDArray[np.int8]:
        """Input vectors, shape (vector, row): calibration, then verification."""
        ...

    @property
    def raw(self) -> npt.NDArray[np.uint16]:
        """Counter codes, shape (vector, polarity, column)."""
        ...

    @property
    def expected(self) -> npt.NDArray[np.int32]:
        """Expected outputs, shape (vector, column), product units."""
        ...


class RunSource(Protocol):
    """A run that can be read. Methods raise `DatasetError` where it cannot be, or is damaged."""

    @property
    def path(self) -> Path:
        """The folder or file."""
        ...

    def events(self) -> list[dict[str, Any]]:
        """Return the journal's events."""
        ...

    def read_campaign(self) -> bytes:
        """Return the campaign file as it was run, byte for byte."""
        ...

    def finished_steps(self) -> list[StepKey]:
        """Return the steps that the journal calls finished, in the order they were."""
        ...

    def skipped_steps(self) -> dict[StepKey, str]:
        """Return why each step was skipped that the journal calls skipped, in its order."""
        ...

    def read_step(self, key: StepKey) -> StepRecord:
        """Return a finished step whole, every hash checked."""
        ...

    def read_steps(
        self,
        *,
        kinds: Collection[StepKind] = tuple(StepKind),
        keys: Collection[StepKey] | None = None,
    ) -> Iterator[StepRecord]:
        """Yield finished steps, one in memory at a time, sorted as their keys are."""
        ...

    def read_facts(self, key: StepKey) -> StepFacts:
        """Return a finished step without its readouts, which are not looked at."""
        ...

    def readouts(self, key: StepKey) -> Readouts:
        """Return the readouts of a finished step; nothing is read before it is asked for.

        Raises
        ------
        NoReadoutsError
            Here or when an array is asked for, if the run was packed without them.
        """
        ...
