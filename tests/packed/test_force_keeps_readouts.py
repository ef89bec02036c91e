"""`--force` replaces results, never the readouts of a packed run."""

from pathlib import Path

import pytest

import example_steps as example
from command_line import hil


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    run = example.write_run(tmp_path / "run", example.ONE)
    path = tmp_path / "run.hil.h5"
    assert hil("data", "pack", run.path, "-o", path, "--compress", "none").code == 0
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("data", "pack", "{run}", "--without-raw", "-o", "{packed}"),
        ("data", "pack", "{packed}", "--without-raw", "-o", "{packed}"),
        ("calibrate", "apply", "{packed}", "-o", "{packed}"),
        ("export", "{packed}", "--format", "json", "-o", "{packed}"),
        ("calibrate", "diff", "{packed}", "{run}", "--csv", "{packed}"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_packed_run_is_not_replaced_by_what_was_made_of_it(
    packed: Path, words: tuple[str, ...]
) -> None:
    before = packed.read_bytes()
    names = {"run": packed.with_name("run"), "packed": packed}
    done = hil(*(word.format(**names) for word in words), "--force")
    assert done.code == 3, done.stderr
    assert "--force does not replace" in done.stderr
    assert packed.read_bytes() == before


def test_pack_with_readouts_replaces_one_with_readouts(packed: Path) -> None:
    run = packed.with_name("run")
    before = packed.read_bytes()
    done = hil("data", "pack", run, "-o", packed, "--compress", "none", "--force")
    assert done.code == 0, done.stderr
    assert packed.read_bytes() == before
