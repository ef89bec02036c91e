"""Coefficients as one HDF5 file: the arrays of the NPZ format with named axes and units."""

import io
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.exported import ExportedSet
from hil_datasets.export.tables import (
    LARGEST_TABLE,
    TABLES,
    coefficient_tables,
    coefficient_texts,
    read_tables,
)

FORMAT = "hil-coefficients"
VERSION = 1
_TEXTS = ("nmpu", "source", "coefficients_id")
_AXES = ("core", "read_mode", "column")
_LONG_NAMES = {
    "core": "core number",
    "read_mode": "read mode",
    "column": "column number",
    "scale_p": "register code of the scale of P",
    "scale_n": "register code of the scale of N",
    "offset": "register code of the offset, two's complement",
    "swap": "whether P and N change places",
    "flags": "sum of the column's flags",
    "shift": "right shift of the product",
    "output_lsb": "size of one output code in product units",
    "finished": "whether the tile was calibrated",
    "first_row": "first row of the tile in the weight matrix",
    "rows_used": "rows of the tile that carry inputs",
    "first_column": "first column of the tile in the weight matrix",
    "columns_used": "columns of the tile that carry weights",
}


def export_hdf5(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as an HDF5 file."""
    content = io.BytesIO()
    with h5py.File(content, "w", libver=("earliest", "v110")) as file:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = np.int64(VERSION)
        for name, text in coefficient_texts(coefficients).items():
            file.attrs[name] = text
        tables = coefficient_tables(coefficients)
        tables["column"] = np.arange(tables["scale_p"].shape[2])
        for axis in _AXES:
            _write(file, axis, tables.pop(axis)).make_scale(axis)
        for name, table in tables.items():
            dataset = _write(file, name, table)
            for number, axis in enumerate(_AXES[: table.ndim]):
                dataset.dims[number].attach_scale(file[axis])
                dataset.dims[number].label = axis
    return content.getvalue()


def read_hdf5(content: bytes) -> ExportedSet:
    """Read what `export_hdf5` wrote.

    Raises
    ------
    ValueError
        If it is no such file, or something in it is wrong; the message names the dataset.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
                raise ValueError(f"is no {FORMAT} file of version {VERSION}")
            texts = {name: str(file.attrs.get(name, "")) for name in _TEXTS}
            tables = {name: _read(file, name) for name in TABLES}
    except (OSError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        raise ValueError(f"is no HDF5 file of coefficients: {error}") from error
    return read_tables(tables, texts)


def _write(file: h5py.File, name: str, table: npt.NDArray[Any]) -> h5py.Dataset:
    is_text = table.dtype.kind == "U"
    data = np.char.encode(table, "ascii") if is_text else table
    dataset = file.create_dataset(name, data=data, track_times=False)
    dataset.attrs["long_name"] = _LONG_NAMES[name]
    if not is_text:
        dataset.attrs["units"] = "product" if name == "output_lsb" else "1"
    return dataset


def _read(file: h5py.File, name: str) -> npt.NDArray[Any]:
    # Nothing is followed out of the file, and nothing allocated that the file does not hold.
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name}: is missing, or only a link")  # noqa: TRY004 - a file's fault
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError(f"{name}: is no dataset of this file")
    if dataset.chunks is not None or dataset.size is None or dataset.size > LARGEST_TABLE:
        raise ValueError(f"{name}: has shape {dataset.shape}, or is stored in chunks")
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    return np.asarray(dataset.asstr()[...] if is_text else dataset[...]).astype(
        str if is_text else dataset.dtype
    )
