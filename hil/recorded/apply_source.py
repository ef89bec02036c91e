"""Which correction is applied: a run's own, that of another run, or an exported file's."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.correction import Correction
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_datasets.export.exported import ExportedSet, ExportedTile, format_of
from hil_datasets.export.hdf5_format import read_hdf5
from hil_datasets.export.json_format import read_json
from hil_datasets.export.npz_format import read_npz_export
from hil_datasets.opened import open_source
from hil_datasets.packed.layout import PACK_FORMAT
from hil_datasets.regular_file import read_regular
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepKey, StepKind

_FORMS = {
    b"\x89HDF": ("HDF5", read_hdf5),
    b"PK\x03\x04": ("NPZ", read_npz_export),
    b"{": ("JSON", read_json),
}
"""How each exported file begins, and what reads it."""

_Tile = tuple[int, ReadMode]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedCorrection:
    """The correction of one core in one read mode, and where it is from."""

    fmt: NmpuFormat
    """NMPU format with the tile's shift."""
    registers: NmpuRegisters
    """NMPU register codes."""
    output_lsb: float | None
    """Size of one output code, in product units; None where an exported file does not say."""
    correction: Correction | None
    """Real-valued correction, output LSB; None of an exported file, which has codes alone."""
    flags: npt.NDArray[np.uint16] | None
    """`ColumnFlag` bit fields; None of an exported file."""
    raw_id: str
    """Id of the readouts that it was made from."""
    correction_id: str
    """Id of the real-valued correction; empty where a file does not say."""
    coefficients_id: str
    """Id of the register codes; empty where a file does not say."""
    chip: str
    """Who the chip said it was; empty where a file does not say."""

    @classmethod
    def of(cls, facts: StepFacts) -> "AppliedCorrection":
        """Return the correction that a step made, or judged."""
        conclusion, ids = facts.conclusion, facts.ids
        return cls(
            fmt=conclusion.fmt,
            registers=conclusion.registers,
            output_lsb=conclusion.output_lsb,
            correction=conclusion.correction,
            flags=conclusion.flags,
            raw_id=ids.raw,
            correction_id=ids.correction,
            coefficients_id=ids.coefficients,
            chip=str(facts.origin.chip),
        )


class OtherCorrections:
    """Corrections from elsewhere, by core and read mode.

    Parameters
    ----------
    name
        Where they are from, for messages.
    corrections
        One of each core and read mode.
    """

    def __init__(self, name: str, corrections: dict[_Tile, AppliedCorrection]) -> None:
        self.name = name
        """Where they are from."""
        self._corrections = corrections

    def of(self, key: StepKey) -> AppliedCorrection | None:
        """Return that for a step; None if there is none."""
        return self._corrections.get((key.core, key.read_mode))

    @property
    def tiles(self) -> list[str]:
        """The cores and read modes, for messages."""
        return [f"core {core} {mode}" for core, mode in sorted(self._corrections)]


def read_corrections(path: Path, *, visit: int | None = None) -> OtherCorrections:
    """Read the corrections of another run, or of an exported file.

    Parameters
    ----------
    path
        A run, a packed file, or what `hil export` wrote as JSON, NPZ or HDF5.
    visit
        Number of the visit whose calibrations are meant, where a run has several.

    Raises
    ------
    ConfigError
        If a core and read mode has several calibrations and nothing says which is meant.
    DatasetError
        If the file is none of these, or damaged.
    """
    if path.is_dir() or not path.exists() or _beginning(path).startswith(PACK_FORMAT.encode()):
        return _of_run(open_source(path), visit)
    if visit is not None:
        raise ConfigError(str(path), [Problem("", "is no run: leave --visit out")])
    content = read_regular(path)
    for start, (name, read) in _FORMS.items():
        if content.lstrip().startswith(start):
            try:
                return _of_export(path, read(content))
            except ValueError as error:
                problem = Problem("", f"is no coefficients as {name}: {error}")
                raise DatasetError(str(path), [problem]) from error
    message = "is no run, no packed file, and no coefficients as JSON, NPZ or HDF5"
    raise DatasetError(str(path), [Problem("", message)])


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(PACK_FORMAT)) if path.is_file() else b""
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be read: {reason}")]) from error


def _of_run(run: RunSource, visit: int | None) -> OtherCorrections:
    keys = sorted(key for key in run.finished_steps() if key.kind is StepKind.CALIBRATE)
    chosen = [key for key in keys if visit in {None, key.visit}]
    if not chosen:
        visits = ", ".join(map(str, sorted({key.visit for key in keys}))) or "none"
        problem = Problem("", f"has no calibration of visit {visit}; there are: {visits}")
        if visit is None:
            problem = Problem("", "has no finished calibration")
        raise ConfigError(str(run.path), [problem])
    _require_one_each(run, chosen)
    corrections = {
        (key.core, key.read_mode): AppliedCorrection.of(run.read_facts(key)) for key in chosen
    }
    return OtherCorrections(str(run.path), corrections)


def _require_one_each(run: RunSource, keys: Sequence[StepKey]) -> None:
    for key in keys:
        visits = [k.visit for k in keys if (k.core, k.read_mode) == (key.core, key.read_mode)]
        if len(visits) > 1:
            message = (
                f"has {len(visits)} calibrations of core {key.core} {key.read_mode}: say which "
                f"with --visit NUMBER, one of {', '.join(map(str, visits))}"
            )
            raise ConfigError(str(run.path), [Problem("", message)])


def _of_export(path: Path, exported: ExportedSet) -> OtherCorrections:
    corrections = {}
    for tile in exported.tiles:
        if not isinstance(tile, ExportedTile) or exported.nmpu is None:
            raise ValueError("holds no register codes")
        corrections[tile.core, tile.read_mode] = AppliedCorrection(
            fmt=format_of(exported.nmpu, tile.shift),
            registers=tile.registers,
            output_lsb=tile.output_lsb,
            correction=None,
            flags=None,
            raw_id=tile.raw_sha256,
            correction_id=tile.correction_id,
            coefficients_id=tile.coefficients_id,
            chip="" if exported.chip is None else str(exported.chip),
        )
    return OtherCorrections(str(path), corrections)


def selected_steps(
    run: RunSource, *, cores: Collection[int], read_modes: Collection[ReadMode]
) -> list[StepKey]:
    """Return the finished steps of some cores and read modes, of all where empty; sorted.

    Raises
    ------
    ConfigError
        If there are none.
    """
    finished = sorted(run.finished_steps())
    keys = [
        key
        for key in finished
        if (not cores or key.core in cores) and (not read_modes or key.read_mode in read_modes)
    ]
    if not keys:
        tiles = sorted({(key.core, key.read_mode) for key in finished})
        there = ", ".join(f"core {core} {mode}" for core, mode in tiles) or "none"
        message = f"has no such finished step; there are steps of: {there}"
        raise ConfigError(str(run.path), [Problem("", message)])
    return keys
