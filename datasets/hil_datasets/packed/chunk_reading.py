"""Reading chunks that were checked, without room for more than they claim.

A chunk says how many bytes it stores, and its dataset how many it holds; what comes out of the one
need not be the other. HDF5 lets a filter make whatever room it asks for: a megabyte of deflate can
become a gigabyte before anybody compares. So deflate is undone here, and stops where the chunk is
full; of the plug-in filters the sizes are compared that their own heads name.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.packed.chunks import pipeline_of
from hil_datasets.packed.compression import COMPRESSIONS

_GZIP = COMPRESSIONS["gzip"].filters
_BLOSC2 = COMPRESSIONS["blosc2-zstd"].filters
_LARGEST_BLOCK_BYTES = 1 << 20
"""Of bitshuffle; 8 KiB is what it takes if it is not told."""
_BLOSC2_PADDING = 4
"""How many times its content a frame may be: each axis is filled up to whole blocks."""


def read_stored(dataset: h5py.Dataset) -> npt.NDArray[Any]:
    """Return the values of a dataset whose chunks and filters were checked.

    Raises
    ------
    ValueError
        If what a chunk stores is not as large as it must be.
    """
    pipeline = () if dataset.chunks is None else pipeline_of(dataset)
    if pipeline == _GZIP:
        return _inflated(dataset)
    if pipeline:
        chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
        for first, mask, content in _stored_chunks(dataset):
            if mask == 0:
                _check_head(content, chunk_bytes, first, is_blosc2=pipeline == _BLOSC2)
    return np.asarray(dataset[...])


def _inflated(dataset: h5py.Dataset) -> npt.NDArray[Any]:
    values = np.empty(dataset.shape, dataset.dtype)
    chunk = np.empty(dataset.chunks, dataset.dtype)
    plain = chunk.reshape(-1).view(np.uint8)
    for first, mask, content in _stored_chunks(dataset):
        if mask == 0:
            shuffled = np.frombuffer(_inflate(content, plain.size, first), np.uint8)
            plain.reshape(chunk.size, -1)[...] = shuffled.reshape(-1, chunk.size).T
        else:  # of all filters: what else there is was refused
            plain[...] = np.frombuffer(content, np.uint8)
        values[first : first + len(chunk)] = chunk[: len(values) - first]
    return values


def _inflate(content: bytes, size: int, first: int) -> bytes:
    """Return what deflate has made of so many bytes; a byte more is not made room for."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(content, size)
        excess = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise ValueError(f"chunk at row {first}: cannot be inflated: {error}") from error
    if len(plain) != size or excess or not stream.eof:
        raise ValueError(f"chunk at row {first}: does not inflate to the {size} bytes it claims")
    return plain


def _stored_chunks(dataset: h5py.Dataset) -> Iterator[tuple[int, int, bytes]]:
    """Yield first row, filter mask and stored bytes of every chunk."""
    all_filters = (1 << len(pipeline_of(dataset))) - 1
    rest = (0,) * (dataset.ndim - 1)
    for first in range(0, dataset.shape[0], dataset.chunks[0]):
        mask, content = dataset.id.read_direct_chunk((first, *rest))
        yield first, mask & all_filters, content


def _check_head(content: bytes, chunk_bytes: int, first: int, *, is_blosc2: bool) -> None:
    """Raise ValueError unless the head that a plug-in filter has written fits the chunk."""
    try:
        is_honest = _fits_blosc2(content, chunk_bytes) if is_blosc2 else _fits(content, chunk_bytes)
    except struct.error:
        is_honest = False
    if not is_honest:
        raise ValueError(f"chunk at row {first}: its head does not say the {chunk_bytes} bytes")


def _fits(content: bytes, chunk_bytes: int) -> bool:
    # Size and block size, highest byte first: bitshuffle, src/bshuf_h5filter.c.
    size, block_bytes = struct.unpack_from(">QI", content)
    return bool(size == chunk_bytes and 0 < block_bytes <= _LARGEST_BLOCK_BYTES)


def _fits_blosc2(content: bytes, chunk_bytes: int) -> bool:
    # The head of a frame, in MessagePack, then that of its chunk, lowest byte first: C-Blosc2,
    # README_CFRAME_FORMAT.rst and README_CHUNK_FORMAT.rst.
    if content[:10] != b"\x9e\xa8b2frame\0":
        return False
    (head_bytes,) = struct.unpack_from(">i", content, 11)
    (frame_size,) = struct.unpack_from(">q", content, 30)
    blocks = [struct.unpack_from(">i", content, place)[0] for place in (53, 58)]
    inner = struct.unpack_from("<ii", content, head_bytes + 4) if head_bytes > 0 else (-1, -1)
    most = _BLOSC2_PADDING * chunk_bytes
    return all(0 < size <= most for size in (frame_size, *blocks, *inner))
