"""Reading a run while it is written: real writers, killed and resumed, and none that notices."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
from benchmarks.run_differences import differences
from command_line import campaign_file, hil, start_hil
from hil.core.errors import DatasetError
from hil_datasets.following.run import FollowedBlock, FollowedNews, follow_run
from hil_datasets.run_directory import RunDirectory, create_run
from hil_datasets.step_files.part import StepLayout
from hil_datasets.step_files.writer import StepWriter

LAYOUT = StepLayout(blocks=(0, 2, 4), keeps_outputs=True, config_sha256="c0")
UTC = "2026-01-02T03:04:00+00:00"
PROFILE = """schema_version = 1
name = "small"
[array]
cores = 1
rows = 32
columns = 32
"""
VECTORS = "calibration = 64\nverification = 16\nblock = 8"


def begin(run: RunDirectory) -> StepWriter:
    return StepWriter(
        run.step_path(example.ONE),
        key=example.ONE,
        origin=example.ORIGIN,
        weights=example.WEIGHTS,
        layout=LAYOUT,
        clock=lambda: 0.0,
    )


def write(writer: StepWriter, first: int, *, added: int = 0) -> None:
    block = slice(first, first + 2)
    writer.write_block(
        first,
        inputs=example.INPUTS[block],
        counts=example.RAW[block] + np.uint16(added),
        expected=example.EXPECTED[block],
        outputs=example.OUTPUTS if first == 4 else None,
        times=(first + 0.5, first + 1.0),
    )


def stop(run: RunDirectory) -> None:
    run.journal.append("stop", utc=UTC, status="complete")


def finish(run: RunDirectory, writer: StepWriter) -> None:
    raw_sha256 = writer.finish(example.CONCLUSION, example.TIMING, example.CONDITIONS)
    run.journal.append("step", utc=UTC, core=0, read_mode="one_phase", raw_sha256=raw_sha256)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run that has begun, and has no step yet."""
    run = create_run(tmp_path / "run", example.CAMPAIGN)
    run.journal.append("start", utc=UTC, title="Tiny")
    return run


def followed(
    run: RunDirectory, *actions: Callable[[], object], from_start: bool = False
) -> list[FollowedBlock | FollowedNews]:
    """Return what is told of a run, with an action between each look and the next."""
    waiting: list[Callable[[], object]] = [*actions, lambda: stop(run)]

    def act() -> None:
        waiting.pop(0)()

    told: list[FollowedBlock | FollowedNews] = []
    for block in follow_run(
        run.path,
        from_start=from_start,
        on_news=told.append,
        on_idle=act,
        look_every_s=0,
    ):
        told.append(block)  # noqa: PERF402 - news come in between
    return told


def firsts(told: list[FollowedBlock | FollowedNews]) -> list[int]:
    return [each.first_vector for each in told if isinstance(each, FollowedBlock)]


def news(told: list[FollowedBlock | FollowedNews]) -> list[str]:
    return [each.words for each in told if isinstance(each, FollowedNews)]


def test_block_comes_once_with_all_that_was_written(run: RunDirectory) -> None:
    with begin(run) as writer:
        told = followed(run, lambda: write(writer, 0), lambda: None, lambda: write(writer, 2))
    assert firsts(told) == [0, 2]
    block = told[1]
    assert isinstance(block, FollowedBlock)
    assert block.counts.tolist() == [
        [[120, 121, 122], [20, 21, 22]],
        [[130, 131, 132], [30, 31, 32]],
    ]
    assert block.inputs.tolist() == [[0, 0, 1, 0], [127, -127, 1, -1]]
    assert block.expected.tolist() == [[-7, 8, 9], [-515, -754, 1152]]
    assert (block.step, block.vectors_in_step) == (example.ONE, 6)
    assert (block.began_s, block.ended_s, block.is_again) == (2.5, 3.0, False)


def test_what_was_there_before_comes_only_if_it_is_asked_for(run: RunDirectory) -> None:
    with begin(run) as writer:
        write(writer, 0)
        assert firsts(followed(run, lambda: write(writer, 2))) == [2]
        assert firsts(followed(run, from_start=True)) == [0, 2]


def test_blocks_of_a_step_that_was_finished_between_two_looks_all_come(run: RunDirectory) -> None:
    writer = begin(run)
    write(writer, 0)

    def write_the_rest() -> None:
        write(writer, 2)
        write(writer, 4)
        finish(run, writer)

    told = followed(run, write_the_rest)
    assert firsts(told) == [2, 4]
    assert news(told) == ["core00_one_phase is finished", "the run is over, complete"]


def test_step_whose_part_nobody_saw_comes_from_its_file(run: RunDirectory) -> None:
    def write_all() -> None:
        writer = begin(run)
        for first in (0, 2, 4):
            write(writer, first)
        finish(run, writer)

    told = followed(run, write_all)
    assert firsts(told) == [0, 4]  # the blocks that its timing tells of
    counts = [each.counts for each in told if isinstance(each, FollowedBlock)]
    assert np.concatenate(counts).tolist() == example.RAW.tolist()


def test_block_that_is_read_again_comes_again_and_says_so(run: RunDirectory) -> None:
    with begin(run) as writer:
        write(writer, 0)

        def go_back() -> None:
            writer.go_back_to(2)

        told = followed(
            run,
            lambda: write(writer, 2),
            go_back,
            lambda: write(writer, 2, added=7),
            lambda: write(writer, 4),
        )
    assert firsts(told) == [2, 2, 4]
    assert news(told) == [
        "core00_one_phase is read again from vector 2 on",
        "the run is over, complete",
    ]
    again = told[2]
    assert isinstance(again, FollowedBlock)
    assert again.is_again
    assert again.counts[0].tolist() == [[127, 128, 129], [27, 28, 29]]


def test_block_that_went_back_and_came_anew_between_two_looks_comes_again(
    run: RunDirectory,
) -> None:
    with begin(run) as writer:
        write(writer, 0)
        write(writer, 2)

        def read_again() -> None:
            writer.go_back_to(0)
            write(writer, 0)  # the same as before
            write(writer, 2, added=7)

        told = followed(run, read_again)
    assert firsts(told) == [2]
    again = next(each for each in told if isinstance(each, FollowedBlock))
    assert again.is_again
    assert again.counts[0].tolist() == [[127, 128, 129], [27, 28, 29]]


def test_block_whose_check_sum_does_not_fit_is_not_believed(run: RunDirectory) -> None:
    part = run.step_path(example.ONE).with_name("core00_one_phase.h5.part")
    with begin(run) as writer:
        with h5py.File(part, "r") as file:
            place = file["raw"].id.get_offset()

        def write_and_damage() -> None:
            write(writer, 0)
            with part.open("r+b") as file:
                file.seek(place)
                file.write(b"\xff")

        def mend() -> None:
            with part.open("r+b") as file:
                file.seek(place)
                file.write(b"\x64")  # 100, as in the example

        assert firsts(followed(run, write_and_damage)) == []
        run.journal.append("resume", utc=UTC)
        assert firsts(followed(run, mend, from_start=True)) == [0]


def test_half_a_head_is_read_again(run: RunDirectory) -> None:
    part = run.step_path(example.ONE).with_name("core00_one_phase.h5.part")
    with begin(run) as writer:
        write(writer, 0)
        write(writer, 2)
        head = part.read_bytes()[:512]

        def put(content: bytes) -> None:
            with part.open("r+b") as file:
                file.write(content)

        put(head[:40] + bytes(472))
        assert firsts(followed(run, lambda: None, lambda: put(head))) == [0, 2]


def test_step_that_is_begun_anew_comes_again(run: RunDirectory) -> None:
    with begin(run) as writer:
        write(writer, 0)

        def begin_again() -> None:
            with begin(run) as other:
                write(other, 0, added=9)

        told = followed(run, lambda: write(writer, 2), begin_again)
    assert firsts(told) == [2, 0]
    again = [each for each in told if isinstance(each, FollowedBlock)][-1]
    assert again.is_again
    assert again.counts[0].tolist() == [[109, 110, 111], [9, 10, 11]]


def test_part_that_is_no_hdf5_file_is_an_error_with_its_name(run: RunDirectory) -> None:
    part = run.path / "steps" / "core00_one_phase.h5.part"
    part.write_bytes(bytes(4096))
    with pytest.raises(DatasetError, match=r"core00_one_phase\.h5\.part: /: cannot be followed"):
        followed(run)


def test_following_changes_no_byte_of_a_run(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, example.FOUR)
    stop(run)

    def hashes() -> dict[Path, tuple[str, int]]:
        return {
            path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in sorted(run.path.rglob("*"))
            if path.is_file()
        }

    before = hashes()
    assert firsts(followed(run, from_start=True)) == [0, 4, 0, 4]
    assert hashes() == before


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """One core of a mock chip that takes 5 ms for each vector: steps of 0.4 s, ten blocks each."""
    (tmp_path / "small.toml").write_text(PROFILE)
    return campaign_file(
        tmp_path,
        campaign="cores = [0]",
        resource="mock://small.toml?vector_s=0.005",
        vectors=VECTORS,
    )


@pytest.fixture
def writing(campaign: Path) -> Iterator["subprocess.Popen[str]"]:
    """The campaign, running as a process of its own; at least one block of it is there."""
    with start_hil("run", campaign, "--quiet") as process:
        part = campaign.with_name("run") / "steps" / "core00_one_phase.h5.part"
        deadline = time.monotonic() + 60
        while not part.exists():
            assert time.monotonic() < deadline, "the campaign does not begin"
            time.sleep(0.01)
        try:
            yield process
        finally:
            process.kill()


def test_what_is_followed_of_a_killed_and_resumed_run_is_what_it_stores(
    campaign: Path, writing: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    run = campaign.with_name("run")
    heard: list[FollowedNews] = []
    blocks: list[FollowedBlock] = []
    resumed: list[subprocess.Popen[str]] = []

    def resume() -> None:
        if writing.poll() is not None and not resumed:
            resumed.append(start_hil("resume", run, "--quiet"))

    for block in follow_run(run, from_start=True, on_news=heard.append, on_idle=resume):
        blocks.append(block)
        if len(blocks) == 3:
            os.kill(writing.pid, signal.SIGKILL)
            writing.wait()
    assert resumed[0].wait(timeout=60) == 0
    resumed[0].communicate()
    # The run's own mock was killed with it: the resumed run programs anew, and begins anew.
    begun = next(number for number, block in enumerate(blocks) if block.is_again)
    told = [(block.step.name, block.first_vector, block.is_again) for block in blocks]
    assert told[:begun] == [("core00_one_phase", 8 * n, False) for n in range(begun)]
    assert [(name, first) for name, first, _ in told[begun:]] == [
        (f"core00_{mode}", first)
        for mode in ("one_phase", "four_phase")
        for first in range(0, 80, 8)
    ]
    for mode in ("one_phase", "four_phase"):
        mine = [block for block in blocks[begun:] if block.step.read_mode == mode]
        with h5py.File(run / "steps" / f"core00_{mode}.h5") as file:
            stored = [file[name][...] for name in ("raw", "inputs", "expected")]
        assert np.array_equal(stored[0], np.concatenate([block.counts for block in mine]))
        assert np.array_equal(stored[1], np.concatenate([block.inputs for block in mine]))
        assert np.array_equal(stored[2], np.concatenate([block.expected for block in mine]))
    assert "the run goes on: it was resumed" in [each.words for each in heard]
    assert hil("run", campaign, "--quiet", "--out", tmp_path / "alone").code == 0
    assert differences(run, tmp_path / "alone") == []


def test_ctrl_c_ends_the_command_at_once(campaign: Path, writing: "subprocess.Popen[str]") -> None:
    with start_hil("data", "follow", campaign.with_name("run"), "--from-start") as follower:
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(2)]
        assert lines[0] == "-- the run begins\n"
        assert lines[1].startswith("core00_one_phase: vectors 0 to 7 of 80, mean counts P ")
        os.kill(writing.pid, signal.SIGSTOP)  # nothing more comes, and the run is not over
        follower.send_signal(signal.SIGINT)
        _, stderr = follower.communicate(timeout=10)
    assert (follower.returncode, stderr) == (130, "interrupted\n")


def test_command_prints_an_object_for_each_block(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    stop(run)
    ended = hil("data", "follow", run.path, "--from-start", "--json")
    assert (ended.code, ended.stderr) == (0, "")
    begins, first, second, *_ = [json.loads(line) for line in ended.stdout.splitlines()]
    assert begins == {"event": "start", "step": "", "words": "the run begins"}
    assert first["step"] == "core00_one_phase"
    assert (first["first_vector"], first["vectors"], first["vectors_in_step"]) == (0, 4, 6)
    assert first["mean_counts"] == [116.0, 16.0]
    assert (second["first_vector"], second["vectors"]) == (4, 2)


def test_run_that_is_over_says_how_to_see_it(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    stop(run)
    ended = hil("data", "follow", run.path)
    assert (ended.code, ended.stdout) == (0, "")
    assert ended.stderr == "the run is over: --from-start shows what it has read\n"


def test_folder_without_a_run_cannot_be_followed(tmp_path: Path) -> None:
    ended = hil("data", "follow", tmp_path)
    assert ended.code == 5
    assert ended.stderr == f"error: {tmp_path}: no run: it has no journal.jsonl\n"
