"""The group that holds a step, in a file of its own or in a packed one, checked before it is read.

Names, types, axes and sizes are checked against the schema and against each other before an array
is allocated; whatever would reach outside the file, or needs room that the file does not have, is
refused before it is opened.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.errors import DatasetError, Problem
from hil_datasets.step_files.damage import DAMAGE
from hil_datasets.step_files.placement import Placement
from hil_datasets.step_files.schema import (
    CORRECTION_AXIS,
    CORRECTION_NAMES,
    FILE_FORMAT,
    OPTIONAL_GROUPS,
    RAW_DATASETS,
    READ_VERSIONS,
    STEP_ATTRIBUTES,
    AttributeKind,
    AttributeSpec,
    DatasetSpec,
    attributes_of,
    datasets_of,
)

TOLD = frozenset({"core", "read_mode", "raw_sha256", "campaign_sha256", "verification/errors"})
"""Attributes that a journal tells of too, besides those of the circumstance."""
_LARGEST_ITEM_BYTES = 1024
"""Of an attribute: integers and reals have 8, text of variable length is a reference of 16."""
_LARGEST_CHUNK_BYTES = 16 << 20
PACKED_FILTERS = frozenset({1, 2, 3, 32001, 32004, 32008, 32015, 32026})
"""Filters that a packed step may go through: deflate, shuffle, Fletcher-32, and those of
hdf5plugin: Blosc, LZ4, Bitshuffle, Zstandard, Blosc2. Numbers by the registry of The HDF Group,
https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepGroup:
    """The group of a step that is not trusted."""

    group: h5py.Group
    """Where everything of the step is."""
    source: str
    """Name of the file, for messages."""
    most_bytes: int
    """What its arrays can have together: of what claims more, nothing is allocated."""
    is_packed: bool = False
    """Whether readouts may be stored in chunks and through known filters."""
    needs_readouts: bool = True
    """Whether a step without its readouts is refused."""
    mapped_from: Path | None = None
    """The file, where its readouts are only looked at: they are mapped then, and not copied."""
    _opened: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was found at the paths of groups."""

    def version(self) -> int:
        """Return the version of its format.

        Raises
        ------
        DatasetError
            If it is no step, or of a version that is not known.
        """
        wanted: tuple[Collection[Any], ...] = ((FILE_FORMAT,), READ_VERSIONS)
        value: Any = 0
        for spec, known in zip(STEP_ATTRIBUTES[:2], wanted, strict=True):
            value = self.attribute(spec)
            if isinstance(value, Problem):
                raise DatasetError(self.source, [value])
            if value not in known:
                words = " and ".join(repr(each) for each in known)
                message = f"attribute {spec.name}: is {value!r}: this software reads {words}"
                raise DatasetError(self.source, [Problem(self.shown("/"), message)])
        return int(value)

    def attributes(self) -> dict[str, str | int | float | Problem]:
        """Return every attribute of its version by its path, or what is wrong with it."""
        absent = self._absent_groups()
        return {
            spec.path: self.attribute(spec)
            for spec in attributes_of(self.version())
            if spec.owner not in absent
        }

    def told(self) -> dict[str, str | int | float]:
        """Return the attributes that a journal tells of too, by their paths; it is the quick look.

        Raises
        ------
        DatasetError
            If one is not as the schema has it.
        """
        absent = self._absent_groups()
        values = {
            spec.path: self.attribute(spec)
            for spec in attributes_of(self.version())
            if spec.owner not in absent and (spec.path in TOLD or spec.owner == "/circumstance")
        }
        problems = [value for value in values.values() if isinstance(value, Problem)]
        if problems:
            raise DatasetError(self.source, problems)
        return {name: value for name, value in values.items() if not isinstance(value, Problem)}

    def attribute(self, spec: AttributeSpec) -> str | int | float | Problem:
        """Return one attribute, or what is wrong with it."""
        owner = self.find(spec.owner)
        if not isinstance(owner, h5py.Group):
            what = "missing" if owner is None else "is not a group of this file"
            return Problem(self.shown(spec.owner), what)
        try:
            return _checked_value(owner.attrs, spec)
        except DAMAGE as error:
            return Problem(self.shown(spec.owner), f"attribute {spec.name}: {error}")

    def datasets(self) -> tuple[dict[str, h5py.Dataset], list[Problem]]:
        """Return the datasets that are there, by today's paths, and what is wrong with them."""
        problems: list[Problem] = []
        found: dict[str, h5py.Dataset] = {}
        absent = self._absent_groups()
        for path, spec in datasets_of(self.version()).items():
            try:
                dataset = self.find(path)
                if dataset is None:
                    message = None if self._may_lack(spec, absent) else "missing"
                else:
                    found[spec.path] = dataset
                    message = _misfit(dataset, spec, is_packed=self.is_packed)
            except DAMAGE as error:
                message = f"cannot be read: {error}"
            if message:
                problems.append(Problem(self.shown(f"/{path}"), message))
        return found, problems

    def sizes(
        self, datasets: Mapping[str, h5py.Dataset], attributes: Mapping[str, Any]
    ) -> tuple[dict[str, int], list[Problem]]:
        """Return how long each axis is, and which datasets do not fit that or the file."""
        claimed = sum(dataset.nbytes for dataset in datasets.values())
        if claimed > self.most_bytes:
            message = f"its datasets claim {claimed} bytes in a file of {self.most_bytes}"
            return {}, [Problem(self.shown("/"), message)]
        held_out = attributes["verification_vectors"]
        sizes: dict[str, int] = {
            "polarity": 2,
            CORRECTION_AXIS: len(CORRECTION_NAMES),
            "vector": attributes["calibration_vectors"] + held_out,
            "verification_vector": held_out,
        }
        problems = []
        for path, spec in datasets_of(self.version()).items():
            if spec.path not in datasets:
                continue
            for axis, size in zip(spec.axes, datasets[spec.path].shape, strict=True):
                if sizes.setdefault(axis, size) != size:
                    message = f"has {size} along {axis}: must have {sizes[axis]}"
                    problems.append(Problem(self.shown(f"/{path}"), message))
        return sizes, problems

    def arrays(
        self, datasets: Mapping[str, h5py.Dataset], names: Collection[str]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the values of some datasets that were found, read-only, by today's paths.

        Raises
        ------
        DatasetError
            If any cannot be read.
        """
        arrays, problems = {}, []
        for name, dataset in datasets.items():
            if name in names:
                try:
                    arrays[name] = read_only(self._values(name, dataset))
                except DAMAGE as error:
                    problems.append(Problem(self.shown(f"/{name}"), f"cannot be read: {error}"))
        if problems:
            raise DatasetError(self.source, problems)
        return arrays

    def _values(self, name: str, dataset: h5py.Dataset) -> npt.NDArray[Any]:
        if self.mapped_from is None or name not in RAW_DATASETS:
            return self._whole(dataset)
        return Placement.of(dataset).mapped(self.mapped_from)

    def _whole(self, dataset: h5py.Dataset) -> npt.NDArray[Any]:
        if self.is_packed:  # its filters are not trusted either
            from hil_datasets.packed.chunk_reading import read_stored  # noqa: PLC0415 - no cycle

            return read_stored(dataset)
        return np.asarray(dataset[...])

    def _may_lack(self, spec: DatasetSpec, absent: Collection[str]) -> bool:
        if spec.path in RAW_DATASETS:
            return self.is_packed and not self.needs_readouts
        group, _, _ = spec.path.rpartition("/")
        return spec.path == "verification/outputs" or f"/{group}" in absent

    def _absent_groups(self) -> set[str]:
        """Return the paths of the groups that it does without; half of one is none."""
        return {f"/{name}" for name in OPTIONAL_GROUPS if self.find(name) is None}

    def find(self, path: str) -> Any:
        """Return the object at a path; None if there is none, a link if one leads elsewhere.

        Nothing is followed: a link could lead to another file, or to none.
        """
        above, _, name = path.strip("/").rpartition("/")
        if not name:
            return self.group
        # Most of what is looked for lies in a few groups, and h5py takes its time to open one.
        if above not in self._opened:
            self._opened[above] = self.find(above)
        home = self._opened[above]
        if not isinstance(home, h5py.Group):
            return home if isinstance(home, h5py.SoftLink | h5py.ExternalLink) else None
        links, stored_name = home.id.links, name.encode()
        if not links.exists(stored_name):
            return None
        is_hard = links.get_info(stored_name).type == h5py.h5l.TYPE_HARD
        return home[name] if is_hard else home.get(name, getlink=True)

    def shown(self, path: str) -> str:
        """Return a path as messages show it: from the root of the file."""
        own = str(self.group.name)
        if own == "/":
            return path
        return own if path == "/" else own + path


def _checked_value(attributes: h5py.AttributeManager, spec: AttributeSpec) -> str | int | float:
    if spec.name not in attributes:
        raise ValueError("missing")
    stored = attributes.get_id(spec.name)  # before it is read: it could claim any size
    if stored.shape != ():
        raise ValueError("is no single value")
    if stored.dtype.itemsize > _LARGEST_ITEM_BYTES or (
        stored.dtype.kind == "O" and h5py.check_string_dtype(stored.dtype) is None
    ):
        raise ValueError(f"must be {spec.kind}: is of another type, which is not read")
    value = attributes[spec.name]
    if spec.kind is AttributeKind.INTEGER and isinstance(value, np.integer):
        return int(value)
    if spec.kind is AttributeKind.REAL and isinstance(value, np.floating):
        return float(value)
    if spec.kind in {AttributeKind.TEXT, AttributeKind.JSON} and isinstance(value, str):
        value.encode()  # h5py lets bytes that are no UTF-8 pass as surrogates
        return value
    raise ValueError(f"is {value!r}: must be {spec.kind}")


def _misfit(dataset: Any, spec: DatasetSpec, *, is_packed: bool) -> str | None:
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        return "is not a plain dataset of this file"
    if dataset.dtype != np.dtype(spec.dtype) or dataset.ndim != len(spec.axes):
        return (
            f"is {dataset.dtype} with {dataset.ndim} axes: must be {spec.dtype} with "
            f"{len(spec.axes)}"
        )
    if is_packed and dataset.chunks is not None:
        return _chunk_misfit(dataset)
    stored = dataset.id.get_storage_size()
    if dataset.chunks is not None or stored != dataset.nbytes:
        return f"claims {dataset.nbytes} bytes and stores {stored}: must be contiguous and whole"
    return None


def _chunk_misfit(dataset: h5py.Dataset) -> str | None:
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if chunk_bytes > _LARGEST_CHUNK_BYTES:
        return f"has chunks of {chunk_bytes} bytes: at most {_LARGEST_CHUNK_BYTES} are read"
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(place)[0] for place in range(creation.get_nfilters())]
    unknown = sorted(set(filters) - PACKED_FILTERS)
    if unknown:
        return f"goes through the filter {unknown[0]}: it is not read"
    pairs = zip(dataset.shape, dataset.chunks, strict=True)
    wanted = math.prod(-(-size // chunk) for size, chunk in pairs)
    found = dataset.id.get_num_chunks()
    return None if found == wanted else f"has {found} chunks: must have {wanted}"
