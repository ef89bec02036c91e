"""Where a dataset's values lie in its file: they are read and written there, past HDF5.

HDF5 keeps no values of a contiguous dataset in memory that the file does not have, as long as it
is only asked where they are. So blocks go to their place with one system call each, and can be read
while another process writes, without a second look at the file's structure.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A contiguous dataset of one file."""

    offset: int
    """Of its first byte, from the beginning of the file, user block included."""
    shape: tuple[int, ...]
    """Its size along each axis, at least one."""
    dtype: np.dtype[Any]
    """How an element is stored."""
    row_bytes: int
    """Bytes of one step along the first axis."""

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> Self:
        """Return where a dataset is.

        Raises
        ------
        ValueError
            If its values are in more than one piece, in other files, or nowhere yet.
        """
        is_plain = not (dataset.is_virtual or dataset.external or dataset.chunks)
        offset = 0 if dataset.nbytes == 0 else dataset.id.get_offset()
        if offset is None or not is_plain or dataset.id.get_storage_size() != dataset.nbytes:
            raise ValueError(f"{dataset.name} does not lie in this file in one piece")
        shape, dtype = dataset.shape, dataset.dtype
        return cls(
            offset=offset,
            shape=shape,
            dtype=dtype,
            row_bytes=math.prod(shape[1:]) * dtype.itemsize,
        )

    def start_of(self, first: int, count: int) -> int:
        """Return the place in the file of some rows along the first axis.

        Raises
        ------
        ValueError
            If the dataset does not have them.
        """
        if not 0 <= first <= first + count <= self.shape[0]:
            raise ValueError(f"rows {first} to {first + count}: there are {self.shape[0]}")
        return self.offset + first * self.row_bytes

    def as_stored(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values of some rows as the file has them, without a copy where they are that.

        Raises
        ------
        ValueError
            If they have not the shape of rows.
        """
        if array.shape[1:] != self.shape[1:]:
            raise ValueError(f"has shape {array.shape}: must be (rows, {self.shape[1:]})")
        return np.ascontiguousarray(array, dtype=self.dtype)

    def mapped(self, path: Path) -> npt.NDArray[Any]:
        """Return all rows of a file, which are read when they are looked at."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        mapped = np.memmap(path, self.dtype, "r", offset=self.offset, shape=self.shape)
        return mapped.view(np.ndarray)

    def read(self, descriptor: int, first: int, stop: int) -> npt.NDArray[Any]:
        """Return some rows of an open file.

        Raises
        ------
        OSError
            If they cannot be read, or the file ends before them.
        ValueError
            If the dataset does not have them.
        """
        rows = np.empty((stop - first, *self.shape[1:]), self.dtype)
        start, rest = self.start_of(first, stop - first), rows.reshape(-1).view(np.uint8).data
        while rest:
            count = os.preadv(descriptor, [rest], start)
            if count == 0:
                raise OSError(f"the file ends before byte {start + len(rest)}")
            start, rest = start + count, rest[count:]
        return rows


@dataclass(frozen=True, slots=True)
class PlacedRows:
    """Rows of a dataset in an open file, read when they are asked for."""

    placement: Placement
    """Where they are."""
    descriptor: int
    """Of the file."""

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Return some rows along the first axis; raises what `Placement.read` does."""
        return self.placement.read(self.descriptor, rows.start, rows.stop)
