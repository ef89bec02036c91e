"""A real layer as a workload: its weight matrix over cores, its inputs as vectors."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, Problem
from hil.core.npz_file import read_npy, read_npz


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A weight matrix and input vectors to multiply it with."""

    weights: npt.NDArray[np.int8]
    """Shape (row, column)."""
    inputs: npt.NDArray[np.int8] | None
    """Shape (vector, row); None where the campaign draws its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """The part of a weight matrix that one core holds."""

    rows: slice
    """Rows of the matrix."""
    columns: slice
    """Columns of the matrix."""


def load_workload(path: Path) -> Workload:
    """Read weights int8 (row, column), and input vectors int8 (vector, row) where there are any.

    Parameters
    ----------
    path
        An ``.npz`` with ``weights`` and perhaps ``inputs``, or an ``.npy`` of the weights.

    Raises
    ------
    ConfigError
        If it is missing or damaged, or the arrays are not those; every problem is listed.
    """
    if path.suffix == ".npy":
        arrays = {"weights": read_npy(path)}
    else:
        arrays = read_npz(path, ("weights", "inputs"))
    problems = []
    if "weights" not in arrays:
        problems.append(Problem("weights", "this array is missing"))
    for name, array in arrays.items():
        if array.dtype != np.int8 or array.ndim != 2 or 0 in array.shape:
            problems.append(
                Problem(
                    name,
                    f"is {array.dtype} of shape {array.shape}: must be int8, two axes; integers "
                    "of -127 to 127 convert with .astype(np.int8)",
                )
            )
        elif array.min() < -127:
            problems.append(Problem(name, "holds -128: sign and magnitude reach -127 to 127"))
    inputs = arrays.get("inputs")
    if not problems and inputs is not None and len(arrays["weights"]) != inputs.shape[1]:
        rows = len(arrays["weights"])
        problems.append(Problem("inputs", f"have {inputs.shape[1]} rows, the weights {rows}"))
    if problems:
        raise ConfigError(str(path), problems)
    return Workload(weights=arrays["weights"], inputs=inputs)


def cut_into_tiles(shape: tuple[int, int], *, rows: int, columns: int) -> list[Tile]:
    """Cut a matrix into as few tiles as fit cores of the given size, as even as can be.

    Examples
    --------
    576 rows need three cores of 256, 192 rows each:

    >>> [tile.rows for tile in cut_into_tiles((576, 64), rows=256, columns=256)]
    [slice(0, 192, None), slice(192, 384, None), slice(384, 576, None)]
    """
    return [
        Tile(rows=row_slice, columns=column_slice)
        for column_slice in _cut_evenly(shape[1], columns)
        for row_slice in _cut_evenly(shape[0], rows)
    ]


def _cut_evenly(length: int, largest: int) -> list[slice]:
    pieces = -(-length // largest)
    edges = [length * piece // pieces for piece in range(pieces + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]
