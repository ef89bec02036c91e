"""How good the calibrated columns of a run are: the typical one, and the worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil_calibration.quality import is_calibrated
from hil_datasets.run_source import ConcludedStep


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstColumn:
    """A column, and the number that no other exceeds."""

    core: int
    """Core number."""
    read_mode: str
    """Read mode."""
    column: int
    """Column number."""
    value: float
    """The number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySummary:
    """Effective bits and INL over the calibrated columns of some steps."""

    median_effective_bits: float
    """Median of the effective bits."""
    lowest_effective_bits: WorstColumn
    """Where they are fewest."""
    largest_inl: WorstColumn
    """Where the INL is largest, output LSB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedColumns:
    """The numbers of a step's calibrated columns."""

    core: int
    """Core number."""
    read_mode: str
    """Read mode."""
    columns: npt.NDArray[np.intp]
    """Their column numbers, ascending."""
    effective_bits: npt.NDArray[np.float64]
    """Effective bits of each."""
    inl: npt.NDArray[np.float64]
    """Largest INL of each, output LSB."""

    @classmethod
    def of(cls, step: ConcludedStep) -> "CalibratedColumns":
        """Take them from a step; none from one whose file has no quality numbers."""
        conclusion, quality = step.conclusion, step.conclusion.quality
        columns = np.flatnonzero(is_calibrated(conclusion.flags) & (quality is not None))
        return cls(
            core=step.key.core,
            read_mode=str(step.key.read_mode),
            columns=columns,
            effective_bits=np.empty(0) if quality is None else quality.effective_bits[columns],
            inl=np.empty(0) if quality is None else quality.inl[columns],
        )

    def at(self, place: int, value: float) -> WorstColumn:
        """Name one of them by its place here."""
        column = int(self.columns[place])
        return WorstColumn(core=self.core, read_mode=self.read_mode, column=column, value=value)


def summarize_quality(steps: Sequence[CalibratedColumns]) -> QualitySummary | None:
    """Sum up the columns of some steps; None if there is none with numbers."""
    known = [step for step in steps if step.columns.size]
    if not known:
        return None
    fewest = min(known, key=lambda step: step.effective_bits.min())
    bowed = max(known, key=lambda step: step.inl.max())
    return QualitySummary(
        median_effective_bits=float(np.median(np.concatenate([s.effective_bits for s in known]))),
        lowest_effective_bits=fewest.at(
            int(fewest.effective_bits.argmin()), float(fewest.effective_bits.min())
        ),
        largest_inl=bowed.at(int(bowed.inl.argmax()), float(bowed.inl.max())),
    )
