"""A step between files: its values as they are stored, taken from one group and put into another.

Nothing is interpreted on the way, so that a step of an older version stays one, with every hash and
id that it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil_datasets.packed.chunks import write_chunked
from hil_datasets.packed.compression import Compression
from hil_datasets.step_files.group import StepGroup
from hil_datasets.step_files.schema import RAW_DATASETS, STEP_DATASETS, attributes_of, datasets_of
from hil_datasets.step_files.tree import describe, describe_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """The values of one step."""

    name: str
    """Name of the step."""
    attributes: Mapping[str, str | int | float]
    """Every attribute of its version by its path; JSON as its text."""
    arrays: Mapping[str, npt.NDArray[Any]]
    """Every array by the path that today's version gives it; readouts may be missing."""
    sizes: Mapping[str, int]
    """How long each axis is."""

    @property
    def version(self) -> int:
        """Version of its format."""
        return int(self.attributes["format_version"])

    @property
    def readout_bytes(self) -> int:
        """Size of its readouts."""
        return sum(self.arrays[name].nbytes for name in RAW_DATASETS if name in self.arrays)

    def without_readouts(self) -> "StoredStep":
        """Return it without what was sent and read; hashes and conclusions stay."""
        kept = {path: array for path, array in self.arrays.items() if path not in RAW_DATASETS}
        return replace(self, arrays=kept)


def stored_step(name: str, step: StepGroup) -> StoredStep:
    """Return what a group stores of a step.

    Parameters
    ----------
    name
        Name of the step.
    step
        Its group; sizes are held to its limit before anything is read.

    Raises
    ------
    DatasetError
        If anything is missing, or not as the schema has it.
    """
    attributes: dict[str, str | int | float] = {}
    problems: list[Problem] = []
    for path, value in step.attributes().items():
        if isinstance(value, Problem):
            problems.append(value)
        else:
            attributes[path] = value
    datasets, misfits = step.datasets()
    problems += misfits
    sizes: dict[str, int] = {}
    if not problems:
        sizes, problems = step.sizes(datasets, attributes)
    if problems:
        raise DatasetError(step.source, problems)
    arrays = step.arrays(datasets, {spec.path for spec in STEP_DATASETS})
    return StoredStep(name=name, attributes=attributes, arrays=arrays, sizes=sizes)


def store_step(
    group: h5py.Group, step: StoredStep, *, compression: Compression | None = None
) -> None:
    """Put a step into an empty group, with its axes and its NeXus tree.

    Parameters
    ----------
    group
        The group, or a file.
    step
        The step.
    compression
        How its readouts are stored in chunks; contiguous, as in a step file, where it is None.
    """
    # In the order of the tables, so that the same step makes the same bytes.
    for path, spec in datasets_of(step.version).items():
        if spec.path not in step.arrays:
            continue
        array = step.arrays[spec.path]
        above, _, name = path.rpartition("/")
        parent = group.require_group(above) if above else group
        if compression is not None and spec.path in RAW_DATASETS:
            dataset = write_chunked(parent, name, array, compression)
        else:
            # Allocated at once: whatever the library version, its place is then the same.
            placement = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            placement.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            dataset = parent.create_dataset(
                name, shape=array.shape, dtype=spec.dtype, data=array, dcpl=placement
            )
        describe(dataset, spec)
    for attribute in attributes_of(step.version):
        if attribute.path in step.attributes:
            owner = attribute.owner.strip("/")
            target = group.require_group(owner) if owner else group
            target.attrs[attribute.name] = step.attributes[attribute.path]
    describe_tree(group)
