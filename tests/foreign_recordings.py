"""Recordings as other laboratories keep them: made with numpy and text alone, their gains known.

The chip of the raw recordings counts ``P = 2 p + 5`` and ``N = 3 n + 4`` in column 0, where p and n
are the sums of the positive and of the negative products; ``P = p + 9`` and ``N = 2 n + 1`` in
column 1; ``P = 3 p`` and ``N = n + 30`` in column 2. So y = p - n is a_p P - a_n N + b with

======  ====  ====  ===========
column  a_p   a_n   b
======  ====  ====  ===========
0       1/2   1/3   -5/2 + 4/3
1       1     1/2   -9 + 1/2
2       1/3   1     30
======  ====  ====  ===========
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hil.campaign.run_job import RunOutcome
from hil.recorded.convert.conversion import convert_files
from hil.recorded.convert.mapping_check import load_mapping
from hil.scale.pool import open_pool

IntArray = npt.NDArray[np.int64]

A_P = [1 / 2, 1.0, 1 / 3]
A_N = [1 / 3, 1 / 2, 1.0]
B = [-5 / 2 + 4 / 3, -9 + 1 / 2, 30.0]

WEIGHTS = np.array([[5, -3, 1], [-4, 2, 5], [3, -5, -2], [-1, 4, -5]])
"""Shape (row, column)."""

HEAD = """\
schema_version = 1
title = "From elsewhere"
form = "{form}"

[chip]
manufacturer = "Elsewhere"
model = "RRAM"
serial = "A-7"

[measured]
utc = "2024-02-03T04:05:06+00:00"
temperature_c = 27.5
"""


def inputs_of(vectors: int, *, seed: int = 1) -> IntArray:
    """Return inputs (vector, row)."""
    return np.random.default_rng(seed).integers(-15, 16, (vectors, len(WEIGHTS)))


def counts_of(inputs: IntArray, weights: IntArray = WEIGHTS) -> IntArray:
    """Return counts (vector, polarity, column) of the chip."""
    products = inputs[:, :, None] * weights[None]
    p = np.maximum(products, 0).sum(axis=1)
    n = np.maximum(-products, 0).sum(axis=1)
    return np.stack([p * [2, 1, 3] + [5, 9, 0], n * [3, 2, 1] + [4, 1, 30]], axis=1)


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """Write a CSV file."""
    lines = [",".join(header), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_weights(path: Path, weights: IntArray = WEIGHTS) -> Path:
    """Write weights, a line for each row."""
    return write_csv(path, [f"w{column}" for column in range(weights.shape[1])], weights.tolist())


def convert(
    folder: Path, mapping: str, *files: Path, out: str = "run", workers: int = 1
) -> RunOutcome:
    """Convert files by the text of a mapping; the run is in the folder."""
    path = folder / "map.toml"
    path.write_text(mapping)
    with open_pool(workers=workers) as pool:
        return convert_files(
            files,
            load_mapping(path),
            out=folder / out,
            pool=pool,
            now=lambda: datetime(2026, 1, 2, tzinfo=UTC),
        )


def gains(step: Path) -> dict[str, Any]:
    """Return the correction of a step file in product units, and its flags, read by h5py alone."""
    with h5py.File(step, "r") as file:
        lsb = file["correction"].attrs["output_lsb"]
        found = {name: file[f"correction/{name}"][...] * lsb for name in ("a_p", "a_n", "b")}
        return found | {"flags": file["coefficients/flags"][...]}
