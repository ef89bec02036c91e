"""Hundreds of damaged and hostile files: each is named as damaged, or proven whole.

HDF5 sees them in a process with a limit on its memory and a deadline. Where it crashes or hangs,
that is told as a problem of the file; the process that asks goes on.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import example_steps as example
from damaged_files import HOSTILE, hostile_files, mutated
from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError
from hil_datasets.integrity.index_check import words_of
from hil_datasets.run_directory import RunDirectory
from hil_datasets.seal import seal_file
from hil_datasets.step_files.part import StepLayout
from hil_datasets.step_files.writer import StepWriter

FILES = int(os.environ.get("HIL_FUZZED_FILES", "500"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return example.write_run(tmp_path_factory.mktemp("fuzz") / "run", example.ONE)


def asked(reader: GuardedReader, what: str, path: Path, **details: Any) -> list[dict[str, Any]]:
    """Return the answers; a reader that has ended says so itself."""
    try:
        return reader.ask(what, path, **details)
    except ReaderEndedError as error:
        return [*error.said, {"problem": ["unreadable", "", str(error)]}]


def test_damage_is_named_or_the_readouts_are_proven_whole(run: RunDirectory) -> None:
    path = run.step_path(example.ONE)
    whole, wanted = path.read_bytes(), run.events()[1]["raw_sha256"]
    hostile = hostile_files(run.path, whole)
    unproven, outcomes = [], Counter[str]()
    with GuardedReader(patience_s=3) as reader:
        for seed in range(FILES):
            content, is_sealed = mutated(whole, hostile, seed)
            path.write_bytes(content)
            if is_sealed and len(content) > 512:
                seal_file(path)
            answers = asked(reader, "step", path)
            has_problem = any("facts" not in answer for answer in answers)
            outcomes["named" if has_problem else "whole"] += 1
            proven = [answer["facts"].get("raw_sha256") for answer in answers if "facts" in answer]
            if not has_problem and proven != [wanted]:
                unproven.append((seed, answers))
        path.write_bytes(whole)
        assert not any("problem" in answer for answer in asked(reader, "step", path))
    assert unproven == []
    assert outcomes["named"] + outcomes["whole"] == FILES
    # Sealed again, a flip in an attribute or in a conclusion is not to be told from the truth.
    assert outcomes["named"] > 0.7 * FILES


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_file_is_refused_without_ending_its_reader(run: RunDirectory, place: int) -> None:
    whole = run.step_path(example.ONE).read_bytes()
    path = run.path / "hostile.h5"
    path.write_bytes(hostile_files(run.path, whole)[place])
    with GuardedReader(patience_s=10) as reader:
        kinds = {answer["problem"][0] for answer in reader.ask("step", path) if "problem" in answer}
    assert kinds
    assert kinds <= {"schema", "hash"}


def test_damaged_index_is_named_or_says_what_the_steps_say(run: RunDirectory) -> None:
    path = run.index_path
    whole = path.read_bytes()
    keys = [words_of(example.ONE)]
    named = 0
    with GuardedReader(patience_s=3) as reader:
        for seed in range(FILES // 25):
            content, _ = mutated(whole, [whole], 4 * seed)
            path.write_bytes(content)
            answers = asked(reader, "index", path, keys=keys, compares=True)
            named += any("problem" in answer for answer in answers)
        path.write_bytes(whole)
        assert asked(reader, "index", path, keys=keys, compares=True) == []
    assert named > 0.3 * (FILES // 25)  # the rest lies where nothing is stored


def test_damaged_part_never_claims_vectors_that_were_not_read(tmp_path: Path) -> None:
    layout = StepLayout(blocks=(0, 2, 4), keeps_outputs=False, config_sha256="c0")
    final = tmp_path / "step.h5"
    with StepWriter(
        final, key=example.ONE, origin=example.ORIGIN, weights=example.WEIGHTS, layout=layout
    ) as writer:
        for first in (0, 2):
            block = slice(first, first + 2)
            writer.write_block(
                first,
                inputs=example.INPUTS[block],
                counts=example.RAW[block],
                expected=example.EXPECTED[block],
                times=(first + 0.5, first + 1.0),
            )
    path = tmp_path / "step.h5.part"
    whole = path.read_bytes()
    places = [whole.find(array[:4].tobytes()) for array in (example.RAW, example.INPUTS)]
    with GuardedReader(patience_s=3) as reader:
        assert reader.ask("part", path) == [{"state": [4, 4, 6]}]
        for place in places:
            damaged = bytearray(whole)
            damaged[place] ^= 1
            path.write_bytes(damaged)
            assert reader.ask("part", path) == [{"state": [0, 4, 6]}]
        for seed in range(FILES // 16):
            path.write_bytes(mutated(whole, [whole], 4 * seed)[0])
            assert asked(reader, "part", path)
