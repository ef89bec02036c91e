"""Writing what the schema has: datasets and attributes of a step file, and its seal."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy.typing as npt

from hil_datasets.durable import WriteLatch
from hil_datasets.schema import (
    STEP_ATTRIBUTES,
    STEP_DATASET_BY_PATH,
    AttributeKind,
    DatasetSpec,
)
from hil_datasets.seal import SEAL_BYTES, seal_file
from hil_datasets.step import hash_readouts

_STORED_AS: dict[AttributeKind, Callable[[Any], Any]] = {
    AttributeKind.TEXT: str,
    AttributeKind.INTEGER: int,
    AttributeKind.REAL: float,
    AttributeKind.JSON: partial(json.dumps, allow_nan=False),
}


@contextmanager
def written_hdf5(path: Path, *, mode: str) -> Iterator[h5py.File]:
    """Open a file for HDF5 to write to; a failed write is raised at the end, see `WriteLatch`."""
    latch = WriteLatch(path, is_new=mode == "w")
    try:
        options = {"userblock_size": SEAL_BYTES} if mode == "w" else {}
        with h5py.File(latch, mode, **options) as file:
            yield file
        latch.check()
    finally:
        latch.close()


def make_finished(
    part: Path,
    making: Path,
    arrays: dict[str, npt.NDArray[Any]],
    attributes: dict[str, Any],
) -> str:
    """Make the finished file of a part that has all vectors; return its readouts' hash.

    Parameters
    ----------
    part
        The partial file; it stays as it is.
    making
        The file to make, beside the one that it will be renamed to.
    arrays, attributes
        Values that are not in the part yet, by their paths in the schema.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    shutil.copyfile(part, making)
    with written_hdf5(making, mode="r+") as file:
        if "timing" in file:
            del file["timing"]  # the whole of it follows, or it is not known
        if "verification/outputs" in file and "verification/outputs" not in arrays:
            del file["verification/outputs"]
        for path, array in arrays.items():
            if path in file:
                file[path][...] = array
            else:
                create_dataset(file, path, array.shape, array)
        # From the file, not from memory: what is hashed is what will be read.
        weights, inputs, raw = (file[path][...] for path in ("weights", "inputs", "raw"))
        raw_sha256 = hash_readouts(weights, inputs, raw)
        write_attributes(file, attributes | {"raw_sha256": raw_sha256})
    seal_file(making)
    return raw_sha256


def write_attributes(file: h5py.File, attributes: dict[str, Any]) -> None:
    """Store those of some values, by their paths, that the schema has as attributes."""
    for spec in STEP_ATTRIBUTES:
        if spec.path in attributes:
            value = _STORED_AS[spec.kind](attributes[spec.path])
            file.require_group(spec.owner).attrs[spec.name] = value


def create_dataset(
    file: h5py.File, path: str, shape: tuple[int, ...], array: npt.NDArray[Any] | None = None
) -> None:
    """Make a dataset of the schema, with its values if they are known."""
    spec = STEP_DATASET_BY_PATH[path]
    # Its place in the file is fixed at once: blocks then change no metadata, so that a crash
    # in the middle of one cannot leave the file unreadable.
    placement = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    placement.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    dataset = file.create_dataset(path, shape=shape, dtype=spec.dtype, data=array, dcpl=placement)
    describe(dataset, spec)


def describe(dataset: h5py.Dataset, spec: DatasetSpec) -> None:
    """Attach unit, long name and names of the axes."""
    dataset.attrs["units"] = spec.units
    dataset.attrs["long_name"] = spec.long_name
    for axis, name in enumerate(spec.axes):
        dataset.dims[axis].label = name
