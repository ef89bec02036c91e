"""What is on the disk when the writing process dies or the disk is full; real processes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets.durable import finished_file
from hil_datasets.step_files.reader import read_step
from hil_datasets.step_files.writer import StepWriter

WRITE_BLOCKS = """
import sys
from pathlib import Path
import numpy as np
import example_steps as example
from dataclasses import replace
from hil_datasets.step_files.writer import StepWriter

origin = replace(example.ORIGIN, calibration_vectors=4096, verification_vectors=4096)
path, wait_after = Path(sys.argv[1]), int(sys.argv[2])
with StepWriter(path, key=example.ONE, origin=origin, weights=np.ones((64, 64), np.int8)) as writer:
    print("open", flush=True)
    if wait_after == 0:
        sys.stdin.read()
    for block in range(64):
        writer.write_block(
            128 * block,
            inputs=np.full((128, 64), block + 1, np.int8),
            counts=np.full((128, 2, 64), block + 1, np.uint16),
            expected=np.full((128, 64), block + 1, np.int32),
        )
        print(block + 1, flush=True)
        if wait_after == block + 1:
            sys.stdin.read()
"""
"""Writes blocks of 128 vectors, all of their elements the block's number from 1."""

WRITE_UNTIL_FULL = """
import resource, sys
from pathlib import Path
import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets.step_files.writer import StepWriter

def fill_disk(now):
    # Python ignores SIGXFSZ, so writing behind the limit fails, as on a full disk.
    if now == sys.argv[2]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))

path, key, origin = Path(sys.argv[1]), example.ONE, example.ORIGIN
vectors = {"inputs": example.INPUTS, "counts": example.RAW, "expected": example.EXPECTED}
try:
    fill_disk("create")
    with StepWriter(path, key=key, origin=origin, weights=example.WEIGHTS) as writer:
        fill_disk("write_block")
        writer.write_block(0, **vectors)
        fill_disk("finish")
        writer.finish(example.CONCLUSION)
except DatasetError as error:
    print(error)
else:
    print("finished")
"""


@contextmanager
def child(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script that finds the packages and test modules which this process finds."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{script}"]
        + [str(argument) for argument in arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def kill_after(path: Path, blocks: int, *, is_waiting: bool) -> int:
    """Kill a writer once it has reported blocks; return how many it reported in all."""
    with child(WRITE_BLOCKS, path, blocks if is_waiting else -1) as process:
        assert process.stdout is not None
        for _ in range(blocks + 1):
            assert process.stdout.readline(), process.communicate()[1]
        process.send_signal(signal.SIGKILL)
        process.wait()
        return blocks + len(process.stdout.readlines())


@pytest.mark.parametrize("blocks", [0, 1, 5])
def test_part_file_of_a_killed_writer_holds_every_written_block(
    tmp_path: Path, blocks: int
) -> None:
    path = tmp_path / "step.h5"
    kill_after(path, blocks, is_waiting=True)
    with h5py.File(tmp_path / "step.h5.part", "r") as file:
        raw = file["raw"][:, 0, 0].tolist()
        inputs = file["inputs"][:, 63].tolist()
        expected = file["expected"][:, 63].tolist()
    written = [block + 1 for block in range(blocks) for _ in range(128)]
    assert raw == inputs == expected == written + [0] * (8192 - len(written))


@pytest.mark.parametrize("blocks", [1, 7, 20])
def test_kill_in_the_middle_of_writing_loses_no_reported_block(tmp_path: Path, blocks: int) -> None:
    path = tmp_path / "step.h5"
    reported = kill_after(path, blocks, is_waiting=False)
    with h5py.File(tmp_path / "step.h5.part", "r") as file:
        raw = file["raw"][: 128 * reported, 1, 63].tolist()
        assert file.attrs["core"] == 0
    assert raw == [block + 1 for block in range(reported) for _ in range(128)]


def test_finished_name_does_not_exist_before_the_step_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    kill_after(path, 3, is_waiting=True)
    assert [found.name for found in tmp_path.iterdir()] == ["step.h5.part"]


def test_part_file_is_no_finished_step(tmp_path: Path) -> None:
    kill_after(tmp_path / "step.h5", 2, is_waiting=True)
    with pytest.raises(DatasetError, match=r"step\.h5\.part: /: is no finished step file"):
        read_step(tmp_path / "step.h5.part")


def test_only_the_finished_name_is_left_of_a_finished_step(tmp_path: Path) -> None:
    example.write_step(tmp_path / "step.h5")
    assert [found.name for found in tmp_path.iterdir()] == ["step.h5"]


def test_error_in_the_block_leaves_the_part_file(tmp_path: Path) -> None:
    path = tmp_path / "step.h5"
    with (
        pytest.raises(KeyboardInterrupt),
        StepWriter(path, key=example.ONE, origin=example.ORIGIN, weights=example.WEIGHTS),
    ):
        raise KeyboardInterrupt
    assert [found.name for found in tmp_path.iterdir()] == ["step.h5.part"]


@pytest.mark.parametrize(
    ("moment", "named"),
    [("create", "step.h5.part"), ("write_block", "step.h5.part"), ("finish", "step.h5")],
)
def test_full_disk_is_an_error_that_names_file_and_reason(
    tmp_path: Path, moment: str, named: str
) -> None:
    with child(WRITE_UNTIL_FULL, tmp_path / "step.h5", moment) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    assert stdout == f"{tmp_path / named}: cannot be written: File too large\n"
    assert not (tmp_path / "step.h5").exists()


def test_blocks_before_the_disk_was_full_stay_readable(tmp_path: Path) -> None:
    with child(WRITE_UNTIL_FULL, tmp_path / "step.h5", "finish") as process:
        process.communicate(timeout=60)
    with h5py.File(tmp_path / "step.h5.part", "r") as file:
        assert file["raw"][...].tolist() == example.RAW.tolist()


def test_step_is_finished_where_the_disk_has_room(tmp_path: Path) -> None:
    with child(WRITE_UNTIL_FULL, tmp_path / "step.h5", "never") as process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (0, "finished\n", "")
    assert read_step(tmp_path / "step.h5").key == example.ONE


def test_folder_that_is_not_there_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "step.h5"
    with pytest.raises(DatasetError, match=r"step\.h5\.part: cannot be written: No such file"):
        StepWriter(path, key=example.ONE, origin=example.ORIGIN, weights=example.WEIGHTS)


def test_finished_file_gets_its_name_with_its_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with finished_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert not part.exists()


def test_failed_file_leaves_the_old_one_and_its_part(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with finished_file(path) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_text() == "old"
    assert (tmp_path / "result.txt.part").read_text() == "half"
