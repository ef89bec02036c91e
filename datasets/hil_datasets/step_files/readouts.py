"""The readouts of a step file, mapped into memory: nothing is read before it is looked at."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil_datasets.regular_file import check_regular
from hil_datasets.seal import Seal, check_part, check_rest
from hil_datasets.step_files.damage import DAMAGE
from hil_datasets.step_files.placement import Placement
from hil_datasets.step_files.schema import RAW_DATASETS, STEP_DATASET_BY_PATH


class MappedReadouts:
    """The readouts of a finished step file.

    The first look at an array has its checksum compared, at the speed of memory.

    Parameters
    ----------
    path
        The file.
    hold
        Raises `DatasetError` if the open file is not the one that it must be; called at the first
        look.
    """

    def __init__(self, path: Path, *, hold: Callable[[h5py.File], object] = lambda _: None) -> None:
        self._path = path
        self._hold = hold

    @cached_property
    def weights(self) -> npt.NDArray[np.int8]:
        """Programmed weights, shape (row, column)."""
        return self._mapped("weights")

    @cached_property
    def inputs(self) -> npt.NDArray[np.int8]:
        """Input vectors, shape (vector, row): calibration, then verification."""
        return self._mapped("inputs")

    @cached_property
    def raw(self) -> npt.NDArray[np.uint16]:
        """Counter codes, shape (vector, polarity, column)."""
        return self._mapped("raw")

    @cached_property
    def expected(self) -> npt.NDArray[np.int32]:
        """Expected outputs, shape (vector, column), product units."""
        return self._mapped("expected")

    def _mapped(self, name: str) -> npt.NDArray[Any]:
        """Return an array.

        Raises
        ------
        DatasetError
            If the file is missing, damaged, no step file, or not the one that it must be.
        """
        try:
            seal, places = self._layout
            array = places[name].mapped(self._path)
            part = seal.part(name)
            if part is not None:
                check_part(self._path, part, array)
        except DAMAGE as error:
            if isinstance(error, DatasetError):
                raise
            problem = Problem("/", f"cannot be read: {error}")
            raise DatasetError(str(self._path), [problem]) from error
        return array

    @cached_property
    def _layout(self) -> tuple[Seal, dict[str, Placement]]:
        """The file's seal, and where each array lies."""
        check_regular(self._path)
        seal = check_rest(self._path)
        size = self._path.stat().st_size
        with h5py.File(self._path, "r") as file:
            self._hold(file)
            return seal, {name: _place_of(file, name, seal, size) for name in RAW_DATASETS}


def _place_of(file: h5py.File, name: str, seal: Seal, size: int) -> Placement:
    spec = STEP_DATASET_BY_PATH[name]
    link = file.get(name, getlink=True)
    dataset = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset):
        raise TypeError(f"/{name} is not a plain dataset of this file")
    if dataset.dtype != np.dtype(spec.dtype) or dataset.ndim != len(spec.axes):
        raise ValueError(f"/{name} is {dataset.dtype} with {dataset.ndim} axes")
    place = Placement.of(dataset)
    length = place.row_bytes * place.shape[0]
    part = seal.part(name)
    is_covered = seal.rest is None or length == 0
    if part is not None:
        is_covered = (part.offset, part.length) == (place.offset, length)
    if place.offset + length > size or not is_covered:
        raise ValueError(f"/{name} does not lie where the seal of the file says")
    return place
