"""Reading a step that another process is writing, without its noticing.

HDF5 looks at the file once, for where the datasets lie: they are laid out before the first
block is written, and stay there. From then on blocks are read past it, as far as the head says that
they are whole, and believed if the check sum fits that the head has over them. So nothing
is locked, nothing waits, and what changes while it is read is read again.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.seal import SEAL_BYTES
from hil_datasets.step_files.part import Extent, PartMark, held_out_span, key_of_part, stored_arrays
from hil_datasets.step_files.placement import PlacedRows, Placement

_BLOCK_PATHS = ("inputs", "raw", "expected", "verification/outputs")
_TIME_PATHS = ("timing/began_s", "timing/ended_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartBlock:
    """One block of a part."""

    first_vector: int
    """Index of its first vector in the step."""
    inputs: npt.NDArray[np.int8]
    """Shape (vector, row)."""
    counts: npt.NDArray[np.uint16]
    """Shape (vector, polarity, column)."""
    expected: npt.NDArray[np.int32]
    """Shape (vector, column)."""
    began_s: float
    """When its reading began, seconds since the step did; NaN if that is not known."""
    ended_s: float
    """When it ended."""


class FollowedPart:
    """A ``STEP.h5.part`` that may be written meanwhile.

    It stays readable when it is removed or replaced: `is_replaced` tells that.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    OSError, RuntimeError, ValueError, TypeError, LookupError
        If it is no part, or gone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        try:
            self._lay_out()
        except BaseException:
            os.close(self._descriptor)
            raise
        self._known = [Extent()]
        """The extent after each block that was read, from none on."""

    def _lay_out(self) -> None:
        # Through the same descriptor: another file may get the name at any moment.
        with (
            os.fdopen(os.dup(self._descriptor), "rb", buffering=0) as opened,
            h5py.File(opened, "r") as file,
        ):
            self.key = key_of_part(file)
            """Which step it is of."""
            self._calibration_vectors = int(file.attrs["calibration_vectors"])
            self._stored = {
                path: PlacedRows(Placement.of(file[path]), self._descriptor)
                for path in (*_BLOCK_PATHS, *_TIME_PATHS)
                if path in file
            }
            self.vectors = len(file["raw"])
            """How many the whole step has."""
            firsts = file["timing/first_vector"][...].tolist() if "timing" in file else [0]
        self._spans = list(pairwise((*firsts, self.vectors)))
        if firsts[:1] != [0] or any(first >= stop for first, stop in self._spans):
            raise ValueError("timing/first_vector must ascend from 0")
        size = os.fstat(self._descriptor).st_size
        for path, rows in self._stored.items():
            place = rows.placement
            wanted = len(self._spans) if path in _TIME_PATHS else self.vectors
            if path == "verification/outputs":
                wanted -= self._calibration_vectors
            if place.shape[0] != wanted or place.start_of(wanted, 0) > size:
                raise ValueError(f"{path} does not fit the step or the file")

    @property
    def read_vectors(self) -> int:
        """How many vectors, from the first, were read."""
        return self._known[-1].vectors

    def is_replaced(self) -> bool:
        """Return whether another file has its name, or none."""
        try:
            return not os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except OSError:
            return True

    def new_blocks(self) -> Iterator[PartBlock]:
        """Yield what was written since the last call, or was written again.

        What comes again replaces what was yielded with the same first vector, and all after it.
        Nothing is yielded of what the writer changes at this very moment.
        """
        mark = self._mark()
        if mark is None:
            return
        if mark.written in self._known:  # nothing new, or it went back to where it was before
            del self._known[self._known.index(mark.written) + 1 :]
            return
        goes_on = mark.written.vectors > self.read_vectors
        extents = self._proven(mark.written, self._known[-1]) if goes_on else None
        if extents is None:
            # It went back and on: from the beginning it shows what is still what was read.
            extents = self._proven(mark.written, Extent())
            if extents is None:
                return
            same = [one == other for one, other in zip(self._known[1:], extents, strict=False)]
            kept = (*same, False).index(False)
            del self._known[kept + 1 :]
            extents = extents[kept:]
        yield from self._read(extents)

    def _read(self, extents: Sequence[Extent]) -> Iterator[PartBlock]:
        """Yield the blocks that lead from what was read to some extents, as long as they do."""
        for extent in extents:
            place = len(self._known) - 1
            first, stop = self._spans[place]
            arrays = self._arrays(first, stop)
            if self._known[-1].extended(stop - first, arrays) != extent:
                return  # written again at this moment
            self._known.append(extent)
            yield self._block(place, first, arrays)

    def _mark(self) -> PartMark | None:
        try:
            return PartMark.of_bytes(os.pread(self._descriptor, SEAL_BYTES, 0))
        except (OSError, ValueError, TypeError, LookupError):
            return None  # it is being written

    def _proven(self, written: Extent, known: Extent) -> list[Extent] | None:
        """Return the extent after each block between two; None if the check sum does not fit."""
        extents = [known]
        for first, stop in self._spans:
            if known.vectors <= first and stop <= written.vectors:
                extents.append(extents[-1].extended(stop - first, self._arrays(first, stop)))
        return extents[1:] if extents[-1] == written else None

    def _arrays(self, first: int, stop: int) -> list[npt.NDArray[Any]]:
        keeps = "verification/outputs" in self._stored
        held_out = held_out_span(first, stop, self._calibration_vectors, keeps=keeps)
        stored: Mapping[str, PlacedRows] = self._stored
        return stored_arrays(stored, slice(first, stop), held_out)

    def _block(self, place: int, first: int, arrays: list[npt.NDArray[Any]]) -> PartBlock:
        began_s, ended_s = (
            float(self._stored[path][place : place + 1][0]) if path in self._stored else math.nan
            for path in _TIME_PATHS
        )
        return PartBlock(
            first_vector=first,
            inputs=arrays[0],
            counts=arrays[1],
            expected=arrays[2],
            began_s=began_s,
            ended_s=ended_s,
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
