"""A damaged recording is an error of this project or gives codes; never another exception."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from foreign_recordings import HEAD, WEIGHTS, counts_of, inputs_of
from hil.cli import command_line
from hil.core.errors import HilError
from hil.recorded.convert.mapping_check import LoadedMapping, load_mapping
from hil.recorded.convert.readouts import read_blocks, whole_steps
from hil.recorded.convert.source_file import hash_sources

MAPPING = (
    HEAD.format(form="counts")
    + '[steps]\nread_mode = "four_phase"\n[csv]\ncore = "core"\nvector = "v"\n'
    + "[vectors]\nverification = 8\n"
    + '[counts]\nrule = "pair"\nfiles = "c.csv"\ncolumns = ["p{column}", "n{column}"]\n'
    + '[inputs]\nfiles = "c.csv"\ncolumns = ["x{row}"]\n'
    + '[weights]\narray = "w"\naxes = ["row", "column"]\n'
)


@pytest.fixture
def mapping(tmp_path: Path) -> LoadedMapping:
    inputs = inputs_of(40)
    lines = ["core,v,x0,x1,x2,x3,p0,p1,p2,n0,n1,n2"]
    for vector, (x, counts) in enumerate(zip(inputs, counts_of(inputs), strict=True)):
        lines.append(",".join(map(str, (3, vector, *x, *counts.reshape(-1)))))
    (tmp_path / "c.csv").write_text("\n".join(lines) + "\n")
    np.savez_compressed(tmp_path / "w.npz", w=WEIGHTS.astype(np.int8))
    (tmp_path / "map.toml").write_text(MAPPING)
    return load_mapping(tmp_path / "map.toml")


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    match rng.integers(4):
        case 0:
            changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
        case 1:
            del changed[rng.integers(len(changed)) :]
        case 2:
            at = int(rng.integers(len(changed)))
            changed[at:at] = rng.bytes(int(rng.integers(1, 40)))
        case _:
            first, second = sorted(rng.integers(len(changed), size=2).tolist())
            del changed[first:second]
    return bytes(changed)


@pytest.mark.parametrize("name", ["c.csv", "w.npz"])
def test_two_hundred_damaged_files_raise_nothing_foreign(
    tmp_path: Path, mapping: LoadedMapping, name: str
) -> None:
    rng = np.random.default_rng(8)
    whole = (tmp_path / name).read_bytes()
    refused = 0
    for _ in range(200):
        (tmp_path / name).write_bytes(mutated(whole, rng))
        try:
            files = hash_sources([tmp_path / "c.csv", tmp_path / "w.npz"])
            for _, readouts in whole_steps(read_blocks(files, mapping.says), mapping.says):
                assert readouts.counts.max() < 1 << 12
                assert readouts.inputs.min() >= -127
        except HilError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("mapped", "counts", "expected"),
    [
        ("title = 3", None, (3, "title: Input should be a valid string, got 3")),
        (MAPPING, "core,v\n1,2\n", (5, "c.csv: 3 problems:")),
        (MAPPING, None, (3, "absent.csv: no such file")),
    ],
    ids=["mapping", "recording", "missing file"],
)
def test_exit_code_tells_what_is_wrong(
    tmp_path: Path,
    mapping: LoadedMapping,
    mapped: str,
    counts: str | None,
    expected: tuple[int, str],
) -> None:
    mapping.path.write_text(mapped)
    if counts is not None:
        (tmp_path / "c.csv").write_text(counts)
    files = [tmp_path / ("c.csv" if counts else "absent.csv"), tmp_path / "w.npz"]
    arguments = [*files, "--map", mapping.path, "--out", tmp_path / "run"]
    ended = CliRunner().invoke(command_line, ["data", "convert", *map(str, arguments)])
    assert ended.exit_code == expected[0]
    assert expected[1] in ended.output
    assert not (tmp_path / "run").exists()
