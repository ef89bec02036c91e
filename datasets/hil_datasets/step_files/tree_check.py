"""Whether the axes and the NeXus tree of a step say of its datasets what is so."""

from collections.abc import Iterator, Mapping

import h5py
import numpy as np

from hil.core.errors import Problem
from hil_datasets.step_files.axes import STEP_AXES, AxisSpec
from hil_datasets.step_files.group import StepGroup
from hil_datasets.step_files.schema import STEP_DATASET_BY_PATH
from hil_datasets.step_files.tree import ENTRY, PLOTS


def tree_problems(
    step: StepGroup, datasets: Mapping[str, h5py.Dataset], sizes: Mapping[str, int]
) -> list[Problem]:
    """Return what is wrong with the axes and links of a step; those of format 1 have none.

    Parameters
    ----------
    step
        The step's group.
    datasets, sizes
        Its datasets by their paths, and the lengths of their axes, as `StepGroup` gives them.
    """
    if step.version() == 1:
        return []
    used = {axis for path in datasets for axis in STEP_DATASET_BY_PATH[path].axes}
    axes = [axis for axis in STEP_AXES if axis.name in used]
    found = [*_axis_problems(step, axes, sizes)]
    if not found:
        found += _attached(step, datasets, axes)
    return [*found, *_link_problems(step, datasets)]


def _axis_problems(
    step: StepGroup, axes: list[AxisSpec], sizes: Mapping[str, int]
) -> Iterator[Problem]:
    for axis in axes:
        path = _path_of(step, axis)
        linked = f"{axis.linked_in}/{axis.name}"
        if axis.linked_in and path == axis.path and step.find(linked) != step.find(path):
            yield Problem(step.shown(f"/{linked}"), f"is not {path}")
        stored, length = step.find(path), sizes[axis.name]
        where = step.shown(f"/{path}")
        if not isinstance(stored, h5py.Dataset) or stored.is_virtual or stored.external:
            yield Problem(where, "missing" if stored is None else "is no plain dataset")
        elif stored.shape != (length,) or stored.chunks is not None or not stored.is_scale:
            yield Problem(where, f"must be a dimension scale of {length}")
        elif axis.dtype == "text":
            wanted = axis.values(step.group, length)
            is_text = h5py.check_string_dtype(stored.dtype) is not None
            if not is_text or stored.asstr()[...].tolist() != wanted:
                yield Problem(where, f"must be {', '.join(wanted)}")
        elif stored.dtype != np.dtype(axis.dtype) or not np.array_equal(
            stored[...], axis.values(step.group, length)
        ):
            yield Problem(where, "has other values than its step")


def _path_of(step: StepGroup, axis: AxisSpec) -> str:
    """Return where a step has an axis; where it must be, if it has none."""
    is_former = step.find(axis.path) is None and axis.former_path
    return axis.former_path if is_former and step.find(axis.former_path) is not None else axis.path


def _attached(
    step: StepGroup, datasets: Mapping[str, h5py.Dataset], axes: list[AxisSpec]
) -> Iterator[Problem]:
    scales = {axis.name: step.find(_path_of(step, axis)) for axis in axes}
    for path, dataset in datasets.items():
        for place, name in enumerate(STEP_DATASET_BY_PATH[path].axes):
            if list(dataset.dims[place].values()) != [scales[name]]:
                message = f"axis {place}: has not the scale {name}"
                yield Problem(step.shown(f"/{path}"), message)


def _link_problems(step: StepGroup, datasets: Mapping[str, h5py.Dataset]) -> Iterator[Problem]:
    for plot in PLOTS:
        for path in (plot.signal, *plot.beside, *plot.errors):
            if plot.signal not in datasets or path not in datasets:
                continue
            linked = f"{ENTRY}/{plot.name}/{path.rpartition('/')[2]}"
            if step.find(linked) != datasets[path]:
                yield Problem(step.shown(f"/{linked}"), f"is not {path}")
