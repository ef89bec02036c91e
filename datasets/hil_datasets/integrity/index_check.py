"""Whether the index says what the step files say: it is made again, in memory, and compared."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil_datasets.index import index_content, write_index
from hil_datasets.integrity.finding import FindingKind
from hil_datasets.integrity.step_check import problem
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey, StepKind
from hil_datasets.step_files.damage import DAMAGE
from hil_datasets.step_files.schema import FORMAT_VERSION, READ_VERSIONS

_MOST_OBJECTS = 200_000
_PLACES = frozenset({"DIMENSION_LIST", "REFERENCE_LIST"})
"""Attributes that hold places in a file."""
_WORDS = frozenset({"units", "flag_masks", "flag_meanings"})
"""Attributes that format 1 has otherwise, and that are only for people and plots."""

KeyWords = tuple[int, str, int, str]
"""A step as JSON has it: core, read mode, visit, kind."""


def words_of(key: StepKey) -> KeyWords:
    """Return a step as JSON has it."""
    return (key.core, str(key.read_mode), key.visit, str(key.kind))


def key_of(words: Sequence[Any]) -> StepKey:
    """Return the step that `words_of` was given."""
    core, read_mode, visit, kind = words
    return StepKey(core, ReadMode(read_mode), visit=visit, kind=StepKind(kind))


def check_index(
    path: Path, *, keys: Sequence[KeyWords], compares: bool
) -> Iterator[dict[str, Any]]:
    """Yield where an index differs from what its steps say.

    Parameters
    ----------
    path
        The index.
    keys
        The finished steps.
    compares
        Whether every step file is whole, so that its content can be compared; otherwise only the
        links are looked at.
    """
    run = RunDirectory(path.parent)
    try:
        with h5py.File(path, "r") as index:
            yield from _dangling(index, run)
            if compares:
                version = _version(index)
                wanted = index_content(run, [key_of(words) for words in keys], version=version)
                if _has_bytes(path, wanted.getbuffer()):
                    return  # which takes half the time of looking at each object
                with h5py.File(wanted, "r") as other:
                    yield from _differences(index, other)
    except DatasetError as error:
        yield problem(FindingKind.REFERENCE, "/", str(error))
    except DAMAGE as error:
        yield problem(FindingKind.UNREADABLE, "/", f"cannot be read as HDF5: {error}")


def write_run_index(path: Path, *, keys: Sequence[KeyWords]) -> Iterator[dict[str, Any]]:
    """Write the index of the run that lies at a path."""
    try:
        write_index(RunDirectory(path), [key_of(words) for words in keys])
    except DatasetError as error:
        yield problem(FindingKind.UNREADABLE, "/", str(error))


def _version(index: h5py.File) -> int:
    """Return the version of an index that can be made again; today's if it says nonsense."""
    stored = index.attrs.get_id("format_version") if "format_version" in index.attrs else None
    is_number = stored is not None and stored.shape == () and stored.dtype.kind in "iu"
    version = int(index.attrs["format_version"]) if is_number else FORMAT_VERSION
    return version if version in READ_VERSIONS else FORMAT_VERSION


def _has_bytes(path: Path, content: memoryview) -> bool:
    with path.open("rb") as file:
        return path.stat().st_size == len(content) and file.read(len(content)) == content


def _objects(file: h5py.File) -> dict[str, Any]:
    """Return every object below hard links by its path; a link elsewhere is itself."""
    found: dict[str, Any] = {"/": file}
    waiting = [("", file)]
    while waiting:
        above, group = waiting.pop()
        for name in group:
            path = f"{above}/{name}"
            if len(found) >= _MOST_OBJECTS or path.count("/") > 16:
                raise ValueError("has more objects than an index can have")
            link = group.get(name, getlink=True)
            found[path] = group[name] if isinstance(link, h5py.HardLink) else link
            if isinstance(found[path], h5py.Group):
                waiting.append((path, found[path]))
    return found


def _dangling(index: h5py.File, run: RunDirectory) -> Iterator[dict[str, Any]]:
    """Yield what reaches outside the run, or to a step that is not there."""
    for path, found in _objects(index).items():
        if not isinstance(found, h5py.Group | h5py.Dataset):
            yield problem(FindingKind.SCHEMA, path, "is a link out of this file")
        elif isinstance(found, h5py.Dataset) and found.external:
            yield problem(FindingKind.SCHEMA, path, "has its values in other files")
        elif isinstance(found, h5py.Dataset) and found.is_virtual:
            for source in found.virtual_sources():
                named = Path(source.file_name)
                if named.parent != Path("steps") or named.suffix != ".h5":
                    message = f"is a view of {source.file_name!r}: must be of a step of this run"
                    yield problem(FindingKind.REFERENCE, path, message)
                elif not (run.path / named).is_file():
                    message = f"is a view of {source.file_name}, which is missing"
                    yield problem(FindingKind.REFERENCE, path, message)


def _differences(index: h5py.File, wanted: h5py.File) -> Iterator[dict[str, Any]]:
    found, others = _objects(index), _objects(wanted)
    for path in sorted(found.keys() | others.keys()):
        if path not in found or path not in others:
            message = "is missing" if path not in found else "is of no step of this run"
            yield problem(FindingKind.REFERENCE, path, message)
            continue
        message = _difference(found[path], others[path])
        if message:
            yield problem(FindingKind.HASH, path, f"{message} of the step files")


def _difference(found: Any, wanted: Any) -> str:
    if type(found) is not type(wanted):
        return "is another sort of object than that"
    attribute = _attribute_difference(found, wanted) or _axes_difference(found, wanted)
    if attribute or not isinstance(found, h5py.Dataset):
        return attribute
    kinds = [
        (each.shape, each.dtype, each.is_virtual, each.chunks, each.external)
        for each in (found, wanted)
    ]
    if kinds[0] != kinds[1]:
        return f"is {found.dtype} of shape {found.shape}, or not stored as that"
    if found.is_virtual:
        return "" if _views(found) == _views(wanted) else "is another view than that"
    return "" if _is_same(found[...], wanted[...]) else "has other values than those"


def _attribute_difference(found: Any, wanted: Any) -> str:
    passed_over = _PLACES | (_WORDS if _version(found.file) == 1 else frozenset())
    for name in sorted((set(found.attrs) | set(wanted.attrs)) - passed_over):
        if name not in found.attrs or name not in wanted.attrs:
            return f"attribute {name}: is not there, or not one"
        stored, other = found.attrs.get_id(name), wanted.attrs.get_id(name)
        if stored.shape != other.shape or stored.dtype != other.dtype:
            return f"attribute {name}: is of another type than that"
        if not _is_same(found.attrs[name], wanted.attrs[name]):
            return f"attribute {name}: is {found.attrs[name]!r:.80}, not that"
    return ""


def _axes_difference(found: Any, wanted: Any) -> str:
    """Say how the axes of a dataset are named otherwise; the objects themselves are elsewhere."""
    if not isinstance(found, h5py.Dataset):
        return ""
    names = [
        [[scale.name for scale in dimension.values()] for dimension in each.dims]
        for each in (found, wanted)
    ]
    return "" if names[0] == names[1] else "has other axes than those"


def _views(dataset: h5py.Dataset) -> list[tuple[str, str, Any]]:
    return [
        (source.file_name, source.dset_name, source.src_space.get_simple_extent_dims())
        for source in dataset.virtual_sources()
    ] + [("", "", dataset.fillvalue)]


def _is_same(value: Any, other: Any) -> bool:
    first, second = np.asarray(value), np.asarray(other)
    return bool(
        np.array_equal(first, second, equal_nan=first.dtype.kind == "f" == second.dtype.kind)
    )
