"""Readouts in chunks of 2 to 4 MiB: written as finished bytes, and checked before they are read."""

import math
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.packed.compression import (
    KNOWN_PIPELINES,
    MOST_EXPANSION,
    ChunkEncoder,
    Compression,
    dataset_options,
    load_filters,
)

LARGEST_CHUNK_BYTES = 4 << 20
"""Size that no chunk of more than one row exceeds."""
_FIRST_OF_PLUGINS = 256
"""Numbers of filters below are those of the HDF5 library itself."""


def chunk_rows(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Return how many rows along the first axis make a chunk.

    Chunks are as equal as they can be, so that the last one, which HDF5 stores in full, wastes less
    than a row for each of the others.

    Examples
    --------
    >>> chunk_rows((8000, 2, 256), "uint16")  # 1 KiB a row: two chunks of 3.9 MiB
    4000
    >>> chunk_rows((6, 2, 3), "uint16")
    6
    """
    row_bytes = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    most_rows = max(1, LARGEST_CHUNK_BYTES // max(1, row_bytes))
    chunks = math.ceil(shape[0] / most_rows)
    return math.ceil(shape[0] / max(1, chunks))


def write_chunked(
    group: h5py.Group, name: str, values: npt.NDArray[Any], compression: Compression
) -> h5py.Dataset:
    """Make a dataset of whole chunks; one without any element is made without chunks.

    Parameters
    ----------
    group, name
        Where it is made.
    values
        Its content, of at least one axis.
    compression
        How its chunks are stored.

    Notes
    -----
    Read it from the closed file: HDF5 2.0 forgets the filter mask of a chunk that was just written
    directly, and fails to read one that is stored as it is.
    """
    if values.size == 0:
        return group.create_dataset(name, data=values)
    shape = (chunk_rows(values.shape, values.dtype), *values.shape[1:])
    dataset = group.create_dataset(
        name, values.shape, values.dtype, chunks=shape, **dataset_options(compression)
    )
    rest = (0,) * (values.ndim - 1)
    with ChunkEncoder(compression, shape=shape, dtype=values.dtype) as encoder:
        for first, chunk in chunks_of(values, shape[0]):
            content, mask = encoder.encode(chunk)
            dataset.id.write_direct_chunk((first, *rest), content, filter_mask=mask)
    return dataset


def chunks_of(values: npt.NDArray[Any], rows: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield the first row of each chunk with its values, the last one filled up with zeros."""
    for first in range(0, len(values), rows):
        chunk = np.ascontiguousarray(values[first : first + rows])
        if len(chunk) < rows:
            missing = np.zeros((rows - len(chunk), *values.shape[1:]), values.dtype)
            chunk = np.concatenate([chunk, missing])
        yield first, chunk


def check_stored(dataset: h5py.Dataset, *, file_bytes: int) -> int:
    """Hold a dataset's chunks and filters to what packed files have; return its stored bytes.

    Nothing of its values is read, and no room is made for them.

    Parameters
    ----------
    dataset
        A dataset of the file itself, neither virtual nor external.
    file_bytes
        Size of the file.

    Raises
    ------
    ValueError
        If a filter is not known, a chunk is missing, is too small for what it claims or too
        large, or they claim more than the file has.
    """
    stored = int(dataset.id.get_storage_size())
    if stored > file_bytes:
        raise ValueError(f"claims {stored} stored bytes in a file of {file_bytes}")
    if dataset.chunks is None:
        if stored != dataset.nbytes:
            raise ValueError(f"claims {dataset.nbytes} bytes and stores {stored}")
        return stored
    pipeline = pipeline_of(dataset)
    if pipeline not in KNOWN_PIPELINES:
        raise ValueError(f"has the filters {pipeline}: no packed file is written with these")
    _check_chunks(dataset, filters=len(pipeline))
    return stored


def make_readable(dataset: h5py.Dataset) -> None:
    """Register the filters of a dataset that was checked.

    Raises
    ------
    MissingExtraError
        If they are not installed.
    """
    if any(number >= _FIRST_OF_PLUGINS for number in pipeline_of(dataset)):
        load_filters()


def pipeline_of(dataset: h5py.Dataset) -> tuple[int, ...]:
    """Return the numbers of a dataset's filters, in the order of writing."""
    plan = dataset.id.get_create_plist()
    return tuple(plan.get_filter(place)[0] for place in range(plan.get_nfilters()))


def _check_chunks(dataset: h5py.Dataset, *, filters: int) -> None:
    shape, chunk = dataset.shape, dataset.chunks
    chunk_bytes = math.prod(chunk) * dataset.dtype.itemsize
    wanted = math.prod(math.ceil(size / span) for size, span in zip(shape, chunk, strict=True))
    if chunk[1:] != shape[1:] or not 0 < chunk[0] <= shape[0]:
        raise ValueError(f"has chunks of shape {chunk}: must be whole rows")
    if chunk_bytes > max(LARGEST_CHUNK_BYTES, chunk_bytes // chunk[0]):
        raise ValueError(f"has chunks of {chunk_bytes} bytes: at most {LARGEST_CHUNK_BYTES}")
    found: list[tuple[int, int, int, int]] = []

    def note(info: Any) -> bool | None:
        found.append((info.chunk_offset[0], info.filter_mask, info.size, info.byte_offset or 0))
        return True if len(found) > wanted else None  # anything but None ends it

    dataset.id.chunk_iter(note)
    firsts = {first for first, _, _, _ in found}
    if len(found) != wanted or firsts != set(range(0, shape[0], chunk[0])):
        raise ValueError(
            f"has {len(found)} chunks: must have {wanted}, one for each {chunk[0]} rows"
        )
    all_filters = (1 << filters) - 1
    for first, mask, size, _ in found:
        skipped = mask & all_filters
        is_plain = skipped == all_filters
        if skipped not in {0, all_filters} or (is_plain and size != chunk_bytes):
            raise ValueError(f"chunk at row {first}: is not stored whole")
        if not is_plain and not size < chunk_bytes <= MOST_EXPANSION * size:
            raise ValueError(
                f"chunk at row {first}: claims {chunk_bytes} bytes in {size} stored ones: "
                f"at most {MOST_EXPANSION} for one"
            )
    _check_apart(found)


def _check_apart(chunks: list[tuple[int, int, int, int]]) -> None:
    """Refuse chunks that share bytes: a small file would claim any number of them."""
    end = 0
    for first, _, size, place in sorted(chunks, key=lambda chunk: chunk[3]):
        if place < end:
            raise ValueError(f"chunk at row {first}: lies in the bytes of another")
        end = place + size
