"""Reading a step, trusting nothing in it.

The seal of a step file is checked first: HDF5 never sees a file that was damaged since it was
written. What is in it is held to the schema by `StepGroup`, and to what can be meant by
`StepContent`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from hil.core.errors import DatasetError, Problem
from hil_datasets.regular_file import check_regular
from hil_datasets.run_source import StepFacts, ToldStep
from hil_datasets.seal import check_rest, check_seal
from hil_datasets.step import StepRecord
from hil_datasets.step_files.content import StepContent
from hil_datasets.step_files.damage import DAMAGE, damage_named, damage_of
from hil_datasets.step_files.group import StepGroup
from hil_datasets.step_files.schema import RAW_DATASETS, STEP_DATASETS
from hil_datasets.step_files.tree_check import tree_problems

_ALL = frozenset(spec.path for spec in STEP_DATASETS)
_CONCLUDED = _ALL - frozenset(RAW_DATASETS)


def read_step(path: Path) -> StepRecord:
    """Read a finished step.

    Raises
    ------
    DatasetError
        If the file is missing, damaged, no step file, of another version, or contradicts the
        schema or itself. Every problem found is listed with its object.
    """
    with _opened(path, check_seal) as file:
        content = _content(StepGroup(group=file, source=str(path), most_bytes=_size(path)))
    return content.record()


def read_facts(path: Path) -> StepFacts:
    """Read a finished step but for its readouts; raises what `read_step` does.

    The CRC-32C of all the rest of the file is checked.
    """
    with _opened(path, check_rest) as file:
        step = StepGroup(group=file, source=str(path), most_bytes=_size(path), needs_readouts=False)
        content = _content(step)
    return content.facts()


def read_told(file: h5py.File, source: str) -> ToldStep:
    """Return what an open step file tells that a journal tells too, without a look at the rest.

    Raises
    ------
    DatasetError
        If it is no step file, of another version, or contradicts the schema.
    """
    with damage_named(source):
        attributes = StepGroup(group=file, source=source, most_bytes=0).told()
        content = StepContent(source, attributes, {})
        return ToldStep(
            key=content.key(),
            raw_sha256=str(attributes["raw_sha256"]),
            campaign_sha256=str(attributes["campaign_sha256"]),
            errors=content.errors(),
        )


def read_group(
    group: h5py.Group, *, source: str, most_bytes: int, is_packed: bool = False
) -> StepRecord:
    """Read the step that a group holds.

    Parameters
    ----------
    group
        The group: everything is below it as in the root of a step file.
    source
        Name of the file, for messages.
    most_bytes
        What its arrays can have together; more is refused before it is allocated.
    is_packed
        Whether readouts may be stored in chunks and through known filters.

    Raises
    ------
    DatasetError
        As `read_step`, but for the seal of the file, which is checked before.
    """
    step = StepGroup(group=group, source=source, most_bytes=most_bytes, is_packed=is_packed)
    with damage_named(source):
        content = _content(step)
    return content.record()


def read_group_facts(
    group: h5py.Group, *, source: str, most_bytes: int, is_packed: bool = False
) -> StepFacts:
    """Read the step that a group holds but for its readouts, as `read_group`.

    A packed step may lack readouts.
    """
    step = StepGroup(
        group=group,
        source=source,
        most_bytes=most_bytes,
        is_packed=is_packed,
        needs_readouts=False,
    )
    with damage_named(source):
        content = _content(step)
    return content.facts()


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
    try:
        with h5py.File(path, "r") as file:
            step = StepGroup(group=file, source=str(path), most_bytes=_size(path), mapped_from=path)
            return examine_group(step, reads_arrays=reads_arrays)
    except DAMAGE as error:
        return StepExamination(problems=(damage_of(error),), attributes={})


def examine_group(step: StepGroup, *, reads_arrays: bool = True) -> StepExamination:
    """Look at the group of a step, as `examine_step` does at a file."""
    problems: list[Problem] = []
    attributes: dict[str, Any] = {}
    content: StepContent | None = None
    try:
        for name, value in step.attributes().items():
            if isinstance(value, Problem):
                problems.append(value)
            else:
                attributes[name] = value
        datasets, misfits = step.datasets()
        problems += misfits
        sizes: dict[str, int] = {}
        if not problems:
            sizes, misfits = step.sizes(datasets, attributes)
            problems += misfits
        is_sound = not problems
        if is_sound:
            problems += tree_problems(step, datasets, sizes)
        if is_sound and reads_arrays:
            names = _ALL if step.needs_readouts else _CONCLUDED
            arrays = step.arrays(datasets, names)
            content = StepContent(step.source, attributes, arrays, sizes)
            problems += content.problems()
    except DatasetError as error:
        problems += error.problems
    except DAMAGE as error:
        problems.append(damage_of(error))
    return StepExamination(problems=tuple(problems), attributes=attributes, content=content)


def _content(step: StepGroup) -> StepContent:
    """Return the content of a step whose types and sizes are right."""
    values = step.attributes()
    problems = [value for value in values.values() if isinstance(value, Problem)]
    if problems:
        raise DatasetError(step.source, problems)
    datasets, problems = step.datasets()
    sizes: dict[str, int] = {}
    if not problems:
        sizes, problems = step.sizes(datasets, values)
    if problems:
        raise DatasetError(step.source, problems)
    arrays = step.arrays(datasets, _ALL if step.needs_readouts else _CONCLUDED)
    return StepContent(step.source, values, arrays, sizes)


@contextmanager
def _opened(path: Path, check: Callable[[Path], object]) -> Iterator[h5py.File]:
    with damage_named(str(path)):
        check_regular(path)
        try:
            check(path)
        except ValueError as error:
            raise DatasetError(str(path), [Problem("/", str(error))]) from error
        with h5py.File(path, "r") as file:
            yield file


def _size(path: Path) -> int:
    return path.stat().st_size
