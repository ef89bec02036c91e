"""How much of an unfinished step is there, and proven by its checksums."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py

from hil_datasets.integrity.finding import FindingKind
from hil_datasets.integrity.step_check import problem
from hil_datasets.step_files.damage import DAMAGE
from hil_datasets.step_files.part import Extent, PartMark, held_out_span, stored_arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """What can be said of a partial file."""

    proven: int
    """Vectors, from the first, whose check sum fits."""
    claimed: int
    """Vectors that its head says were written."""
    vectors: int
    """Vectors that the whole step has."""


def check_part(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with a partial step, besides that it is one."""
    try:
        mark = PartMark.read(path)
        with h5py.File(path, "r") as file:
            state = read_state(file, mark)
    except DAMAGE as error:
        message = f"cannot be read: {error}; nothing of it can be gone on with"
        yield problem(FindingKind.UNREADABLE, "/", message)
        return
    yield {"state": [state.proven, state.claimed, state.vectors]}


def read_state(file: h5py.File, mark: PartMark) -> PartState:
    """Return how many of the vectors that a head tells of are whole.

    Raises
    ------
    OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, MemoryError
        Whatever HDF5 makes of a damaged file.
    """
    inputs, raw, expected = (plain_dataset(file, name) for name in ("inputs", "raw", "expected"))
    vectors = len(inputs)
    if len(raw) != vectors or len(expected) != vectors:
        raise ValueError("inputs, raw and expected must have the same number of vectors")
    claimed = {extent.vectors: extent for extent in (mark.synced, mark.written)}
    most = max(claimed)
    if most == 0:
        return PartState(proven=0, claimed=0, vectors=vectors)
    first_vector = plain_dataset(file, "timing/first_vector")[...].tolist()
    if first_vector[:1] != [0] or any(later <= first for first, later in pairwise(first_vector)):
        raise ValueError("timing/first_vector must ascend from 0")
    calibration = int(file.attrs["calibration_vectors"])
    keeps = "verification/outputs" in file
    extent, proven = Extent(), 0
    for first, stop in pairwise((*first_vector, vectors)):
        if not first < stop <= most:
            break
        held_out = held_out_span(first, stop, calibration, keeps=keeps)
        try:
            arrays = stored_arrays(file, slice(first, stop), held_out)
        except DAMAGE:  # cut off there
            break
        extent = extent.extended(stop - first, arrays)
        if claimed.get(extent.vectors) == extent:
            proven = extent.vectors
    return PartState(proven=proven, claimed=most, vectors=vectors)


def plain_dataset(file: h5py.File, path: str) -> h5py.Dataset:
    """Return a dataset of numbers whose values lie in this file, in one piece.

    Raises
    ------
    ValueError
        If it is missing, or is none.
    """
    found: Any = file
    for name in path.split("/"):
        if not isinstance(found, h5py.Group) or not isinstance(
            found.get(name, getlink=True), h5py.HardLink
        ):
            raise ValueError(f"{path} is missing, or is not in this file")  # noqa: TRY004
        found = found[name]
    is_plain = isinstance(found, h5py.Dataset) and not (found.is_virtual or found.external)
    if not is_plain or found.chunks is not None or found.dtype.kind not in "iuf":
        raise ValueError(f"{path} is not a plain dataset of this file")
    if found.id.get_storage_size() != found.nbytes or found.ndim == 0:
        raise ValueError(f"{path} claims {found.nbytes} bytes and does not store them")
    return found
