"""How readouts are compressed in a packed file: the few ways there are, and doing it.

A chunk is encoded here and handed to HDF5 as finished bytes. What a plug-in filter makes of it is
made by the filter itself, in a file in memory. A chunk that would not shrink is stored as it is,
and so is one that would shrink too well: a reader then knows, before it makes room, that no file
can hold more than `MOST_EXPANSION` times its own bytes.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, Problem
from hil.core.extras import MissingExtraError, load_extra

MOST_EXPANSION = 16
"""Most bytes that one stored byte of a chunk may stand for."""
SKIPS_FILTERS = 0xFFFFFFFF
"""Filter mask of a chunk that is stored as it is; a reader looks at the bits of its filters."""
_DEFLATE, _SHUFFLE, _BITSHUFFLE, _BLOSC2 = 1, 2, 32008, 32026
# Measured on quickstart readouts, shuffled: level 1 makes 1.57 : 1, 4 makes 1.61 at 3/4 of
# its speed, 6 makes 1.63 at a third, 9 makes 1.64 at a 30th. Without shuffle none makes 1.40.
_DEFLATE_LEVEL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """One way of compressing chunks."""

    name: str
    """What ``--compress`` calls it."""
    filters: tuple[int, ...]
    """Numbers of its HDF5 filters, in the order of writing."""
    meaning: str
    """What it is, for people."""

    @property
    def is_portable(self) -> bool:
        """Whether every HDF5 library reads it without a plug-in."""
        return all(number in {_DEFLATE, _SHUFFLE} for number in self.filters)


_WAYS = (
    Compression(name="none", filters=(), meaning="as it is"),
    Compression(name="gzip", filters=(_SHUFFLE, _DEFLATE), meaning="shuffle, deflate level 4"),
    Compression(name="bitshuffle-lz4", filters=(_BITSHUFFLE,), meaning="bitshuffle, LZ4"),
    Compression(name="bitshuffle-zstd", filters=(_BITSHUFFLE,), meaning="bitshuffle, Zstd level 3"),
    Compression(name="blosc2-zstd", filters=(_BLOSC2,), meaning="Blosc2, bitshuffle, Zstd level 5"),
)
COMPRESSIONS: Mapping[str, Compression] = MappingProxyType({way.name: way for way in _WAYS})
"""Every way, by its name."""
KNOWN_PIPELINES = frozenset(way.filters for way in _WAYS)
"""The filters that a reader accepts on a dataset, and their orders."""


def compression_named(name: str) -> Compression:
    """Return a way of compressing.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in COMPRESSIONS:
        known = ", ".join(COMPRESSIONS)
        raise ConfigError("--compress", [Problem("", f"is {name!r}: must be auto, {known}")])
    return COMPRESSIONS[name]


def load_filters() -> Any:
    """Return hdf5plugin; importing it registers the filters with HDF5.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    return load_extra(
        "hdf5plugin", purpose="bitshuffle and Blosc2", library="hdf5plugin", extra="compress"
    )


def has_filters() -> bool:
    """Return whether the plug-in filters are installed."""
    try:
        load_filters()
    except MissingExtraError:
        return False
    return True


def dataset_options(compression: Compression) -> dict[str, Any]:
    """Return what h5py is told to make a dataset with these filters.

    Raises
    ------
    MissingExtraError
        If the filters are not installed.
    """
    if compression.name == "none":
        return {}
    if compression.name == "gzip":
        return {"compression": "gzip", "compression_opts": _DEFLATE_LEVEL, "shuffle": True}
    plugin = load_filters()
    options = {
        "bitshuffle-lz4": lambda: plugin.Bitshuffle(cname="lz4"),
        "bitshuffle-zstd": lambda: plugin.Bitshuffle(cname="zstd", clevel=3),
        "blosc2-zstd": lambda: plugin.Blosc2(
            cname="zstd", clevel=5, filters=plugin.Blosc2.BITSHUFFLE
        ),
    }
    return dict(options[compression.name]())


Stored = bytes | npt.NDArray[np.uint8]
"""The bytes of a chunk."""


class ChunkEncoder:
    """Makes the bytes that HDF5 would store for chunks of one shape and type.

    Parameters
    ----------
    compression
        How.
    shape, dtype
        Of every chunk.

    Raises
    ------
    MissingExtraError
        If the filters are not installed.
    """

    def __init__(
        self, compression: Compression, *, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> None:
        self._compression = compression
        self._scratch: h5py.File | None = None
        if not compression.is_portable:
            options = dataset_options(compression)
            self._scratch = h5py.File("chunk", "w", driver="core", backing_store=False)
            self._chunk = self._scratch.create_dataset(
                "chunk", shape, dtype, chunks=shape, **options
            )

    def encode(self, values: npt.NDArray[Any]) -> tuple[Stored, int]:
        """Return what is stored of a chunk, and its filter mask.

        Parameters
        ----------
        values
            A whole chunk, contiguous.
        """
        plain = values.reshape(-1).view(np.uint8)  # no copy: a chunk has 4 MiB
        if self._compression.name == "none":
            return plain, 0
        if self._scratch is None:
            shuffled = plain.reshape(values.size, values.dtype.itemsize).T.tobytes()
            encoded, mask = zlib.compress(shuffled, _DEFLATE_LEVEL), 0
        else:
            self._chunk[...] = values
            self._scratch.flush()
            mask, encoded = self._chunk.id.read_direct_chunk((0,) * values.ndim)
        is_gain = len(encoded) < len(plain) <= MOST_EXPANSION * len(encoded)
        return (encoded, 0) if is_gain and mask == 0 else (plain, SKIPS_FILTERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            self._scratch.close()
