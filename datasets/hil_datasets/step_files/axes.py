"""The axes of a step's datasets: what stands along each, as the step file stores it.

An axis is a dataset of its own, an HDF5 dimension scale, attached to every dataset that has it: so
xarray and netCDF4 name the dimensions, and plots have their coordinates.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil_datasets.step_files.nexus import make_scale
from hil_datasets.step_files.schema import CORRECTION_AXIS, CORRECTION_NAMES


@dataclass(frozen=True, slots=True)
class AxisSpec:
    """One axis."""

    path: str
    """Where it is stored; its name comes last."""
    dtype: str
    """NumPy name of the element type, or ``text``."""
    long_name: str
    """What stands along it."""
    values: Callable[[h5py.Group, int], Any]
    """What is stored, from the step's group and the length of the axis."""
    linked_in: str = ""
    """Group that has a hard link to it, for whoever opens only that group; empty if none has."""
    former_path: str = ""
    """Where files lack `path` and have it here: the first of format 2; empty if there are none."""

    @property
    def name(self) -> str:
        """Name of the axis."""
        return self.path.rpartition("/")[2]


def _numbers(_: h5py.Group, length: int) -> npt.NDArray[np.int32]:
    return np.arange(length, dtype=np.int32)


def _held_out(step: h5py.Group, length: int) -> npt.NDArray[np.int32]:
    return np.arange(length, dtype=np.int32) + np.int32(step.attrs["calibration_vectors"])


def _quantities(step: h5py.Group, _: int) -> list[str]:
    attributes = step["conditions"].attrs
    pairs = (json.loads(attributes[name]) for name in ("instruments", "quantities"))
    return [f"{instrument}.{name}" for instrument, name in zip(*pairs, strict=True)]


STEP_AXES = (
    AxisSpec("vector", "int32", "input vector", _numbers),
    AxisSpec("row", "int32", "row of the core", _numbers),
    AxisSpec("column", "int32", "column of the core", _numbers),
    AxisSpec("polarity", "text", "counter of a column", lambda *_: ["P", "N"]),
    AxisSpec("quality/inl_edge", "int32", "border of a bin of the INL curve", _numbers),
    AxisSpec("quality/inl_bin", "int32", "bin of the INL curve", _numbers),
    AxisSpec("verification/verification_vector", "int32", "held-out input vector", _held_out),
    AxisSpec(
        CORRECTION_AXIS,  # in the root: from the NeXus tree, netCDF looks for axes above only
        "text",
        "correction",
        lambda *_: list(CORRECTION_NAMES),
        linked_in="verification",
        former_path="verification/correction",
    ),
    AxisSpec("timing/block", "int32", "block of vectors, read at once", _numbers),
    AxisSpec("timing/fault", "int32", "fault of the link", _numbers),
    AxisSpec("conditions/quantity", "text", "quantity of a bench instrument", _quantities),
)
"""Every axis, in the order it is stored. One that no dataset of a step has is not stored."""


def make_axes(step: h5py.Group, lengths: dict[str, int]) -> dict[str, h5py.Dataset]:
    """Store the axes of the given lengths as dimension scales; return them by name.

    Parameters
    ----------
    step
        The group that holds a step's datasets and attributes.
    lengths
        Length of each axis that a dataset of the step has.
    """
    scales = {}
    for axis in STEP_AXES:
        if axis.name in lengths:
            values = axis.values(step, lengths[axis.name])
            scales[axis.name] = make_scale(step, axis.path, values, said=axis.long_name)
            if axis.linked_in:
                step[f"{axis.linked_in}/{axis.name}"] = scales[axis.name]
    return scales
