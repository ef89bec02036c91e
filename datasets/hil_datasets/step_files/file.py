"""Writing what the schema has: datasets and attributes of a step file, and its seal."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.durable import WriteLatch
from hil_datasets.seal import SEAL_BYTES, seal_file
from hil_datasets.step import hash_readouts
from hil_datasets.step_files.placement import Placement
from hil_datasets.step_files.schema import (
    RAW_DATASETS,
    STEP_ATTRIBUTES,
    STEP_DATASET_BY_PATH,
    AttributeKind,
)
from hil_datasets.step_files.tree import describe, describe_tree

_STORED_AS: dict[AttributeKind, Callable[[Any], Any]] = {
    AttributeKind.TEXT: str,
    AttributeKind.INTEGER: int,
    AttributeKind.REAL: float,
    AttributeKind.JSON: partial(json.dumps, allow_nan=False),
}

LARGE_BYTES = 1 << 20
"""Values of so many bytes are large."""
_ALIGNMENT_BYTES = 64 << 10

_ROOM, _ROOM_BYTES = "room", bytes(512)
"""Name and size of an attribute that makes room for those of NeXus and of the axes."""


@contextmanager
def written_hdf5(path: Path, *, mode: str, is_aligned: bool = False) -> Iterator[h5py.File]:
    """Open a file with room for a seal, for HDF5 to write to: see `latched_hdf5`.

    Parameters
    ----------
    path
        The file.
    mode
        ``w`` or ``r+``, as h5py has it.
    is_aligned
        Whether values of 1 MiB and more begin at multiples of 64 KiB, which system calls write
        faster: Linux then keeps them in memory in pieces of that size. HDF5 does so only in a file
        that is there, since the seal is smaller.
    """
    options = {"userblock_size": SEAL_BYTES} if mode == "w" else {}
    if is_aligned:
        options |= {"alignment_threshold": LARGE_BYTES, "alignment_interval": _ALIGNMENT_BYTES}
    with latched_hdf5(path, mode=mode, **options) as file:
        yield file


@contextmanager
def latched_hdf5(path: Path, *, mode: str, **options: Any) -> Iterator[h5py.File]:
    """Open a file for HDF5 to write to; a failed write is raised in the end, see `WriteLatch`.

    HDF5 may trip over what it does not find where it wrote it: then the failed write is raised
    instead, which says why.
    """
    latch = WriteLatch(path, is_new=mode == "w")
    try:
        with h5py.File(latch, mode, **options) as file:
            yield file
    except Exception as error:
        _raise_first(latch, error)
        raise
    else:
        latch.check()
    finally:
        latch.close()


def _raise_first(latch: WriteLatch, later: Exception) -> None:
    try:
        latch.check()
    except OSError as first:
        raise first from later


def make_finished(
    part: Path,
    making: Path,
    arrays: dict[str, npt.NDArray[Any]],
    attributes: dict[str, Any],
    named: Callable[[str], dict[str, Any]],
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
    named
        Returns the attributes that follow from the readouts' hash.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with ThreadPoolExecutor(max_workers=1) as threads:
        # Of the part: were the copy another one, its hash would not fit it.
        hashing = threads.submit(_hash_part, part)
        shutil.copyfile(part, making)
        raw_sha256 = hashing.result()
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
        write_attributes(file, attributes | {"raw_sha256": raw_sha256} | named(raw_sha256))
        describe_tree(file)
    seal_step(making)
    return raw_sha256


def seal_step(path: Path) -> None:
    """Seal a step file that is otherwise finished, each of its readouts as a part.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with h5py.File(path, "r") as file:
        places = {name: Placement.of(file[name]) for name in RAW_DATASETS}
    parts = {
        name: (place.offset, place.row_bytes * place.shape[0]) for name, place in places.items()
    }
    seal_file(path, parts=parts)


def _hash_part(part: Path) -> str:
    with h5py.File(part, "r") as file:
        places = [Placement.of(file[path]) for path in ("weights", "inputs", "raw")]
    weights, inputs, raw = (place.mapped(part) for place in places)
    return hash_readouts(weights, inputs, raw)


def write_attributes(file: h5py.File, attributes: dict[str, Any]) -> None:
    """Store those of some values, by their paths, that the schema has as attributes."""
    stored, owners = stored_attributes(attributes), {}
    for spec in STEP_ATTRIBUTES:
        if spec.path in stored:
            if spec.owner not in owners:
                owners[spec.owner] = file.require_group(spec.owner).attrs
            owners[spec.owner][spec.name] = stored[spec.path]


def stored_attributes(attributes: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return values, by their paths, as attributes hold them; those that the schema has."""
    return {
        spec.path: _STORED_AS[spec.kind](attributes[spec.path])
        for spec in STEP_ATTRIBUTES
        if spec.path in attributes
    }


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
    if path not in RAW_DATASETS:
        describe(dataset, spec)
        return
    # The header gets room for all attributes at once: for later room, HDF5 would move what says
    # where the values lie to the end of the file, where a cut takes it away. See `carve`.
    dataset.attrs[_ROOM] = np.void(_ROOM_BYTES)
    describe(dataset, spec)
    del dataset.attrs[_ROOM]
