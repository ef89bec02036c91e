"""Every problem of a run is found, with its file; a whole one has none."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
import visited_run
from hil_datasets.integrity.finding import FindingKind
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.run_directory import RunDirectory
from hil_datasets.seal import seal_file

STEP = "steps/core00_one_phase.h5"
Change = Callable[[RunDirectory], object]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE)


def found_in(run: RunDirectory, *, is_quick: bool = False) -> list[tuple[str, str]]:
    """Return kind and file of every problem, in their order."""
    findings = verify_run(run.path, is_quick=is_quick).findings
    return [(str(finding.kind), finding.path) for finding in findings]


def rewrite_journal(run: RunDirectory, change: Callable[[list[bytes]], list[bytes]]) -> None:
    lines = run.journal_path.read_bytes().splitlines(keepends=True)
    run.journal_path.write_bytes(b"".join(change(lines)))


def reseal(path: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    seal_file(path)


@pytest.mark.parametrize("is_quick", [False, True])
def test_whole_run_has_no_problem(run: RunDirectory, is_quick: bool) -> None:
    assert found_in(run, is_quick=is_quick) == []


def test_run_with_visits_and_a_skipped_step_has_no_problem(tmp_path: Path) -> None:
    found = verify_run(visited_run.write_visited_run(tmp_path / "run").path)
    assert (found.findings, found.steps) == ((), 5)


def test_every_problem_is_found_and_not_only_the_first(run: RunDirectory) -> None:
    path = run.step_path(example.ONE)
    path.write_bytes(path.read_bytes()[:-1])
    run.step_path(example.OTHER_CORE).unlink()
    (run.path / "steps" / "core07_one_phase.h5.making").touch()
    run.campaign_path.write_bytes(b"other")
    run.index_path.unlink()
    rewrite_journal(run, lambda lines: [*lines[:-1], b"garbage\n", b'{"event": "st'])
    assert sorted(set(found_in(run))) == [
        ("checksum", STEP),
        ("hash", "campaign.toml"),
        ("reference", "steps/core02_one_phase.h5"),
        ("schema", "journal.jsonl"),
        ("schema", STEP),
        ("unfinished", "journal.jsonl"),
        ("unfinished", "steps/core07_one_phase.h5.making"),
    ]


def append_skip(run: RunDirectory) -> None:
    rewrite_journal(
        run,
        lambda lines: [
            lines[0].replace(b'"title"', b'"planned": ["core00_one_phase"], "title"'),
            *lines[1:-1],
            b'{"event": "skip", "step": "core09_one_phase", "core": 9, "read_mode": "one_phase"}\n',
            lines[-1],
        ],
    )


def of_another_chip(run: RunDirectory) -> None:
    other = replace(example.ORIGIN, chip=replace(example.CHIP, serial="43"))
    example.write_step(run.step_path(example.OTHER_CORE), example.OTHER_CORE, origin=other)


def flip_index_table(run: RunDirectory) -> None:
    with h5py.File(run.index_path, "r+") as index:
        index["correction/a_p"][0, 0, 1] = 0.125


def break_hash(run: RunDirectory) -> None:
    def change(file: h5py.File) -> None:
        file["raw"][0, 0, 0] = 99

    reseal(run.step_path(example.ONE), change)


def drop_a_block(run: RunDirectory) -> None:
    def change(file: h5py.File) -> None:
        file["timing/first_vector"][...] = [0, 1]

    reseal(run.step_path(example.ONE), change)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (append_skip, ("reference", "journal.jsonl")),
        (of_another_chip, ("foreign", "steps/core02_one_phase.h5")),
        (flip_index_table, ("hash", "campaign.h5")),
        (break_hash, ("hash", STEP)),
        (drop_a_block, ("sequence", STEP)),
        (lambda run: run.index_path.unlink(), ("reference", "campaign.h5")),
        (lambda run: (run.path / "steps/notes.txt").touch(), ("reference", "steps/notes.txt")),
        (
            lambda run: os.mkfifo(run.path / "steps/core05_one_phase.h5"),
            ("reference", "steps/core05_one_phase.h5"),
        ),
        (
            lambda run: rewrite_journal(run, lambda lines: lines[1:]),
            ("sequence", "journal.jsonl"),
        ),
        (
            lambda run: rewrite_journal(run, lambda lines: [*lines[:2], *lines[1:]]),
            ("sequence", "journal.jsonl"),
        ),
        (
            lambda run: rewrite_journal(run, lambda lines: [*lines, lines[1]]),
            ("sequence", "journal.jsonl"),
        ),
        (
            lambda run: rewrite_journal(run, lambda lines: lines[:-1]),
            ("unfinished", "journal.jsonl"),
        ),
        (
            lambda run: rewrite_journal(run, lambda lines: [lines[0], *lines[2:]]),
            ("reference", STEP),
        ),
    ],
    ids=[
        "skip_of_unknown_step",
        "other_chip",
        "index_table",
        "content_hash",
        "block_gap",
        "no_index",
        "stray_file",
        "pipe",
        "no_start",
        "finished_twice",
        "after_stop",
        "no_stop",
        "unnamed_step",
    ],
)
def test_problem_is_found_where_it_is(
    run: RunDirectory, change: Change, wanted: tuple[str, str]
) -> None:
    change(run)
    assert wanted in found_in(run)


def test_correction_of_a_step_that_is_not_there_is_found(tmp_path: Path) -> None:
    run = visited_run.write_visited_run(tmp_path / "run")
    rewrite_journal(
        run,
        lambda lines: [line for line in lines if b'"core": 0' not in line or b"step" not in line],
    )
    assert ("reference", run.path.name) not in found_in(run)
    names = [
        finding.path
        for finding in verify_run(run.path).findings
        if "correction_of" in finding.message
    ]
    assert names == ["steps/core00_one_phase_visit02_probe.h5"]


def test_suspect_readouts_are_held_to_the_journal(run: RunDirectory) -> None:
    (run.path / "suspect").mkdir()
    np.savez(run.path / "suspect/unnamed.npz", counts=np.zeros(3))
    stop = run.journal_path.read_bytes().splitlines(keepends=True)[-1]
    event = {"event": "suspect", "step": "core00_one_phase", "file": "suspect/gone.npz"}
    rewrite_journal(run, lambda lines: [*lines[:-1], json.dumps(event).encode() + b"\n", stop])
    assert found_in(run) == [
        ("schema", "suspect/unnamed.npz"),
        ("reference", "suspect/unnamed.npz"),
        ("reference", "suspect/gone.npz"),
    ]


def test_damaged_step_with_whole_readouts_says_so(run: RunDirectory) -> None:
    path = run.step_path(example.ONE)
    with h5py.File(path) as file:
        place = file["correction/a_p"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[place + 6] ^= 1
    path.write_bytes(content)
    found = verify_run(run.path)
    assert [(finding.kind, finding.where) for finding in found.findings] == [
        (FindingKind.CHECKSUM, "/"),
        (FindingKind.HASH, "/correction"),  # the id is of what it held
    ]
    assert found.notes == (
        f"{STEP}: its readouts still match their content hash: hil data repair saves them",
    )


def test_quick_check_reads_no_readouts(run: RunDirectory) -> None:
    break_hash(run)
    assert found_in(run, is_quick=True) == []
