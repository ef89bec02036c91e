"""Reading a step file, trusting nothing in it.

Its seal is checked first: HDF5 never sees a file that was damaged since it was written. Names,
types, axes and sizes are then checked against the schema and against each other before an array is
allocated; whatever would reach outside the file, or needs room that the file does not have, is
refused before it is opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.errors import DatasetError, Problem
from hil_datasets.regular_file import check_regular
from hil_datasets.schema import (
    CORRECTION_NAMES,
    FILE_FORMAT,
    FORMAT_VERSION,
    OPTIONAL_GROUPS,
    STEP_ATTRIBUTES,
    STEP_DATASETS,
    AttributeKind,
    AttributeSpec,
    DatasetSpec,
)
from hil_datasets.seal import check_seal
from hil_datasets.step import StepRecord
from hil_datasets.step_content import StepContent

# h5py passes on whatever the HDF5 library, NumPy or its own code trip over in a damaged file.
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, MemoryError)
_LARGEST_ITEM_BYTES = 1024
"""Of an attribute: integers and reals have 8, text of variable length is a reference of 16."""


def read_step(path: Path) -> StepRecord:
    """Read a finished step.

    Raises
    ------
    DatasetError
        If the file is missing, damaged, no step file, of another version, or contradicts the
        schema or itself. Every problem found is listed with its object.
    """
    try:
        check_regular(path)
        _check_seal(path)
        with h5py.File(path, "r") as file:
            _check_format(path, file)
            attributes = _read_attributes(path, file)
            arrays = _read_arrays(path, file, attributes)
    except DatasetError:
        raise
    except _DAMAGE as error:
        # Only the operating system's own refusals have words of their own.
        refusal = error.strerror if isinstance(error, OSError) and error.errno else None
        problem = (
            Problem("", f"cannot be read: {refusal}")
            if refusal
            else Problem("/", f"cannot be read as HDF5, it is damaged: {error}")
        )
        raise DatasetError(str(path), [problem]) from error
    return StepContent(str(path), attributes, arrays).record()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExamination:
    """What a step file holds, as far as it can be read."""

    problems: tuple[Problem, ...]
    """Everything that is wrong with it, besides its seal."""
    attributes: Mapping[str, Any]
    """The attributes that are there, by their paths."""
    content: StepContent | None = None
    """What it says, where every type and size is right and the arrays were read."""


def examine_step(path: Path, *, reads_arrays: bool = True) -> StepExamination:
    """Look at a step file whatever its seal says, for every problem and not only the first.

    The HDF5 library can crash or hang on a damaged file: only a process that may do so calls this.

    Parameters
    ----------
    path
        The file, there and regular.
    reads_arrays
        Whether the values of arrays are looked at, and not only their types and sizes.
    """
    problems: list[Problem] = []
    attributes: dict[str, Any] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        with h5py.File(path, "r") as file:
            _check_format(path, file)
            absent = _absent_groups(file)
            for spec in STEP_ATTRIBUTES:
                value = None if spec.owner in absent else _read_attribute(file, spec)
                if isinstance(value, Problem):
                    problems.append(value)
                elif value is not None:
                    attributes[spec.path] = value
            datasets, misfits = _find_datasets(file)
            problems += misfits
            if not problems:
                file_bytes = path.stat().st_size
                problems += _check_sizes(datasets, attributes, file_bytes=file_bytes)
            if reads_arrays and not problems:
                arrays = _read_arrays(path, file, attributes)
    except DatasetError as error:
        problems += error.problems
    except _DAMAGE as error:
        problems.append(Problem("/", f"cannot be read as HDF5, it is damaged: {error}"))
    if problems or not reads_arrays:
        return StepExamination(problems=tuple(problems), attributes=attributes)
    content = StepContent(str(path), attributes, arrays)
    return StepExamination(
        problems=tuple(content.problems()), attributes=attributes, content=content
    )


def _check_seal(path: Path) -> None:
    try:
        check_seal(path)
    except ValueError as error:
        raise DatasetError(str(path), [Problem("/", str(error))]) from error


def _check_format(path: Path, file: h5py.File) -> None:
    for spec, wanted in zip(STEP_ATTRIBUTES[:2], (FILE_FORMAT, FORMAT_VERSION), strict=True):
        value = _read_attribute(file, spec)
        if isinstance(value, Problem):
            raise DatasetError(str(path), [value])
        if value != wanted:
            message = f"attribute {spec.name}: is {value!r}: this software reads {wanted!r}"
            raise DatasetError(str(path), [Problem("/", message)])


def _read_attributes(path: Path, file: h5py.File) -> dict[str, Any]:
    absent = _absent_groups(file)
    values = {
        spec.path: _read_attribute(file, spec)
        for spec in STEP_ATTRIBUTES
        if spec.owner not in absent
    }
    problems = [value for value in values.values() if isinstance(value, Problem)]
    if problems:
        raise DatasetError(str(path), problems)
    return values


def _read_attribute(file: h5py.File, spec: AttributeSpec) -> str | int | float | Problem:
    owner = _find(file, spec.owner)
    if not isinstance(owner, h5py.Group):
        return Problem(spec.owner, "missing" if owner is None else "is not a group of this file")
    try:
        return _checked_value(owner.attrs, spec)
    except _DAMAGE as error:
        return Problem(spec.owner, f"attribute {spec.name}: {error}")


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


def _absent_groups(file: h5py.File) -> set[str]:
    """Return the paths of the groups that a file does without; half of one is none."""
    return {f"/{name}" for name in OPTIONAL_GROUPS if _find(file, name) is None}


def _find(file: h5py.File, path: str) -> Any:
    """Return the object at a path; None if there is none, a link if one leads elsewhere.

    Nothing is followed: a link could lead to another file, or to none.
    """
    found: Any = file
    for name in path.strip("/").split("/") if path != "/" else ():
        link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            return link
        found = found[name]
    return found


def _read_arrays(
    path: Path, file: h5py.File, attributes: Mapping[str, Any]
) -> dict[str, npt.NDArray[Any]]:
    datasets, problems = _find_datasets(file)
    if not problems:
        problems = _check_sizes(datasets, attributes, file_bytes=path.stat().st_size)
    arrays = {}
    if not problems:
        for name, dataset in datasets.items():
            try:
                arrays[name] = read_only(dataset[...])
            except _DAMAGE as error:
                problems.append(Problem(f"/{name}", f"cannot be read: {error}"))
    if problems:
        raise DatasetError(str(path), problems)
    return arrays


def _find_datasets(file: h5py.File) -> tuple[dict[str, h5py.Dataset], list[Problem]]:
    problems: list[Problem] = []
    datasets: dict[str, h5py.Dataset] = {}
    absent = _absent_groups(file)
    for spec in STEP_DATASETS:
        try:
            dataset = _find(file, spec.path)
            if dataset is None:
                group, _, _ = spec.path.rpartition("/")
                is_optional = spec.path == "verification/outputs" or f"/{group}" in absent
                message = None if is_optional else "missing"
            else:
                datasets[spec.path] = dataset
                message = _misfit(dataset, spec)
        except _DAMAGE as error:
            message = f"cannot be read: {error}"
        if message:
            problems.append(Problem(f"/{spec.path}", message))
    return datasets, problems


def _misfit(dataset: Any, spec: DatasetSpec) -> str | None:
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        return "is not a plain dataset of this file"
    if dataset.dtype != np.dtype(spec.dtype) or dataset.ndim != len(spec.axes):
        return (
            f"is {dataset.dtype} with {dataset.ndim} axes: must be {spec.dtype} with "
            f"{len(spec.axes)}"
        )
    stored = dataset.id.get_storage_size()
    if dataset.chunks is not None or stored != dataset.nbytes:
        return f"claims {dataset.nbytes} bytes and stores {stored}: must be contiguous and whole"
    return None


def _check_sizes(
    datasets: Mapping[str, h5py.Dataset], attributes: Mapping[str, Any], *, file_bytes: int
) -> list[Problem]:
    claimed = sum(dataset.nbytes for dataset in datasets.values())
    if claimed > file_bytes:
        return [Problem("/", f"its datasets claim {claimed} bytes in a file of {file_bytes}")]
    held_out = attributes["verification_vectors"]
    sizes: dict[str, int] = {
        "polarity": 2,
        "correction": len(CORRECTION_NAMES),
        "vector": attributes["calibration_vectors"] + held_out,
        "verification_vector": held_out,
    }
    problems = []
    for spec in STEP_DATASETS:
        if spec.path not in datasets:
            continue
        for axis, size in zip(spec.axes, datasets[spec.path].shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                message = f"has {size} along {axis}: must have {sizes[axis]}"
                problems.append(Problem(f"/{spec.path}", message))
    return problems
