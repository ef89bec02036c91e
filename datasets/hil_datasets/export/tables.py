"""Coefficients as arrays of shape (core, read mode, column): what NPZ and HDF5 files hold."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.exported import (
    MOST_COLUMNS,
    MOST_TILES,
    ExportedSet,
    ExportedTile,
    format_of,
    identity_of,
    registers_of,
)
from hil_datasets.export.origin import TILE_IDS, ids_of, json_text, source_of, tile_name
from hil_datasets.export.quality_fields import circumstance_of
from hil_datasets.step import StepKey

_POSITIONS = ("first_row", "rows_used", "first_column", "columns_used")
"""Which part of the workload's weight matrix a tile holds."""
_CODES = ("scale_p", "scale_n", "offset", "swap")
TABLES = (
    "core", "read_mode", *_CODES, "flags", "shift", "output_lsb", "finished", *_POSITIONS,
)  # fmt: skip
"""Names of the arrays."""
LARGEST_TABLE = MOST_TILES * 256
"""Most elements of one array that a reader takes."""


def coefficient_tables(coefficients: CoefficientSet) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays by name; a tile that was not calibrated has ``finished`` 0."""
    cores = sorted({tile.key.core for tile in coefficients.tiles})
    modes = sorted({tile.key.read_mode for tile in coefficients.tiles})
    columns = len(coefficients.tiles[0].flags)
    shape = (len(cores), len(modes), columns)
    tables: dict[str, npt.NDArray[Any]] = {
        "core": np.array(cores, np.int64),
        "read_mode": np.array([str(mode) for mode in modes]),
        "scale_p": np.zeros(shape, np.uint8),
        "scale_n": np.zeros(shape, np.uint8),
        "offset": np.zeros(shape, np.int16),
        "swap": np.zeros(shape, np.bool_),
        "flags": np.zeros(shape, np.uint16),
        "shift": np.zeros(shape[:2], np.int16),
        "output_lsb": np.full(shape[:2], np.nan),
        "finished": np.zeros(shape[:2], np.bool_),
    }
    tables |= {name: np.zeros(shape[:2], np.int64) for name in _POSITIONS}
    for tile in coefficients.tiles:
        at = (cores.index(tile.key.core), modes.index(tile.key.read_mode))
        for name in _CODES:
            tables[name][at] = getattr(tile.registers, name)
        tables["flags"][at] = tile.flags
        tables["shift"][at] = tile.shift
        tables["output_lsb"][at] = tile.output_lsb
        tables["finished"][at] = True
        for name in _POSITIONS:
            tables[name][at] = getattr(tile, name)
    return tables


def coefficient_texts(coefficients: CoefficientSet) -> dict[str, str]:
    """Return ``nmpu`` and ``source`` as JSON, and ``coefficients_id``."""
    source = source_of(coefficients)
    for name in TILE_IDS:
        source[name] = {tile_name(tile): ids_of(tile)[name] for tile in coefficients.tiles}
    source["circumstance"] = {tile_name(tile): circumstance_of(tile) for tile in coefficients.tiles}
    return {
        "nmpu": json_text(dict(coefficients.nmpu)),
        "source": json_text(source),
        "coefficients_id": coefficients.coefficients_id,
    }


def read_tables(tables: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, str]) -> ExportedSet:
    """Read what `coefficient_tables` and `coefficient_texts` returned.

    Raises
    ------
    ValueError
        If something is missing or wrong; the message names the array.
    """
    missing = [name for name in (*TABLES, "nmpu", "source") if name not in {*tables, *texts}]
    if missing:
        raise ValueError(f"{missing[0]}: is missing")
    _check_shapes(tables)
    nmpu, source = (_parsed(name, texts[name]) for name in ("nmpu", "source"))
    chip, ids = source.get("chip"), {name: source.get(name, {}) for name in TILE_IDS}
    if not isinstance(chip, dict) or "raw_sha256" not in source:
        raise ValueError("source: must tell chip and raw_sha256")
    for told, of_tiles in ids.items():
        if not isinstance(of_tiles, dict):
            raise ValueError(f"source: {told} must be an object")  # noqa: TRY004 - a file's fault
    tiles = []
    for core_at, mode_at in np.argwhere(tables["finished"]).tolist():
        core, mode = int(tables["core"][core_at]), ReadMode(str(tables["read_mode"][mode_at]))
        name, at = StepKey(core, mode).name, (core_at, mode_at)
        registers = registers_of({code: tables[code][at] for code in _CODES}, where=name)
        shift = int(tables["shift"][at])
        registers.check_fits(format_of(nmpu, shift))
        tiles.append(
            ExportedTile(
                core=core,
                read_mode=mode,
                shift=shift,
                registers=registers,
                output_lsb=float(tables["output_lsb"][at]),
                **{told: str(of_tiles.get(name, "")) for told, of_tiles in ids.items()},
            )
        )
    return ExportedSet(
        tiles=tuple(tiles),
        nmpu=nmpu,
        chip=identity_of(chip),
        coefficients_id=texts.get("coefficients_id", ""),
    )


def _check_shapes(tables: Mapping[str, npt.NDArray[Any]]) -> None:
    cores, modes = tables["core"].shape, tables["read_mode"].shape
    columns = tables["scale_p"].shape[-1:]
    if len(cores) != 1 or len(modes) != 1 or not columns or columns[0] > MOST_COLUMNS:
        raise ValueError("core and read_mode must have one axis, scale_p the axis column")
    kinds = {"read_mode": "U", "output_lsb": "f", "swap": "b", "finished": "b"}
    for name in TABLES[2:]:
        wanted = cores + modes + (columns if name in {*_CODES, "flags"} else ())
        if tables[name].shape != wanted:
            raise ValueError(f"{name}: must have shape {wanted}, has {tables[name].shape}")
    for name in TABLES:
        if tables[name].dtype.kind not in kinds.get(name, "iu"):
            raise ValueError(f"{name}: must not be of type {tables[name].dtype}")


def _parsed(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name}: must be a JSON object")  # noqa: TRY004 - a file's fault
    return value
