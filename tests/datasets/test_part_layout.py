"""How the file of a step under construction lies on the disk, and that its notes are where h5py
looks for them, whether few blocks or many."""

from dataclasses import replace
from pathlib import Path

import google_crc32c
import h5py
import numpy as np
import pytest

import example_steps as example
from hil_datasets.step_files.part import StepLayout
from hil_datasets.step_files.writer import StepWriter
from hil_datasets.step_timing import BlockQuality


def writer_of(path: Path, *, vectors: int, rows: int, columns: int, block: int) -> StepWriter:
    origin = replace(
        example.ORIGIN,
        calibration_vectors=vectors,
        verification_vectors=0,
        rows_used=rows,
        columns_used=columns,
    )
    layout = StepLayout(
        blocks=tuple(range(0, vectors, block)), keeps_outputs=False, config_sha256="c0"
    )
    weights = np.zeros((rows, columns), np.int8)
    return StepWriter(path, key=example.ONE, origin=origin, weights=weights, layout=layout)


def offsets(path: Path) -> list[int]:
    with h5py.File(path.with_name("step.h5.part"), "r") as file:
        return [file[name].id.get_offset() for name in ("weights", "inputs", "raw", "expected")]


def test_large_values_begin_at_multiples_of_64_kib(tmp_path: Path) -> None:
    with writer_of(tmp_path / "step.h5", vectors=2048, rows=512, columns=256, block=512):
        places = offsets(tmp_path / "step.h5")
    assert places == sorted(places)
    assert [place % 65536 for place in places[1:]] == [0, 0, 0]


def test_small_files_get_no_gaps(tmp_path: Path) -> None:
    with writer_of(tmp_path / "step.h5", vectors=64, rows=16, columns=16, block=8):
        assert offsets(tmp_path / "step.h5") == sorted(offsets(tmp_path / "step.h5"))
    # 64 vectors of 16 + 64 + 64 bytes; the rest is HDF5's.
    assert (tmp_path / "step.h5.part").stat().st_size < 64 * 144 + 30_000


@pytest.mark.parametrize("blocks", [4, 3000])
def test_what_is_noted_of_each_block_is_there_at_once(tmp_path: Path, blocks: int) -> None:
    rng = np.random.default_rng(blocks)
    counts = rng.integers(0, 900, (blocks, 2, 3), np.uint16)
    with writer_of(tmp_path / "step.h5", vectors=blocks, rows=4, columns=3, block=1) as writer:
        for first in range(blocks):
            writer.write_block(
                first,
                inputs=np.zeros((1, 4), np.int8),
                counts=counts[first : first + 1],
                expected=np.zeros((1, 3), np.int32),
                times=(first + 0.25, first + 0.5),
                sequence=first + 7,
                quality=BlockQuality.LINK_FAULT if first % 2 else BlockQuality(0),
            )
        # The writer is still at work: nothing of this may wait in its memory.
        with h5py.File(tmp_path / "step.h5.part", "r", locking=False) as file:
            timing = {name: file[f"timing/{name}"][...] for name in file["timing"]}
    firsts = np.arange(blocks)
    assert np.array_equal(timing["began_s"], firsts + 0.25)
    assert np.array_equal(timing["ended_s"], firsts + 0.5)
    assert np.array_equal(timing["sequence"], firsts + 7)
    assert np.array_equal(timing["quality"], firsts % 2)
    assert timing["crc32c"].tolist() == [google_crc32c.value(one.tobytes()) for one in counts]
