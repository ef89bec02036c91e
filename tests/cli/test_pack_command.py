"""``hil data pack`` and ``unpack`` as a user meets them."""

from pathlib import Path

import pytest

import example_steps as example
from command_line import hil


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example.write_run(tmp_path_factory.mktemp("runs") / "run", example.ONE).path


@pytest.fixture(scope="module")
def packed(run: Path) -> Path:
    path = run.parent / "run.hil.h5"
    said = hil("data", "pack", run, "-o", path, "--compress", "gzip")
    assert (said.code, said.stderr) == (0, "")
    assert said.stdout.startswith(f"{path}: 1 steps, ")
    return path


def test_packed_run_is_verified_shown_and_unpacked(packed: Path, run: Path, tmp_path: Path) -> None:
    assert hil("data", "verify", packed).code == 0
    tree = hil("data", "tree", packed).stdout
    assert "raw  uint16  vector 6 x polarity 2 x column 3  (count)" in tree
    out = tmp_path / "unpacked"
    said = hil("data", "unpack", packed, "--out", out)
    assert (said.code, said.stdout) == (0, f"{out}: 1 steps\n")
    assert (out / "journal.jsonl").read_bytes() == (run / "journal.jsonl").read_bytes()


def test_damage_is_named_and_ends_with_1(packed: Path, tmp_path: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[-100] ^= 1
    damaged = tmp_path / "damaged.hil.h5"
    damaged.write_bytes(content)
    said = hil("data", "verify", damaged)
    assert said.code == 1
    assert "do not match their SHA-256 [checksum]" in said.stdout


def test_file_that_exists_is_replaced_only_with_force(packed: Path, run: Path) -> None:
    before = packed.read_bytes()
    said = hil("data", "pack", run, "-o", packed, "--without-raw")
    assert said.code == 3
    assert said.stderr == f"error: {packed}: exists; use --force to replace it\n"
    assert packed.read_bytes() == before
    assert hil("data", "pack", run, "-o", packed, "--compress", "gzip", "--force").code == 0
    assert packed.read_bytes() == before


def test_file_without_readouts_cannot_be_unpacked(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "facts.hil.h5"
    assert hil("data", "pack", run, "-o", path, "--without-raw").code == 0
    said = hil("data", "unpack", path, "--out", tmp_path / "out")
    assert said.code == 5
    assert "was packed without its readouts" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--portable", "--compress", "blosc2-zstd"), 3, "with --portable it must be none or gzip"),
        (("--compress", "zip"), 2, "'zip' is not one of"),
    ],
)
def test_option_that_cannot_be_meant_is_an_error(
    run: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    said = hil("data", "pack", run, "-o", tmp_path / "no.hil.h5", *arguments)
    assert said.code == code
    assert message in said.stderr
    assert not (tmp_path / "no.hil.h5").exists()


@pytest.mark.parametrize("place", ["no-folder/run.hil.h5", "run.hil.h5/run.hil.h5"])
def test_place_that_cannot_be_written_is_an_error(run: Path, packed: Path, place: str) -> None:
    said = hil("data", "pack", run, "-o", packed.parent / place)
    assert said.code == 3
    assert "cannot be" in said.stderr


def test_what_is_no_packed_file_is_not_unpacked(run: Path, tmp_path: Path) -> None:
    for path in (run / "journal.jsonl", run, tmp_path / "none"):
        said = hil("data", "unpack", path, "--out", tmp_path / "out")
        assert said.code == 5
        assert said.stderr.startswith(f"error: {path}: ")
    assert not (tmp_path / "out").exists()
