"""Reading an export back and applying it again to the readouts that it was made from."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.aihwkit_format import affine_of, one_scale
from hil_datasets.export.exported import AffineTile, ExportedSet, ExportedTile, format_of
from hil_datasets.export.exporter import Exporter, ExportRequest, Files
from hil_datasets.run_source import StepFacts
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_files.schema import CORRECTION_NAMES

ApplyNmpu = Callable[
    [npt.NDArray[np.uint16], npt.NDArray[np.uint16], NmpuRegisters, NmpuFormat],
    npt.NDArray[np.int8],
]
"""The NMPU's integer model: counts P and N of shape (vector, column) to output codes."""
_SAME = 1e-9
"""Relative difference of residuals that are the same: another NumPy may sum in another order."""


def read_back(exporter: Exporter, files: Files, request: ExportRequest) -> ExportedSet | None:
    """Read a format's files; None if the format has no reader.

    Raises
    ------
    ValueError
        If the files are not what the exporter should have written.
    """
    read = getattr(exporter, "read", None)
    if read is None:
        return None
    try:
        found: ExportedSet = read(files, request)
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"cannot be read back: {type(error).__name__}: {error}") from error
    return found


def register_problems(exported: ExportedSet, coefficients: CoefficientSet) -> list[str]:
    """Return what differs between a file and what it was written from, a sentence each.

    This is less than `ReadoutCheck`: it applies nothing to readouts, and knows no real scales.
    """
    found = {tile.name: tile for tile in exported.tiles if isinstance(tile, ExportedTile)}
    problems = []
    for wanted in coefficients.tiles:
        name = StepKey(wanted.key.core, wanted.key.read_mode).name
        tile = found.get(name)
        if tile is None:
            if not any(isinstance(each, AffineTile) for each in exported.tiles):
                problems.append(f"{name}: is not there")
        elif (tile.registers, tile.shift) != (wanted.registers, wanted.shift):
            problems.append(f"{name}: has other registers than the calibration")
    return problems


class ReadoutCheck:
    """What the readouts of one step say of exports.

    Parameters
    ----------
    record
        The step.
    nmpu
        NMPU parameters of the run, for formats that have no room for them.
    apply
        The integer model.
    """

    def __init__(self, record: StepRecord, nmpu: Mapping[str, Any], apply: ApplyNmpu) -> None:
        self._record = record
        self._nmpu = nmpu
        self._apply = apply
        self._ids = StepFacts.of(record).ids
        conclusion = record.conclusion
        self._outputs = self._applied(conclusion.registers, conclusion.fmt)

    def is_of(self, tile: ExportedTile | AffineTile) -> bool:
        """Tell whether the readouts are those of a tile."""
        return (tile.core, tile.read_mode) == (self._record.key.core, self._record.key.read_mode)

    def problems(self, exported: ExportedSet) -> list[str]:
        """Return what is wrong with an export, a sentence each; none if it is good."""
        name = StepKey(self._record.key.core, self._record.key.read_mode).name
        found = [tile for tile in exported.tiles if self.is_of(tile)]
        if len(found) != 1:
            return [f"{name}: is there {len(found)} times: must be once"]
        (tile,) = found
        problems = []
        if tile.raw_sha256 != self._record.raw_sha256:
            problems.append(
                f"raw_sha256 is {tile.raw_sha256}: the readouts have {self._record.raw_sha256}"
            )
        for what, told, due in (
            ("correction_id", tile.correction_id, self._ids.correction),
            ("coefficients_id", tile.coefficients_id, self._ids.coefficients),
        ):
            if told not in {"", due}:
                problems.append(f"{what} is {told}: the step has {due}")
        if isinstance(tile, AffineTile):
            problems += self._affine_problems(tile)
        else:
            problems += self._register_problems(tile, exported)
        return [f"{name}: {problem}" for problem in problems]

    def affine_rms(self, tile: AffineTile) -> tuple[float, float]:
        """Return the error of one scale per column, and that of the NMPU, in product units.

        Both are root mean squares over the held-out vectors and the columns that are not 0.
        """
        held_out = self._held_out
        expected = self._record.expected[held_out]
        lsb = self._record.conclusion.output_lsb
        used = tile.scale != 0
        differences = (
            tile.scale * self._difference[held_out] + tile.offset - expected,
            lsb * self._outputs[held_out] - expected,
        )
        first, second = (
            float(np.sqrt(np.mean(np.square(each[:, used])))) if used.any() else 0.0
            for each in differences
        )
        return first, second

    @property
    def _held_out(self) -> slice:
        return slice(self._record.origin.calibration_vectors, None)

    @property
    def _difference(self) -> npt.NDArray[np.float64]:
        raw = self._record.raw
        return raw[:, 0].astype(np.float64) - raw[:, 1]

    def _applied(self, registers: NmpuRegisters, fmt: NmpuFormat) -> npt.NDArray[np.int8]:
        raw = self._record.raw
        return self._apply(
            np.ascontiguousarray(raw[:, 0]), np.ascontiguousarray(raw[:, 1]), registers, fmt
        )

    def _register_problems(self, tile: ExportedTile, exported: ExportedSet) -> list[str]:
        conclusion = self._record.conclusion
        fmt = format_of(self._nmpu if exported.nmpu is None else exported.nmpu, tile.shift)
        columns = len(tile.registers.swap)
        if columns != self._outputs.shape[1]:
            return [f"has {columns} columns: the readouts have {self._outputs.shape[1]}"]
        problems = []
        outputs = self._applied(tile.registers, fmt)
        differing = int((outputs != self._outputs).sum())
        if differing:
            problems.append(
                f"{differing} of {outputs.size} outputs differ from the run's integer model"
            )
        held_out = self._held_out
        if conclusion.outputs is not None and conclusion.nmpu_mismatches == 0:
            differing = int((outputs[held_out] != conclusion.outputs).sum())
            if differing:
                problems.append(
                    f"{differing} of {conclusion.outputs.size} outputs differ from the device's"
                )
        lsb = conclusion.output_lsb if tile.output_lsb is None else tile.output_lsb
        return problems + self._residual_problems(outputs[held_out], lsb)

    def _residual_problems(self, outputs: npt.NDArray[np.int8], lsb: float) -> list[str]:
        stored = self._record.conclusion.column_rms[CORRECTION_NAMES.index("nmpu")]
        expected = self._record.expected[self._held_out] / lsb
        residual = np.sqrt(np.mean(np.square(outputs - expected), axis=0))
        is_same = np.isclose(residual, stored, rtol=_SAME, atol=_SAME, equal_nan=True)
        if is_same.all():
            return []
        column = int(np.argmin(is_same))
        message = (
            f"the residual of column {column} is {residual[column]:.6g} output LSB, "
            f"stored is {stored[column]:.6g} ({int((~is_same).sum())} columns differ)"
        )
        return [message]

    def _affine_problems(self, tile: AffineTile) -> list[str]:
        conclusion = self._record.conclusion
        of_p, of_n, offset = affine_of(conclusion.registers, conclusion.fmt, conclusion.output_lsb)
        if tile.scale.shape != of_p.shape or tile.offset.shape != of_p.shape:
            return [f"has {len(tile.scale)} columns: the readouts have {len(of_p)}"]
        # One scale for both loses what the exporter says; nothing else may be lost.
        due = one_scale(of_p, of_n) * self._difference + offset
        outputs = tile.scale * self._difference + tile.offset
        is_same = np.isclose(outputs, due, rtol=_SAME, atol=_SAME * conclusion.output_lsb)
        if is_same.all():
            return []
        return [f"{int((~is_same).sum())} of {outputs.size} outputs are not those of the registers"]
