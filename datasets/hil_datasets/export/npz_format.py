"""Coefficients as NumPy ``.npz``: arrays of shape (core, read mode, column)."""

import io
import json
import zipfile
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.export.quality_fields import circumstance_of
from hil_datasets.step import StepKey

_POSITIONS = ("first_row", "rows_used", "first_column", "columns_used")
"""Which part of the workload's weight matrix a tile holds."""


def export_npz(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as ``.npz``; a tile that was not calibrated has ``finished`` 0."""
    cores = sorted({tile.key.core for tile in coefficients.tiles})
    modes = sorted({tile.key.read_mode for tile in coefficients.tiles})
    columns = len(coefficients.tiles[0].flags)
    shape = (len(cores), len(modes), columns)
    tables: dict[str, npt.NDArray[Any]] = {
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
        for name in ("scale_p", "scale_n", "offset", "swap"):
            tables[name][at] = getattr(tile.registers, name)
        tables["flags"][at] = tile.flags
        tables["shift"][at] = tile.shift
        tables["output_lsb"][at] = tile.output_lsb
        tables["finished"][at] = True
        for name in _POSITIONS:
            tables[name][at] = getattr(tile, name)
    source = {
        "chip": asdict(coefficients.chip),
        "campaign_sha256": coefficients.campaign_sha256,
        "software": coefficients.software,
        "raw_sha256": {_name(tile): tile.raw_sha256 for tile in coefficients.tiles},
    }
    if any(tile.setpoints is not None for tile in coefficients.tiles):
        source["circumstance"] = {_name(tile): circumstance_of(tile) for tile in coefficients.tiles}
    labels: dict[str, npt.NDArray[Any]] = {
        "core": np.array(cores, np.int64),
        "read_mode": np.array([str(mode) for mode in modes]),
        "nmpu": np.array(json.dumps(dict(coefficients.nmpu), allow_nan=False)),
        "source": np.array(json.dumps(source, allow_nan=False)),
    }
    return _archive(labels | tables)


def _name(tile: TileCoefficients) -> str:
    """Return a tile's name, the same whenever it was calibrated."""
    return StepKey(tile.key.core, tile.key.read_mode).name


def _archive(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    # Not numpy.savez: the date and order of what it writes are not promised.
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, member.getvalue())
    return content.getvalue()
