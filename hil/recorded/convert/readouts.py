"""From blocks to whole steps: every step with its weights, its inputs and its counts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.core.readout import ReadMode
from hil.recorded.convert.array_source import array_blocks
from hil.recorded.convert.blocks import SECTIONS, Block, file_key
from hil.recorded.convert.mapping import LEAST_CALIBRATION, Mapping
from hil.recorded.convert.source_file import PartialKey, SourceFile
from hil.recorded.convert.table_source import TableSource
from hil_calibration.expected import expected_outputs
from hil_datasets.step import StepKey

Blocks = dict[str, dict[PartialKey, Block]]
"""Blocks by section and key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReadouts:
    """What was sent to one core, and what it gave."""

    weights: npt.NDArray[np.int8]
    """Shape (row, column)."""
    inputs: npt.NDArray[np.int8]
    """Shape (vector, row)."""
    counts: npt.NDArray[np.uint16]
    """Shape (vector, polarity, column)."""


class UnfitError(ValueError):
    """Blocks do not make a step; the message says why."""


def read_blocks(files: Sequence[SourceFile], says: Mapping) -> Blocks:
    """Read every file for the sections it belongs to.

    Raises
    ------
    DatasetError
        If a file belongs to none, a section has none, two say the same, or one is not what the
        mapping says.
    """
    sections = {name: getattr(says, name) for name in SECTIONS}
    sections = {name: section for name, section in sections.items() if section is not None}
    blocks: Blocks = {name: {} for name in sections}
    for file in files:
        keys: dict[str, PartialKey] = {}
        for name, section in sections.items():
            if file.is_table == (section.columns is not None):
                key = _key_by_name(file, section.files, says)
                if key is not None:
                    keys[name] = key
        if not keys:
            message = (
                "belongs to no source of the mapping: see files, array and columns of each; .npz "
                "and .npy files are read as arrays, every other one as CSV"
            )
            raise DatasetError(str(file.path), [Problem("", message)])
        found = (
            TableSource(file, keys, says).blocks()
            if file.is_table
            else array_blocks(file, keys, says)
        )
        for name, several in found.items():
            _add(blocks[name], several, keys[name], file)
    for name, several in blocks.items():
        if not several:
            problem = Problem(f"{name}.files", f"no file is {sections[name].files!r}")
            raise DatasetError("the files given", [problem])
    return blocks


def whole_steps(blocks: Blocks, says: Mapping) -> Iterator[tuple[StepKey, StepReadouts]]:
    """Yield the steps, sorted, each with all that belongs to it.

    Raises
    ------
    DatasetError
        If a step lacks something, or its parts do not fit each other; every problem is listed.
    """
    problems = []
    sizes: dict[tuple[int, int], str] = {}
    for step, key in sorted(_step_keys(blocks, says).items()):
        try:
            readouts = _readouts(blocks, key, step)
            _check_vectors(len(readouts.counts), says)
        except UnfitError as error:
            problems.append(Problem(step.name, str(error)))
            continue
        rows, columns = readouts.weights.shape
        sizes.setdefault((rows, columns), step.name)
        if not problems:
            yield step, readouts
    if len(sizes) > 1:
        shown = ", ".join(f"{name} {rows} x {columns}" for (rows, columns), name in sizes.items())
        problems.append(Problem("", f"its cores differ in rows x columns: {shown}"))
    if problems:
        raise DatasetError("the files given", problems)


def step_key(key: PartialKey, says: Mapping) -> StepKey:
    """Return the step of a key, with what the mapping says where the key does not.

    Raises
    ------
    UnfitError
        If nothing says its core or its read mode.
    """
    core = says.steps.core if key.core is None else key.core
    read_mode = says.steps.read_mode if key.read_mode is None else key.read_mode
    if core is None or read_mode is None:
        name = "core" if core is None else "read_mode"
        raise UnfitError(
            f"nothing says its {name}: give it an axis, a column, a placeholder in the name of "
            f"the file, or steps.{name}"
        )
    visit = says.steps.visit if key.visit is None else key.visit
    if says.visits is not None and visit >= len(says.visits.values):
        raise UnfitError(f"visit {visit}: visits.values has {len(says.visits.values)}")
    return StepKey(core, ReadMode(read_mode), visit=visit)


def _key_by_name(file: SourceFile, pattern: str, says: Mapping) -> PartialKey | None:
    try:
        return file_key(file, pattern, says)
    except ValueError as error:
        raise DatasetError(str(file.path), [Problem("", str(error))]) from error


def _add(
    known: dict[PartialKey, Block],
    found: dict[PartialKey, Block],
    by_name: PartialKey,
    file: SourceFile,
) -> None:
    for inside, block in found.items():
        try:
            key = by_name.joined(inside)
        except ValueError as error:
            raise DatasetError(str(file.path), [Problem("", str(error))]) from error
        if key in known:
            message = f"{key} is in {known[key].where} as well"
            raise DatasetError(str(file.path), [Problem("", message)])
        known[key] = block


def _step_keys(blocks: Blocks, says: Mapping) -> dict[StepKey, PartialKey]:
    steps: dict[StepKey, PartialKey] = {}
    for key, block in blocks["counts"].items():
        try:
            step = step_key(key, says)
        except UnfitError as error:
            raise DatasetError(block.where, [Problem(str(key), str(error))]) from error
        if step in steps:
            raise DatasetError(block.where, [Problem(step.name, "has counts twice")])
        steps[step] = key
    return steps


def _readouts(blocks: Blocks, key: PartialKey, step: StepKey) -> StepReadouts:
    whole = PartialKey(core=step.core, read_mode=step.read_mode, visit=step.visit)
    counts = blocks["counts"][key]
    inputs = _found(blocks, "inputs", whole)
    _check_same_vectors(counts, inputs)
    expected = _found(blocks, "expected", whole) if "expected" in blocks else None
    if expected is not None:
        _check_same_vectors(counts, expected)
    if "weights" in blocks:
        weights = _found(blocks, "weights", whole).codes.astype(np.int8)
    else:
        assert expected is not None  # noqa: S101 - the mapping has one of them
        weights = _weights_of(inputs.codes.astype(np.int8), expected.codes)
    rows, columns = weights.shape
    if rows != inputs.codes.shape[1]:
        raise UnfitError(f"its inputs have {inputs.codes.shape[1]} rows, its weights {rows}")
    if columns != counts.codes.shape[2]:
        raise UnfitError(f"its counts have {counts.codes.shape[2]} columns, its weights {columns}")
    if expected is not None:
        _check_expected(expected, inputs, weights)
    return StepReadouts(
        weights=weights,
        inputs=inputs.codes.astype(np.int8),
        counts=counts.codes.astype(np.uint16),
    )


def _found(blocks: Blocks, name: str, whole: PartialKey) -> Block:
    """Return the block of a source that is of a step, the one that says most of it."""
    fitting = [key for key in blocks[name] if key.fits(whole)]
    if not fitting:
        known = ", ".join(str(key) for key in list(blocks[name])[:4])
        raise UnfitError(f"no {name} are of it: they are of {known}")
    most = max(key.known for key in fitting)
    best = [key for key in fitting if key.known == most]
    if len(best) > 1:
        raise UnfitError(f"{name} are given twice for it: of {best[0]} and of {best[1]}")
    return blocks[name][best[0]]


def _check_same_vectors(counts: Block, other: Block) -> None:
    what = other.where.rsplit(": ", 1)[-1]
    if len(counts.codes) != len(other.codes):
        raise UnfitError(
            f"has {len(counts.codes)} vectors of counts and {len(other.codes)} of {what}"
        )
    if counts.vectors is None or other.vectors is None:
        return
    differ = np.flatnonzero(counts.vectors != other.vectors)
    if len(differ):
        first = int(differ[0])
        raise UnfitError(
            f"its counts have vector {counts.vectors[first]} where its {what} have "
            f"{other.vectors[first]}"
        )


def _check_vectors(vectors: int, says: Mapping) -> None:
    held_out = says.vectors.verification
    if vectors - held_out < LEAST_CALIBRATION:
        raise UnfitError(
            f"has {vectors} vectors, of which vectors.verification holds out {held_out}: must "
            f"leave {LEAST_CALIBRATION} for the fit"
        )


def _weights_of(
    inputs: npt.NDArray[np.int8], expected: npt.NDArray[np.generic]
) -> npt.NDArray[np.int8]:
    """Return the one matrix of whole weights that makes the expected outputs of the inputs."""
    rows = inputs.shape[1]
    driven = np.flatnonzero(inputs.any(axis=0))
    real = inputs[:, driven].astype(np.float64)
    solved, _, rank, _ = np.linalg.lstsq(real, expected.astype(np.float64), rcond=None)
    if rank < len(driven):
        raise UnfitError(
            f"its inputs tell {rank} rows apart of the {len(driven)} that are driven, so expected "
            "outputs do not tell the weights: give weights"
        )
    weights = np.zeros((rows, expected.shape[1]), dtype=np.int8)
    whole = np.rint(solved)
    if not (np.abs(whole) <= 127).all():
        raise UnfitError(
            f"its expected outputs need a weight of {whole.flat[np.abs(whole).argmax()]:.0f}: must "
            "be -127 to 127"
        )
    weights[driven] = whole
    return weights


def _check_expected(expected: Block, inputs: Block, weights: npt.NDArray[np.int8]) -> None:
    products = expected_outputs(inputs.codes.astype(np.int8), weights)
    if products.shape != expected.codes.shape:
        raise UnfitError(
            f"its expected outputs are of shape {expected.codes.shape}: inputs and weights make "
            f"{products.shape}"
        )
    wrong = np.argwhere(products != expected.codes)
    if len(wrong):
        vector, column = wrong[0].tolist()
        raise UnfitError(
            f"its expected output of vector {vector}, column {column} is "
            f"{expected.codes[vector, column]}: no whole weights make it, or those given make "
            f"{products[vector, column]}"
        )
