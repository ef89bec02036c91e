"""A C program with an exported header computes what the integer model computes."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from export_samples import COLUMNS, chip_named, sample_set
from extreme_counts import extreme_counts
from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, OffsetAt
from hil_calibration.nmpu import apply_nmpu
from hil_datasets.export.c_header import export_c_header

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc (Debian package gcc)")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
TRAPS = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
"""Whatever C leaves undefined ends the program."""

FORMATS = [
    NmpuFormat(),
    *(NmpuFormat(shift=3, rounding=rounding) for rounding in Rounding),
    *(NmpuFormat(shift=2, cut_pre=2, rounding=rounding) for rounding in Rounding),
    NmpuFormat(merge=Merge.PER_BRANCH, rounding=Rounding.HALF_AWAY),
    NmpuFormat(offset_at=OffsetAt.BEFORE_SHIFT, shift=4),
    NmpuFormat(offset_at=OffsetAt.BEFORE_SHIFT, merge=Merge.PER_BRANCH, saturate=False),
    NmpuFormat(saturate=False, acc_bits=9),
    NmpuFormat(symmetric=True, out_bits=5, off_bits=9),
    NmpuFormat(in_bits=16, scale_int=0, scale_frac=8, off_frac=0, off_bits=7, acc_bits=30),
    NmpuFormat(scale_frac=0, scale_int=8, off_frac=1, shift=1, shared_scale=True),
    NmpuFormat(off_int=14, off_frac=2, off_bits=16, acc_bits=24, in_bits=12),
]
PROGRAM = """\
#include <stdio.h>
{includes}
#define RUN(N, TILES) \\
    for (tile = 0; tile < TILES; tile++) \\
        for (vector = 0; vector < {vectors}; vector++) \\
            for (relu = 0; relu < 2; relu++) {{ \\
                int8_t codes[{columns}]; \\
                N##_outputs(&N##_tiles[tile], p[vector], n[vector], relu, codes); \\
                fwrite(codes, 1, {columns}, stdout); \\
            }}
int main(void)
{{
    static uint16_t p[{vectors}][{columns}], n[{vectors}][{columns}];
    int tile, vector, relu;
    if (fread(p, sizeof p, 1, stdin) != 1 || fread(n, sizeof n, 1, stdin) != 1) {{
        return 1;
    }}
{runs}
    return 0;
}}
"""


def compiled(folder: Path, source: str) -> Path:
    (folder / "main.c").write_text(source)
    command = [str(GCC), *STRICT, *TRAPS, "-O0", "main.c", "-o", "main"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "main"


def counts_for_all() -> npt.NDArray[np.uint16]:
    """Return counts, shape (vector, polarity, column): the ends of each format, and any between."""
    random = np.random.default_rng(7).integers(0, 1 << 12, (64, 2, COLUMNS)).astype(np.uint16)
    wide = np.random.default_rng(8).integers(0, 1 << 16, (16, 2, COLUMNS)).astype(np.uint16)
    ends = [extreme_counts(fmt, COLUMNS) for fmt in (FORMATS[0], FORMATS[-1])]
    return np.concatenate([random, wide, *ends])


@needs_gcc
def test_c_program_reproduces_the_integer_model_in_every_format(tmp_path: Path) -> None:
    sets = [sample_set(fmt) for fmt in FORMATS]
    for number, coefficients in enumerate(sets):
        (tmp_path / f"f{number}.h").write_bytes(export_c_header(coefficients, name=f"f{number}"))
    counts = counts_for_all()
    p, n = (np.ascontiguousarray(counts[:, polarity]) for polarity in (0, 1))
    source = PROGRAM.format(
        includes="\n".join(f'#include "f{number}.h"' for number in range(len(sets))),
        vectors=len(counts),
        columns=COLUMNS,
        runs="\n".join(f"    RUN(f{number}, F{number}_TILES)" for number in range(len(sets))),
    )
    done = subprocess.run(
        [compiled(tmp_path, source)],
        input=p.tobytes() + n.tobytes(),
        capture_output=True,
        check=True,
    )
    shape = (len(sets), 2, len(counts), 2, COLUMNS)
    outputs = np.frombuffer(done.stdout, np.int8).reshape(shape)
    for number, (fmt, coefficients) in enumerate(zip(FORMATS, sets, strict=True)):
        for at, tile in enumerate(coefficients.tiles):
            of_tile = fmt.with_shift(tile.shift)
            for relu in (0, 1):
                due = apply_nmpu(p, n, tile.registers, of_tile, relu=bool(relu))
                np.testing.assert_array_equal(outputs[number, at, :, relu], due, str(of_tile))


@needs_gcc
def test_program_finds_a_tile_by_core_and_read_mode_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "hil.h").write_bytes(export_c_header(sample_set()))
    source = """\
#include "hil.h"
int main(void)
{
    const hil_tile *tile = hil_find(3, HIL_ONE_PHASE);
    if (tile == NULL || tile->shift != 2 || hil_find(3, HIL_FOUR_PHASE) != NULL) {
        return 1;
    }
    return hil_find(0, HIL_FOUR_PHASE) == &hil_tiles[0] ? 0 : 2;
}
"""
    assert subprocess.run([compiled(tmp_path, source)], check=False).returncode == 0


@needs_gcc
def test_chip_whose_name_would_end_the_comment_does_no_harm(tmp_path: Path) -> None:
    chip = chip_named(model="*/ #error", serial="??/", manufacturer="a\\", firmware="/* µ")
    header = export_c_header(sample_set(chip=chip))
    (tmp_path / "hil.h").write_bytes(header)
    assert header.isascii()
    compiled(tmp_path, '#include "hil.h"\n#include "hil.h"\nint main(void)\n{\n    return 0;\n}\n')


def test_header_carries_the_hashes_it_was_made_from() -> None:
    header = export_c_header(sample_set()).decode()
    assert f" * campaign_sha256 {'c' * 64}\n" in header
    assert f" * raw_sha256 core03_one_phase {3:064x}\n" in header
