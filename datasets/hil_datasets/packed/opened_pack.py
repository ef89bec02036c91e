"""An open packed file that is not trusted: what is in it, found without following a link."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hil.core.errors import DatasetError, HilError, Problem
from hil_datasets.packed.chunk_reading import read_stored
from hil_datasets.packed.chunks import check_stored, make_readable
from hil_datasets.packed.compression import COMPRESSIONS, MOST_EXPANSION
from hil_datasets.packed.layout import (
    FILES_GROUP,
    PACK_FORMAT,
    PACK_VERSION,
    STEPS_GROUP,
    is_packed_file,
)
from hil_datasets.regular_file import LARGEST_BYTES, LARGEST_LINES_BYTES
from hil_datasets.step_files.damage import DAMAGE, damage_named
from hil_datasets.step_files.group import StepGroup
from hil_datasets.step_files.schema import AttributeKind, AttributeSpec

_MOST_NAMES = 100_000
"""Steps, or files, of one run; a group that claims more is not gone through."""
_ATTRIBUTES = (
    AttributeSpec("file_format", AttributeKind.TEXT, ""),
    AttributeSpec("format_version", AttributeKind.INTEGER, ""),
    AttributeSpec("compression", AttributeKind.TEXT, ""),
    AttributeSpec("has_readouts", AttributeKind.INTEGER, ""),
)
_ALLOWED: dict[str, tuple[str | int, ...]] = {
    "file_format": (PACK_FORMAT,),
    "format_version": (PACK_VERSION,),
    "compression": tuple(COMPRESSIONS),
    "has_readouts": (0, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPack:
    """A packed file, open for reading; its methods raise `DatasetError` where it is damaged."""

    file: h5py.File
    """The file."""
    source: str
    """Its name, for messages."""
    file_bytes: int
    """Its size."""

    def attributes(self) -> dict[str, str | int]:
        """Return the attributes of the file that a reader needs.

        Raises
        ------
        DatasetError
            If one is missing, or says what this software does not read.
        """
        root = StepGroup(group=self.file, source=self.source, most_bytes=0)
        values: dict[str, str | int] = {}
        problems = []
        for spec in _ATTRIBUTES:
            value = root.attribute(spec)
            if isinstance(value, Problem):
                problems.append(value)
            elif value not in _ALLOWED[spec.name] or isinstance(value, float):
                known = " or ".join(repr(each) for each in _ALLOWED[spec.name])
                message = f"attribute {spec.name}: is {value!r}: this software reads {known}"
                problems.append(Problem("/", message))
            else:
                values[spec.name] = value
        if problems:
            raise DatasetError(self.source, problems)
        return values

    @property
    def has_readouts(self) -> bool:
        """Whether it was packed with readouts."""
        return self.attributes()["has_readouts"] == 1

    def step_names(self) -> list[str]:
        """Return the names of the steps that are there, sorted."""
        return sorted(self._names(STEPS_GROUP))

    def step(self, name: str, *, needs_readouts: bool) -> StepGroup:
        """Return the group of a step, the storage of its arrays checked.

        Parameters
        ----------
        name
            Name of the step.
        needs_readouts
            Whether readouts must be there, and will be read.

        Raises
        ------
        DatasetError
            If there is none, or an array is not stored as packed files store it.
        MissingExtraError
            If its readouts will be read, and their filters are not installed.
        """
        path = f"{STEPS_GROUP}/{name}"
        group = self._find(path)
        if not isinstance(group, h5py.Group):
            raise self._error(path, "missing" if group is None else "is not a group of this file")
        step = StepGroup(
            group=group,
            source=self.source,
            most_bytes=MOST_EXPANSION * self.file_bytes,
            is_packed=True,
            needs_readouts=needs_readouts,
        )
        datasets, problems = step.datasets()
        if not problems:
            for dataset in datasets.values():
                try:
                    check_stored(dataset, file_bytes=self.file_bytes)
                    if needs_readouts:
                        make_readable(dataset)
                except HilError:
                    raise
                except DAMAGE as error:
                    problems.append(Problem(str(dataset.name), str(error)))
        if problems:
            raise DatasetError(self.source, problems)
        return step

    def stored_bytes(self, name: str) -> int:
        """Return how many bytes of the file the arrays of a step take; raises what `step` does."""
        datasets, _ = self.step(name, needs_readouts=False).datasets()
        return sum(dataset.id.get_storage_size() for dataset in datasets.values())

    def file_names(self) -> list[str]:
        """Return the names of the run's other files, as they are in its folder, sorted.

        Raises
        ------
        DatasetError
            If one is no name that a run's file has.
        """
        names = self._names(FILES_GROUP)
        if "suspect" in names:
            names.remove("suspect")
            names += [f"suspect/{name}" for name in self._names(f"{FILES_GROUP}/suspect")]
        for name in names:
            if not is_packed_file(name):
                raise self._error(FILES_GROUP, f"{name[:80]!r} is no name of a run's file")
        return sorted(names)

    def read_file(self, name: str) -> bytes:
        """Return one of the run's other files, byte for byte.

        Raises
        ------
        DatasetError
            If there is none of that name, or it is too large for one of its kind.
        """
        path = f"{FILES_GROUP}/{name}"
        dataset = self._find(path) if is_packed_file(name) else None
        if dataset is None:
            raise self._error(path, "missing")
        if (
            not isinstance(dataset, h5py.Dataset)
            or dataset.is_virtual
            or dataset.external
            or dataset.dtype != np.dtype(np.uint8)
            or dataset.ndim != 1
        ):
            raise self._error(path, "is not a plain row of bytes of this file")
        is_small = name.endswith((".toml", ".json"))
        largest = LARGEST_BYTES if is_small else LARGEST_LINES_BYTES
        if dataset.nbytes > largest:
            raise self._error(path, f"has {dataset.nbytes} bytes: must be at most {largest}")
        try:
            check_stored(dataset, file_bytes=self.file_bytes)
            return bytes(read_stored(dataset).tobytes())
        except HilError:
            raise
        except DAMAGE as error:
            raise self._error(path, f"cannot be read: {error}") from error

    def _names(self, path: str) -> list[str]:
        group = self._find(path)
        if not isinstance(group, h5py.Group):
            raise self._error(path, "missing" if group is None else "is not a group of this file")
        if len(group) > _MOST_NAMES:
            raise self._error(path, f"has {len(group)} members: at most {_MOST_NAMES}")
        return [str(name) for name in group]

    def _find(self, path: str) -> Any:
        """Return what is at a path; None if there is nothing, a link if one leads elsewhere."""
        found: Any = self.file
        for name in path.strip("/").split("/"):
            link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
            if not isinstance(link, h5py.HardLink):
                return link
            found = found[name]
        return found

    def _error(self, where: str, message: str) -> DatasetError:
        return DatasetError(self.source, [Problem(where, message)])


@contextmanager
def opened_pack(path: Path) -> Iterator[OpenedPack]:
    """Open a packed file whatever its seal says; only a sealed one is safe to open.

    Raises
    ------
    DatasetError
        If it is no HDF5 file, or damage is met in the body.
    """
    with damage_named(str(path)), h5py.File(path, "r") as file:
        size = path.stat().st_size
        yield OpenedPack(file=file, source=str(path), file_bytes=size)
