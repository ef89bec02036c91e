"""Verilog reads an exported image into a memory and finds every register in its place."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from export_samples import COLUMNS, sample_set
from hil.core.nmpu_format import NmpuFormat
from hil_datasets.export.exporter import READMEMH, ExportRequest

IVERILOG = shutil.which("iverilog")
needs_iverilog = pytest.mark.skipif(
    IVERILOG is None, reason="needs Icarus Verilog (Debian package iverilog)"
)
BENCH = """\
module bench;
`include "image.svh"
reg [HIL_WORD_BITS-1:0] words [0:HIL_WORDS-1];
reg signed [HIL_OFFSET_BITS-1:0] offset;
integer tile, column;
initial begin
    $readmemh("image.mem", words);
    for (tile = 0; tile < HIL_TILES; tile = tile + 1)
        for (column = 0; column < HIL_COLUMNS; column = column + 1) begin
            offset = words[tile * HIL_COLUMNS + column][HIL_OFFSET_LSB +: HIL_OFFSET_BITS];
            $display("%0d %0d %0d %0d %0d %0d %0d %0d",
                HIL_CORES[16 * tile +: 16], HIL_FOUR_PHASE[tile], HIL_SHIFTS[4 * tile +: 4],
                column,
                words[tile * HIL_COLUMNS + column][HIL_SCALE_P_LSB +: HIL_SCALE_P_BITS],
                words[tile * HIL_COLUMNS + column][HIL_SCALE_N_LSB +: HIL_SCALE_N_BITS],
                offset,
                words[tile * HIL_COLUMNS + column][HIL_SWAP_LSB]);
        end
end
endmodule
"""


@needs_iverilog
@pytest.mark.parametrize(
    "fmt",
    [
        NmpuFormat(shift=1),
        NmpuFormat(scale_int=1, scale_frac=3, off_int=4, off_bits=6),
        NmpuFormat(off_int=14, off_frac=2, off_bits=16),
    ],
    ids=["25_bits", "15_bits", "33_bits"],
)
def test_verilog_reads_every_register_of_every_tile(tmp_path: Path, fmt: NmpuFormat) -> None:
    coefficients = sample_set(fmt)
    assert READMEMH.make_files is not None
    for name, content in READMEMH.make_files(
        coefficients, ExportRequest(file_name="image.mem")
    ).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "bench.v").write_text(BENCH)
    build = [str(IVERILOG), "-g2012", "-Wall", "-o", "bench", "bench.v"]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(["./bench"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    found = [[int(word) for word in line.split()] for line in ran.stdout.splitlines()]
    due = []
    for tile, (core, four_phase) in zip(coefficients.tiles, ((0, 1), (3, 0)), strict=True):
        codes = tile.registers.to_codes().T.tolist()
        due += [[core, four_phase, tile.shift, at, *codes[at]] for at in range(COLUMNS)]
    assert found == due


def test_image_says_what_it_was_made_from_and_where_each_tile_begins() -> None:
    image = READMEMH.export(sample_set()).decode()
    assert f"// raw_sha256 core03_one_phase {3:064x}\n" in image
    assert re.findall(r"^@(\w+)$", image, re.MULTILINE) == ["0", f"{COLUMNS:x}"]
