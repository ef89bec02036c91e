"""Hundreds of damaged and hostile packed files: each is named as damaged, or proven whole."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import example_steps as example
from damaged_files import mutated
from hil.core.errors import DatasetError
from hil_datasets.integrity.finding import FindingKind
from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError
from hil_datasets.packed.compression import COMPRESSIONS
from hil_datasets.packed.pack import PackOptions, pack_run
from hil_datasets.packed.pack_verify import verify_pack
from hil_datasets.packed.packed_run import open_packed
from hil_datasets.seal import seal_file
from packed.hostile_packs import FORM, HOSTILE, hostile_packs

FILES = int(os.environ.get("HIL_FUZZED_FILES", "60"))
STEP = f"entry/steps/{example.ONE.name}"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    run = example.write_run(folder / "run", example.ONE)
    path = folder / "run.hil.h5"
    pack_run(run, path, PackOptions(compression=COMPRESSIONS["gzip"]))
    return path


@pytest.fixture(scope="module")
def hostile(packed: Path) -> list[bytes]:
    return hostile_packs(packed.parent, packed.read_bytes(), STEP)


def asked(reader: GuardedReader, path: Path, folder: Path) -> list[dict[str, Any]]:
    """Return what verify hears of a packed file of one step."""
    folder.mkdir(exist_ok=True)
    answers: list[dict[str, Any]] = []
    other_bytes = 15 * path.stat().st_size
    for what, details in (
        ("pack", {"folder": str(folder)}),
        ("packed_step", {"name": example.ONE.name, "has_readouts": True}),
    ):
        try:
            answers += reader.ask(what, path, other_bytes=other_bytes, **details)
        except ReaderEndedError as error:
            answers += [*error.said, {"problem": ["unreadable", "", str(error)]}]
    return answers


def test_damage_is_named_or_the_readouts_are_proven_whole(
    packed: Path, hostile: list[bytes], tmp_path: Path
) -> None:
    whole = packed.read_bytes()
    path = tmp_path / "damaged.hil.h5"
    wanted = open_packed(packed).events()[1]["raw_sha256"]
    unproven, outcomes, unnoticed = [], Counter[str](), []
    with GuardedReader(patience_s=3) as reader:
        for seed in range(FILES):
            content, is_sealed = mutated(whole, hostile, seed)
            path.write_bytes(content)
            if is_sealed and len(content) > 512:
                seal_file(path, form=FORM)
            answers = asked(reader, path, tmp_path / "files")
            has_problem = any(answer.keys() - {"facts", "pack"} for answer in answers)
            outcomes["named" if has_problem else "whole"] += 1
            proven = [answer["facts"].get("raw_sha256") for answer in answers if "facts" in answer]
            if not has_problem and proven != [wanted]:
                unproven.append((seed, answers))
            if seed % 4 == 0:  # damaged, and not sealed again
                unnoticed += [] if _is_refused(path) else [seed]
    assert unproven == []
    assert unnoticed == []
    assert outcomes["named"] + outcomes["whole"] == FILES
    # Sealed again, a flip in an attribute or in a conclusion is not to be told from the truth.
    assert outcomes["named"] > 0.7 * FILES
    print(dict(outcomes), "readers ended:", reader.deaths)  # noqa: T201 - with -s, of a full run


def _is_refused(path: Path) -> bool:
    try:
        open_packed(path)
    except DatasetError:
        return True
    return False


def test_every_hostile_file_is_named_without_ending_its_reader(
    packed: Path, hostile: list[bytes], tmp_path: Path
) -> None:
    path = packed.with_name("hostile.hil.h5")
    unnamed = []
    with GuardedReader(patience_s=10) as reader:
        for place, content in enumerate(hostile):
            path.write_bytes(content)
            answers = asked(reader, path, tmp_path / "files")
            is_named = any("problem" in answer for answer in answers)
            # Each part is in order, and they do not fit together.
            if not is_named and verify_pack(path, patience_s=10).is_whole:
                unnamed.append(HOSTILE[place])
        assert reader.deaths == 0
    assert unnamed == []


def test_whole_file_is_whole(packed: Path) -> None:
    assert verify_pack(packed).findings == ()


def test_flipped_bit_is_named_and_the_whole_step_is_told(packed: Path, tmp_path: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[content.rindex(b"Tiny")] ^= 1  # the title of the run, or of its plot
    path = tmp_path / "flipped.hil.h5"
    path.write_bytes(content)
    found = verify_pack(path)
    assert [(one.kind, one.path) for one in found.findings] == [
        (FindingKind.CHECKSUM, "flipped.hil.h5")
    ]
    assert found.notes == (f"/{STEP}: its readouts match their content hash",)
