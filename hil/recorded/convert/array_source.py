"""Arrays of ``.npz`` and ``.npy`` files as blocks of steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.recorded.convert.array_file import read_arrays
from hil.recorded.convert.axes import cut_into_steps
from hil.recorded.convert.blocks import Block, code_range
from hil.recorded.convert.codes import UnfitValueError, to_codes, to_pair
from hil.recorded.convert.mapping import Axis, CountsSection, Mapping, SourceSection
from hil.recorded.convert.mapping_check import inner_axes
from hil.recorded.convert.source_file import PartialKey, SourceFile


def array_blocks(
    file: SourceFile, keys: dict[str, PartialKey], says: Mapping
) -> dict[str, dict[PartialKey, Block]]:
    """Read one file, for every section of the mapping that its name belongs to.

    Parameters
    ----------
    file
        The file.
    keys
        Sections with what the name of the file says of their steps.
    says
        The mapping.

    Raises
    ------
    DatasetError
        If an array is not what the mapping says; every problem is listed.
    """
    names = {name: _arrays_of(getattr(says, name)) for name in keys}
    arrays = read_arrays(file.path, [each for several in names.values() for each in several])
    blocks: dict[str, dict[PartialKey, Block]] = {}
    problems = []
    for name, wanted in names.items():
        try:
            blocks[name] = _section_blocks(file, name, [arrays[each] for each in wanted], says)
        except ValueError as error:
            problems.append(Problem(f"{name} ({', '.join(wanted)})", str(error)))
    if problems:
        raise DatasetError(str(file.path), problems)
    return blocks


def _arrays_of(section: SourceSection) -> list[str]:
    return list(section.arrays) if section.arrays else [section.array or ""]


def _section_blocks(
    file: SourceFile, name: str, arrays: list[npt.NDArray[Any]], says: Mapping
) -> dict[PartialKey, Block]:
    section: SourceSection = getattr(says, name)
    rule = section.rule if isinstance(section, CountsSection) else None
    inner = inner_axes(name, rule, stacks=len(arrays) == 2)
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"are of the shapes {arrays[0].shape} and {arrays[1].shape}")
    codes, dtype = code_range(section, name, says)
    parts: list[dict[PartialKey, npt.NDArray[Any]]] = []
    for array in arrays:
        stored = cut_into_steps(array, section.axes or [], inner, says)
        parts.append({})
        for key, part in stored.items():
            try:
                parts[-1][key] = to_codes(part, codes, dtype)
            except UnfitValueError as error:
                raise ValueError(error.told(_place(key, error.at, inner))) from error
    blocks = {}
    for key in parts[0]:
        found = parts[0][key]
        if len(parts) == 2:
            pair = [part[key] for part in parts]
            found = np.stack(pair if says.axes.polarity[0] == "P" else pair[::-1], axis=1)
        if isinstance(section, CountsSection):
            found = to_pair(found, section.rule)
        blocks[key] = Block(
            codes=np.ascontiguousarray(found), vectors=None, where=f"{file.path}: {name}"
        )
    return blocks


def _place(key: PartialKey, at: tuple[int, ...], inner: Sequence[Axis]) -> str:
    places = [f"{axis} {place}" for axis, place in zip(inner, at, strict=True)]
    return "at " + ", ".join([str(key), *places] if key.known else places)
