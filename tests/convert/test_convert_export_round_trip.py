"""What is exported of a conversion is what numpy alone makes of the same recording."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from foreign_recordings import HEAD, convert, write_csv
from hil.cli import command_line

Floats = npt.NDArray[np.float64]

LSB_BITS = 7
"""A scale register of 8 bits holds up to 1.99: its code is the gain times 2**7."""


def exported(run: Path) -> dict[str, Any]:
    path = run.parent / "exported.json"
    arguments = ["export", str(run), "--format", "json", "-o", str(path)]
    ended = CliRunner().invoke(command_line, arguments)
    assert ended.exit_code == 0, ended.output
    (tile,) = json.loads(path.read_text())["cores"]
    return dict(tile)


def assert_is_that_of_numpy(
    tile: dict[str, Any], counts: Floats, products: Floats, *, held_out: int
) -> None:
    """Compare a tile with least squares of counts (vector, polarity, column) and products."""
    lsb = tile["output_lsb"]
    for column in range(counts.shape[2]):
        assert set(tile["flags"][column]) <= {"negative_gain", "poor_fit"}
        design = np.column_stack(
            [counts[:, 0, column], -counts[:, 1, column], np.ones(len(counts))]
        )
        y = products[:, column]
        line = np.linalg.lstsq(design[:-held_out], y[:-held_out], rcond=None)[0]
        scales = np.array([tile["scale_p"][column], tile["scale_n"][column]])
        assert tile["swap"][column] == (line[:2].sum() < 0)
        # The codes are rounded, and may be one off where a neighbour rounds the outputs better.
        codes = np.abs(line[:2]) / lsb * 2 ** (LSB_BITS + tile["shift"])
        assert np.abs(scales - codes).max() <= 1.5
        residual = (design[-held_out:] @ line - y[-held_out:]) / lsb
        rms = np.sqrt(np.mean(residual**2))
        assert tile["quality"]["residual_rms"][column] == pytest.approx(rms, rel=1e-6, abs=1e-9)
        assert tile["quality"]["glitch_share"][column] == 0


# Without shrinking, which costs half a second for each of hundreds of tries.
@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(
    rule=st.sampled_from(["difference", "pair"]),
    is_table=st.booleans(),
    columns=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_fits_are_exported_as_numpy_fits_their_counts(
    tmp_path_factory: pytest.TempPathFactory, rule: str, is_table: bool, columns: int, seed: int
) -> None:
    folder, rng = tmp_path_factory.mktemp("fits"), np.random.default_rng(seed)
    slope = rng.uniform(0.6, 2.4, (1 if rule == "difference" else 2, columns))
    if rule == "difference":
        slope *= rng.choice([-1, 1], slope.shape)
    intercept = rng.uniform(0, 9, slope.shape)
    mapping = HEAD.format(form="fits") + "[steps]\ncore = 0\n" + 'read_mode = "one_phase"\n'
    mapping += f'[fits]\nrule = "{rule}"\n'
    if is_table:
        sides = [] if rule == "difference" else ["polarity"]
        rows = [
            (
                column,
                repr(float(slope[sign, column])),
                repr(float(line)),
                *["PN"[sign] for _ in sides],
            )
            for (sign, column), line in np.ndenumerate(intercept)
        ]
        file = write_csv(folder / "f.csv", ["column", "slope", "intercept", *sides], rows)
    else:
        file, axes = folder / "f.npz", ["-" if rule == "difference" else "polarity", "column"]
        np.savez(file, slope=slope, intercept=intercept)
        mapping += f"axes = {json.dumps(axes)}\n"
    run = convert(folder, mapping, file).run.path
    with h5py.File(run / "steps" / "core00_one_phase.h5") as step:
        products = step["inputs"][...].astype(float) @ step["weights"][...].astype(float)
        stored = step["raw"][...]
    x = products[:, 0]
    assert (x.min(), x.max()) == (-127, 127)
    if rule == "difference":
        drawn = np.rint(x[:, None] * slope[0] + intercept[0])
        counts = np.stack([np.maximum(drawn, 0), np.maximum(-drawn, 0)], axis=1)
    else:
        driven = np.stack([np.maximum(x, 0), np.maximum(-x, 0)], axis=1)
        counts = np.rint(driven[:, :, None] * slope + intercept)
    np.testing.assert_array_equal(stored, counts)
    assert_is_that_of_numpy(exported(run), counts, products, held_out=256)


@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(
    axes=st.one_of(st.none(), st.permutations(["vector", "polarity", "column"])),
    columns=st.integers(1, 5),
    rows=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_raw_counts_are_exported_as_numpy_fits_them(
    tmp_path_factory: pytest.TempPathFactory,
    axes: list[str] | None,
    columns: int,
    rows: int,
    seed: int,
) -> None:
    folder, rng = tmp_path_factory.mktemp("counts"), np.random.default_rng(seed)
    inputs = rng.integers(-60, 61, (160, rows))
    weights = rng.choice([-3, -2, -1, 1, 2, 3], (rows, columns))
    parts = inputs[:, :, None] * weights
    both = np.stack([np.maximum(parts, 0).sum(axis=1), np.maximum(-parts, 0).sum(axis=1)], axis=1)
    gains = rng.uniform(0.4, 0.7, (2, columns))
    counts = np.rint(both * gains + 20 + rng.uniform(-4, 4, both.shape)).astype(np.int64)
    mapping = HEAD.format(form="counts") + '[steps]\ncore = 3\nread_mode = "four_phase"\n'
    mapping += "[vectors]\nverification = 60\n"
    if axes is None:  # CSV, one row a vector
        names = [f"{name}{n}" for name, of in (("x", rows), ("p", columns), ("n", columns))
                 for n in range(of)]  # fmt: skip
        table = np.hstack([inputs, counts[:, 0], counts[:, 1]])
        write_csv(folder / "c.csv", names, table.tolist())
        write_csv(folder / "w.csv", [f"w{n}" for n in range(columns)], weights.tolist())
        files = [folder / "c.csv", folder / "w.csv"]
        mapping += (
            '[counts]\nrule = "pair"\nfiles = "c.csv"\ncolumns = ["p{column}", "n{column}"]\n'
        )
        mapping += '[inputs]\nfiles = "c.csv"\ncolumns = ["x{row}"]\n'
        mapping += '[weights]\nfiles = "w.csv"\ncolumns = ["w{column}"]\n'
    else:
        files = [folder / "r.npz"]
        order = [["vector", "polarity", "column"].index(axis) for axis in axes]
        np.savez(files[0], c=counts.transpose(order), x=inputs.T, w=weights)
        mapping += f'[counts]\nrule = "pair"\narray = "c"\naxes = {json.dumps(list(axes))}\n'
        mapping += '[inputs]\narray = "x"\naxes = ["row", "vector"]\n'
        mapping += '[weights]\narray = "w"\naxes = ["row", "column"]\n'
    run = convert(folder, mapping, *files).run.path
    products = (inputs @ weights).astype(float)
    assert_is_that_of_numpy(exported(run), counts.astype(float), products, held_out=60)
