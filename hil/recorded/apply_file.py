"""Corrected outputs in a file: HDF5 with named axes, or NumPy's ``.npz``; never all in memory."""

import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from hil.recorded.apply import DTYPES, AppliedStep, Output
from hil_datasets.packed.new_file import new_file
from hil_datasets.step_files.file import latched_hdf5

FORMAT = "hil-corrected"
VERSION = 1
_LONG_NAMES = {
    Output.NMPU: "output codes of the NMPU's integer model; times output_lsb they are products",
    Output.FLOAT: "products by the real-valued correction, in product units",
    Output.FP16: "output codes of the FP16 unit; times output_lsb they are products",
}
_EXPECTED = "sum of input code * weight code, in product units"
_OLDEST_DATE = (1980, 1, 1, 0, 0, 0)

_Blocks = Iterator[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedStep:
    """A step that is in the file."""

    name: str
    """Its name."""
    vectors: int
    """How many vectors it has."""
    outputs: tuple[Output, ...]
    """What was made of them."""

    @classmethod
    def of(cls, step: AppliedStep) -> Self:
        """Sum up a step."""
        return cls(name=step.facts.key.name, vectors=step.vectors, outputs=step.outputs)


def write_corrected_hdf5(
    path: Path, steps: Iterable[AppliedStep], *, may_replace: bool = False
) -> list[CorrectedStep]:
    """Write the outputs of steps, a group for each; return what was written.

    xarray opens a step with ``open_dataset(path, engine="h5netcdf", group=STEP)``.

    Raises
    ------
    ConfigError
        If the file exists and may not be replaced, or a step has no correction that fits.
    DatasetError
        If a step cannot be read, or the file not be written.
    """
    written = []
    with (
        new_file(path, may_replace=may_replace) as part,
        latched_hdf5(part, mode="w", libver=("earliest", "v110")) as file,
    ):
        file.attrs.update({"file_format": FORMAT, "format_version": VERSION})
        for step in steps:
            _write_group(file.create_group(step.facts.key.name), step)
            written.append(CorrectedStep.of(step))
    return written


def _write_group(group: h5py.Group, step: AppliedStep) -> None:
    group.attrs.update(step_attributes(step))
    for axis, size in (("vector", step.vectors), ("column", step.columns)):
        scale = group.create_dataset(axis, data=np.arange(size, dtype=np.int64))
        scale.attrs.update({"units": "1", "long_name": f"{axis} number"})
        scale.make_scale(axis)
    held_out = np.arange(step.vectors) >= step.facts.origin.calibration_vectors
    _put(group, "held_out", ("vector",), "1 for vectors that no fit has seen", held_out)
    if step.applied.flags is not None:
        _put(group, "flags", ("column",), "sum of the column's flags", step.applied.flags)
    for name, dtype, blocks, long_name in _tables(step):
        shape = (step.vectors, step.columns)
        dataset = group.create_dataset(name, shape, dtype)
        _describe(group, dataset, ("vector", "column"), long_name)
        first = 0
        for block in blocks:
            dataset[first : first + len(block)] = block
            first += len(block)


def _put(
    group: h5py.Group, name: str, axes: tuple[str, ...], long_name: str, values: npt.NDArray[Any]
) -> None:
    stored = values.astype(np.uint8) if values.dtype == np.bool_ else values
    _describe(group, group.create_dataset(name, data=stored), axes, long_name)


def _describe(
    group: h5py.Group, dataset: h5py.Dataset, axes: tuple[str, ...], long_name: str
) -> None:
    dataset.attrs.update({"units": "1", "long_name": long_name})
    for number, axis in enumerate(axes):
        dataset.dims[number].attach_scale(group[axis])
        dataset.dims[number].label = axis


def write_corrected_npz(
    path: Path, steps: Iterable[AppliedStep], *, may_replace: bool = False
) -> list[CorrectedStep]:
    """Write the outputs of steps as arrays named ``STEP/NAME``; raises as the other.

    ``STEP/attributes`` is the JSON of what the HDF5 file has as attributes.
    """
    written = []
    with (
        new_file(path, may_replace=may_replace) as part,
        zipfile.ZipFile(part, "w") as archive,
    ):
        for step in steps:
            name = step.facts.key.name
            text = np.array(json.dumps(step_attributes(step), allow_nan=False))
            _add(archive, f"{name}/attributes", text.dtype, (), iter([text]))
            held_out = np.arange(step.vectors) >= step.facts.origin.calibration_vectors
            _add(archive, f"{name}/held_out", held_out.dtype, held_out.shape, iter([held_out]))
            if step.applied.flags is not None:
                flags = step.applied.flags
                _add(archive, f"{name}/flags", flags.dtype, flags.shape, iter([flags]))
            for table, dtype, blocks, _ in _tables(step):
                _add(archive, f"{name}/{table}", dtype, (step.vectors, step.columns), blocks)
            written.append(CorrectedStep.of(step))
    return written


def _add(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    blocks: _Blocks,
) -> None:
    # Not numpy.savez: it wants a whole array, and writes the date.
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=_OLDEST_DATE)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with archive.open(entry, "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for block in blocks:
            member.write(np.ascontiguousarray(block, dtype=dtype).tobytes())


def _tables(step: AppliedStep) -> Iterator[tuple[str, np.dtype[Any], _Blocks, str]]:
    for output in step.outputs:
        yield str(output), DTYPES[output], step.blocks(output), _LONG_NAMES[output]
    yield "expected", np.dtype("<i4"), step.expected_blocks(), _EXPECTED


def step_attributes(step: AppliedStep) -> dict[str, str | int | float]:
    """Return where a step's outputs come from: readouts, correction, coefficients, by their ids."""
    facts, applied = step.facts, step.applied
    attributes: dict[str, str | int | float] = {
        "core": facts.key.core,
        "read_mode": str(facts.key.read_mode),
        "visit": facts.key.visit,
        "kind": str(facts.key.kind),
        "chip": str(facts.origin.chip),
        "calibration_vectors": facts.origin.calibration_vectors,
        "raw_id": facts.raw_sha256,
        "correction_raw_id": applied.raw_id,
        "correction_id": applied.correction_id,
        "coefficients_id": applied.coefficients_id,
        "correction_chip": applied.chip,
        "nmpu": json.dumps(applied.fmt.to_dict(), allow_nan=False),
    }
    if applied.output_lsb is not None:
        attributes["output_lsb"] = applied.output_lsb
    return attributes
