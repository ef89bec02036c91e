"""``campaign.h5``: one file through which a whole run is read.

Raw readouts appear as virtual datasets over the step files, ``cores/00/one_phase/raw``, so that
nothing is stored twice; coefficients appear as tables of shape (core, read_mode, column), those of
the newest calibrations. Other steps than calibrations of visit 0 are below their visit:
``visits/07/probe/cores/00/one_phase/raw``.
"""

import io
import json
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.durable import finished_file, names_failed_writes
from hil_datasets.index_tree import describe_index
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey
from hil_datasets.step_files.schema import (
    FORMAT_VERSION,
    INDEX_FORMAT,
    RAW_DATASETS,
    RENAMED,
    STEP_DATASET_BY_PATH,
    STEP_DATASETS,
    DatasetSpec,
    datasets_of,
)
from hil_datasets.step_files.tree import TREE_ATTRIBUTES, describe

_TILE_AXES = ("core", "read_mode")

TABLES = tuple(
    DatasetSpec(spec.path, spec.dtype, (*_TILE_AXES, "column"), spec.units, spec.long_name)
    for spec in STEP_DATASETS
    if spec.axes == ("column",)
)
"""Step datasets that become tables over all cores and read modes."""

TILE_TABLES = (
    DatasetSpec("tables/finished", "uint8", _TILE_AXES, "bit", "this step is finished"),
    DatasetSpec("tables/shift", "int16", _TILE_AXES, "bit", "NMPU right shift of the tile"),
    DatasetSpec(
        "tables/output_lsb", "float64", _TILE_AXES, "product / output LSB", "size of an output code"
    ),
)
"""One value per core and read mode."""

ABSENT = {"weights": -128, "inputs": -128, "raw": 65535, "expected": -(2**31)}
"""What a virtual dataset shows where its step file is missing: no value that can be measured."""


def write_index(run: RunDirectory, keys: Sequence[StepKey]) -> None:
    """Write the index over the given finished steps; an older index is replaced as a whole.

    Raises
    ------
    DatasetError
        If a step file cannot be read, or the index not be written. An older index stays.
    """
    content = index_content(run, keys)
    with names_failed_writes(run.index_path), finished_file(run.index_path) as part:
        part.write_bytes(content.getbuffer())


def index_content(
    run: RunDirectory, keys: Sequence[StepKey], *, version: int = FORMAT_VERSION
) -> io.BytesIO:
    """Return the index over the given finished steps, as the bytes of its file.

    Parameters
    ----------
    run, keys
        The run and its steps.
    version
        Version of the format that it shall have.

    Raises
    ------
    DatasetError
        If a step file cannot be read.
    """
    ordered = sorted(keys)
    content = io.BytesIO()  # small, and HDF5 does not survive a full disk: see `WriteLatch`
    with h5py.File(content, "w") as index:
        index.attrs["file_format"] = INDEX_FORMAT
        index.attrs["format_version"] = version
        newest = newest_calibrations(ordered)
        tables = _Tables(newest, version)
        for key in ordered:
            path = run.step_path(key)
            if not path.exists():
                problem = Problem(
                    "", "cannot be indexed: is missing, though the journal calls its step finished"
                )
                raise DatasetError(str(path), [problem])
            try:
                with h5py.File(path, "r") as step:
                    _link_step(index, step, key, str(path.relative_to(run.path)))
                    if key in newest:
                        tables.add(key, step)
            except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
                problem = Problem("", f"cannot be indexed: {error}")
                raise DatasetError(str(path), [problem]) from error
        tables.write(index)
        if version > 1:
            describe_index(index)
    return content


def _link_step(index: h5py.File, step: h5py.File, key: StepKey, step_file: str) -> None:
    group = index.create_group(group_of(key))
    # Relative to the index, so that a run directory can be moved and mailed as a whole.
    group.attrs["step_file"] = step_file
    owners = [step, step["circumstance"]] if "circumstance" in step else [step]
    for owner in owners:
        for name, value in owner.attrs.items():
            if name not in TREE_ATTRIBUTES:
                group.attrs[name] = value
    for name in RAW_DATASETS:
        source = step[name]
        layout = h5py.VirtualLayout(source.shape, source.dtype)
        layout[...] = h5py.VirtualSource(step_file, name, source.shape, source.dtype)
        dataset = group.create_virtual_dataset(name, layout, fillvalue=ABSENT[name])
        describe(dataset, STEP_DATASET_BY_PATH[name])


def group_of(key: StepKey) -> str:
    """Return the group of a step in an index."""
    tile = f"cores/{key.core:02d}/{key.read_mode}"
    if key == StepKey(key.core, key.read_mode):
        return tile
    return f"visits/{key.visit:02d}/{key.kind}/{tile}"


class _Tables:
    """Gathers the tables of all cores and read modes; integers are 0, reals NaN where unknown."""

    def __init__(self, keys: Sequence[StepKey], version: int) -> None:
        self._version = version
        self._cores = sorted({key.core for key in keys})
        self._modes = sorted({key.read_mode for key in keys})
        self._nmpu: dict[str, Any] = {}
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def add(self, key: StepKey, step: h5py.File) -> None:
        nmpu = json.loads(step["coefficients"].attrs["nmpu"])
        self._nmpu = nmpu | {"shift": None}
        values = {
            "tables/finished": 1,
            "tables/shift": nmpu["shift"],
            "tables/output_lsb": step["correction"].attrs["output_lsb"],
        }
        for path, spec in datasets_of(int(step.attrs["format_version"])).items():
            if spec.axes == ("column",) and path in step:
                values[spec.path] = step[path][...]
        at = (self._cores.index(key.core), self._modes.index(key.read_mode))
        for spec in (*TILE_TABLES, *TABLES):
            if spec.path in values:
                self._table(spec, columns=np.shape(values[spec.path]))[at] = values[spec.path]

    def write(self, index: h5py.File) -> None:
        index["core"] = np.array(self._cores, dtype=np.int64)
        modes = np.array([str(mode) for mode in self._modes], dtype=object)
        index.create_dataset("read_mode", data=modes, dtype=h5py.string_dtype())
        renamed = RENAMED.get(self._version, {})
        for spec in (*TILE_TABLES, *TABLES):
            if spec.path in self._arrays:
                path = renamed.get(spec.path, spec.path)
                describe(index.create_dataset(path, data=self._arrays[spec.path]), spec)
        if self._nmpu:
            index["coefficients"].attrs["nmpu"] = json.dumps(self._nmpu, allow_nan=False)

    def _table(self, spec: DatasetSpec, *, columns: tuple[int, ...]) -> npt.NDArray[Any]:
        if spec.path not in self._arrays:
            shape = (len(self._cores), len(self._modes), *columns)
            unknown = np.nan if spec.dtype == "float64" else 0
            self._arrays[spec.path] = np.full(shape, unknown, dtype=spec.dtype)
        return self._arrays[spec.path]
