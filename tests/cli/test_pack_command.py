"""``hil data pack`` and ``unpack`` as a user meets them."""

import subprocess
import sys
from pathlib import Path

import h5py
import pytest

import example_steps as example
from command_line import campaign_file, hil


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
        (("--portable", "--compress", "any"), 3, "with --portable it must be none or gzip"),
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


@pytest.fixture(scope="module")
def larger_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with enough readouts for a trial: 1 MiB or more."""
    folder = tmp_path_factory.mktemp("larger")
    vectors = "calibration = 544\nverification = 32"  # each has 1 byte a row and 8 bytes a column
    options = "cores = [0]\nread_modes = ['one_phase']"
    path = campaign_file(folder, campaign=options, vectors=vectors)
    ended = hil("run", path, "--quiet")
    assert ended.code == 0, ended.stderr
    return folder / "run"


def test_file_is_packed_so_that_every_reader_opens_it(larger_run: Path) -> None:
    path = larger_run.parent / "default.hil.h5"
    said = hil("data", "pack", larger_run, "-o", path)
    assert (said.code, said.stderr) == (0, "")
    plain = "import h5py, sys; print(h5py.File(sys.argv[1])[sys.argv[2]][0, 0, 0])"
    place = "/entry/steps/core00_one_phase/raw"
    read = subprocess.run([sys.executable, "-c", plain, path, place], check=True, text=True,
                          capture_output=True)  # fmt: skip
    with h5py.File(path) as file:
        assert file.attrs["compression"] == "gzip"
        assert (file[place].compression, file[place].shuffle) == ("gzip", True)
    assert read.stdout.strip().isdigit()


def test_whoever_packs_with_a_plug_in_is_told_what_readers_need(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin", reason="needs hdf5plugin (extra compress)")
    path = tmp_path / "plug-in.hil.h5"
    said = hil("data", "pack", run, "-o", path, "--compress", "bitshuffle-lz4")
    assert said.code == 0
    assert said.stderr.startswith("note: readers need hdf5plugin for the readouts: ")
    assert hil("data", "pack", run, "-o", path, "--compress", "gzip", "--force").stderr == ""


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
