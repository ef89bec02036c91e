"""``campaign.h5``: one file through which a whole run is read.

Raw readouts appear as virtual datasets over the step files, ``cores/00/one_phase/raw``, so that
nothing is stored twice; coefficients appear as tables of shape (core, read_mode, column).
"""

import json
from collections.abc import Sequence

import h5py
import numpy as np

from hil_datasets.durable import finished_file
from hil_datasets.run_directory import RunDirectory
from hil_datasets.schema import (
    FORMAT_VERSION,
    INDEX_FORMAT,
    RAW_DATASETS,
    STEP_DATASET_BY_PATH,
    STEP_DATASETS,
)
from hil_datasets.step import StepKey
from hil_datasets.step_writer import describe

TABLES = tuple(spec.path for spec in STEP_DATASETS if spec.axes == ("column",))
"""Step datasets that become tables over all cores and read modes."""


def write_index(run: RunDirectory, keys: Sequence[StepKey]) -> None:
    """Write the index over the given finished steps; an older index is replaced as a whole."""
    ordered = sorted(keys)
    with finished_file(run.index_path) as part, h5py.File(part, "w") as index:
        index.attrs["file_format"] = INDEX_FORMAT
        index.attrs["format_version"] = FORMAT_VERSION
        for key in ordered:
            _link_step(index, run, key)
        _write_tables(index, run, ordered)


def _link_step(index: h5py.File, run: RunDirectory, key: StepKey) -> None:
    step_path = run.step_path(key)
    # Relative to the index, so that a run directory can be moved and mailed as a whole.
    relative = str(step_path.relative_to(run.path))
    group = index.create_group(f"cores/{key.core:02d}/{key.read_mode}")
    group.attrs["step_file"] = relative
    with h5py.File(step_path, "r") as step:
        for name, value in step.attrs.items():
            group.attrs[name] = value
        for name in RAW_DATASETS:
            source = step[name]
            layout = h5py.VirtualLayout(source.shape, source.dtype)
            layout[...] = h5py.VirtualSource(relative, name, source.shape, source.dtype)
            describe(group.create_virtual_dataset(name, layout), STEP_DATASET_BY_PATH[name])


def _write_tables(index: h5py.File, run: RunDirectory, keys: Sequence[StepKey]) -> None:
    cores = sorted({key.core for key in keys})
    modes = sorted({key.read_mode for key in keys})
    is_finished = np.zeros((len(cores), len(modes)), dtype=np.uint8)
    shift = np.zeros((len(cores), len(modes)), dtype=np.int16)
    output_lsb = np.full((len(cores), len(modes)), np.nan)
    tables: dict[str, np.ndarray] = {}
    for key in keys:
        at = (cores.index(key.core), modes.index(key.read_mode))
        with h5py.File(run.step_path(key), "r") as step:
            is_finished[at] = 1
            shift[at] = json.loads(step["coefficients"].attrs["nmpu"])["shift"]
            output_lsb[at] = step["correction"].attrs["output_lsb"]
            for path in TABLES:
                values = step[path][...]
                shape = (len(cores), len(modes), len(values))
                table = tables.setdefault(path, np.zeros(shape, dtype=values.dtype))
                table[at] = values
    index["core"] = np.array(cores, dtype=np.int64)
    index["read_mode"] = [str(mode) for mode in modes]
    scalars = {"finished": is_finished, "shift": shift, "output_lsb": output_lsb}
    for name, array in scalars.items():
        dataset = index.create_dataset(f"tables/{name}", data=array)
        dataset.dims[0].label, dataset.dims[1].label = "core", "read_mode"
    for path, array in tables.items():
        spec = STEP_DATASET_BY_PATH[path]
        dataset = index.create_dataset(path, data=array)
        dataset.attrs["units"], dataset.attrs["long_name"] = spec.units, spec.long_name
        for axis, name in enumerate(("core", "read_mode", "column")):
            dataset.dims[axis].label = name
