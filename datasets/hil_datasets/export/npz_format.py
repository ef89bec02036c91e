"""Coefficients as NumPy ``.npz``: arrays of shape (core, read mode, column)."""

import io
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.exported import ExportedSet
from hil_datasets.export.tables import (
    LARGEST_TABLE,
    TABLES,
    coefficient_tables,
    coefficient_texts,
    read_tables,
)

_TEXTS = ("nmpu", "source", "coefficients_id")


def export_npz(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as ``.npz``; a tile that was not calibrated has ``finished`` 0."""
    tables = coefficient_tables(coefficients)
    texts = {name: np.array(text) for name, text in coefficient_texts(coefficients).items()}
    labels = {name: tables.pop(name) for name in ("core", "read_mode")}
    return _archive(labels | texts | tables)


def read_npz_export(content: bytes) -> ExportedSet:
    """Read what `export_npz` wrote.

    Raises
    ------
    ValueError
        If it is no such file, or something in it is wrong; the message names the array.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            largest = max((entry.file_size for entry in archive.infolist()), default=0)
        if largest > 8 * LARGEST_TABLE:
            raise ValueError(f"holds an array of {largest} bytes")  # noqa: TRY301
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            if not isinstance(archive, NpzFile):
                raise ValueError("is a single array")  # noqa: TRY301, TRY004
            arrays = {name: archive[name] for name in (*TABLES, *_TEXTS) if name in archive.files}
    except Exception as error:  # zipfile and numpy raise half a dozen kinds for damaged files
        raise ValueError(f"is no .npz archive: {error}") from error
    wrong = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if wrong:
        raise ValueError(f"{wrong[0]}: is no array")
    texts = {name: str(arrays[name]) for name in arrays if name in _TEXTS}
    tables = {name: array for name, array in arrays.items() if name not in _TEXTS}
    return read_tables(tables, texts)


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
