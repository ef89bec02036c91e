"""One finished step of an opened run: what is known of it, and its readouts when asked for."""

import html
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.core.correction import ColumnQuality, Correction
from hil.core.nmpu_format import NmpuRegisters
from hil_datasets.content_id import StepIds
from hil_datasets.run_source import Readouts, RunSource, StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepOrigin, StepRecord
from hil_datasets.step_conditions import Condition
from hil_datasets.step_timing import StepTiming

if TYPE_CHECKING:
    import xarray


class OpenedStep:
    """A finished step; nothing of it is read before it is looked at.

    Every attribute raises `DatasetError` if the step cannot be read, is damaged, or is not the one
    that the journal tells of.

    Parameters
    ----------
    source
        The run.
    key
        Which of its steps.
    """

    def __init__(self, source: RunSource, key: StepKey) -> None:
        self._source = source
        self.key = key
        """Core, read mode, visit and kind."""

    @property
    def name(self) -> str:
        """Name of the step."""
        return self.key.name

    @cached_property
    def facts(self) -> StepFacts:
        """All of the step but its readouts."""
        return self._source.read_facts(self.key)

    @property
    def origin(self) -> StepOrigin:
        """Where its data come from."""
        return self.facts.origin

    @property
    def conclusion(self) -> StepConclusion:
        """Everything that was concluded."""
        return self.facts.conclusion

    @property
    def corrections(self) -> Correction:
        """Real-valued correction per column, output LSB; arrays of shape (column,)."""
        return self.facts.conclusion.correction

    @property
    def coefficients(self) -> NmpuRegisters:
        """NMPU register codes per column; arrays of shape (column,)."""
        return self.facts.conclusion.registers

    @property
    def quality(self) -> ColumnQuality | None:
        """How good each column is in numbers; None in files from before they were stored."""
        return self.facts.conclusion.quality

    @property
    def errors(self) -> dict[str, float]:
        """Relative L2 error of each correction on the held-out vectors, calibrated columns."""
        return self.facts.conclusion.errors

    @property
    def timing(self) -> StepTiming | None:
        """When its blocks were read; None if that is not known."""
        return self.facts.timing

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the bench instruments showed; empty if there were none."""
        return self.facts.conditions

    @property
    def age_s(self) -> float:
        """Seconds since the core was programmed, when the step began; NaN if that is not known."""
        return self.facts.origin.circumstance.age_s

    @property
    def setpoints(self) -> dict[str, float]:
        """What the campaign had set of the bench, by ``INSTRUMENT.QUANTITY``, each in its unit."""
        return {each.name: each.setpoint for each in self.conditions if each.setpoint is not None}

    @property
    def ids(self) -> StepIds:
        """Content hashes of readouts, correction and coefficients, each the parent of the next."""
        return self.facts.ids

    @cached_property
    def readouts(self) -> Readouts:
        """What was sent and read, mapped into memory where the file allows it."""
        return self._source.readouts(self.key)

    @property
    def weights(self) -> npt.NDArray[np.int8]:
        """Programmed weights, shape (row, column)."""
        return self.readouts.weights

    @property
    def inputs(self) -> npt.NDArray[np.int8]:
        """Input vectors, shape (vector, row): calibration, then verification."""
        return self.readouts.inputs

    @property
    def raw(self) -> npt.NDArray[np.uint16]:
        """Counter codes, shape (vector, polarity, column), P then N."""
        return self.readouts.raw

    @property
    def expected(self) -> npt.NDArray[np.int32]:
        """Expected outputs, shape (vector, column), product units."""
        return self.readouts.expected

    def record(self) -> StepRecord:
        """Return the step whole, every hash recomputed and compared."""
        return self._source.read_step(self.key)

    def to_xarray(self, *, readouts: bool = True) -> "xarray.Dataset":
        """Return the step as a dataset with named axes, units and coordinates.

        Parameters
        ----------
        readouts
            Whether what was sent and read is in it; the arrays stay in the file until they are
            used.

        Raises
        ------
        MissingExtraError
            If xarray is not installed: ``pip install 'aimc-hil[xarray]'``.
        """
        from hil_datasets.labelled import step_dataset  # noqa: PLC0415 - a library of an extra

        return step_dataset(self.facts, self.readouts if readouts else None)

    def __repr__(self) -> str:
        origin = self.origin
        return (
            f"<{self.name}: {origin.calibration_vectors} + {origin.verification_vectors} vectors, "
            f"{origin.rows_used} x {origin.columns_used} used, {_errors(self.errors)}, "
            f"raw {self.facts.raw_sha256[:12]}>"
        )

    def _repr_html_(self) -> str:
        origin, ids = self.origin, self.ids
        rows: dict[str, Any] = {
            "chip": origin.chip,
            "measured": f"{origin.measured_utc}, {origin.temperature_c:.1f} °C",
            "vectors": f"{origin.calibration_vectors} fitted + {origin.verification_vectors} held",
            "in use": f"{origin.rows_used} rows x {origin.columns_used} columns",
            "error": _errors(self.errors),
            "raw id": ids.raw,
            "correction id": ids.correction,
            "coefficients id": ids.coefficients,
        }
        return as_table(self.name, rows)


def as_table(title: str, rows: dict[str, Any]) -> str:
    """Return names and values as a table for a notebook; nothing in them is taken for HTML."""
    lines = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table><caption>{html.escape(title)}</caption>{lines}</table>"


def _errors(errors: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * error:.2f} %" for name, error in errors.items()) or "no error"
