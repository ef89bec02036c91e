"""Chunks that inflate to more than they claim: refused before there is room for it."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

import example_steps as example
from command_line import PROJECT, hil
from hil.core.errors import DatasetError
from hil_datasets.packed.chunk_reading import read_stored
from hil_datasets.packed.chunks import write_chunked
from hil_datasets.packed.compression import COMPRESSIONS, has_filters
from hil_datasets.packed.pack import PackOptions, pack_run
from hil_datasets.packed.packed_run import open_packed
from hil_datasets.seal import seal_file

JOURNAL = "entry/files/journal.jsonl"
_CHUNK_BYTES = 4 << 20
needs_filters = pytest.mark.skipif(not has_filters(), reason="needs the extra `compress`")


@cache
def bomb() -> bytes:
    """256 MiB of zeros, deflated: a megabyte."""
    stream = zlib.compressobj(1)
    zeros = bytes(1 << 20)
    return b"".join(stream.compress(zeros) for _ in range(256)) + stream.flush()


def with_journal_chunk(path: Path, content: bytes, size: int) -> None:
    """Put one deflated chunk in the place of a pack's journal, and seal the file."""
    with h5py.File(path, "r+") as file:
        del file[JOURNAL]
        dataset = file.create_dataset(
            JOURNAL, (size,), "u1", chunks=(size,), compression="gzip", shuffle=True
        )
        dataset.id.write_direct_chunk((0,), content)
    seal_file(path, form="hil-pack")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    run = example.write_run(tmp_path / "run", example.ONE)
    return pack_run(
        run, tmp_path / "run.hil.h5", PackOptions(compression=COMPRESSIONS["gzip"])
    ).path


def test_journal_that_is_a_bomb_is_refused_without_room_for_it(packed: Path) -> None:
    with_journal_chunk(packed, bomb(), _CHUNK_BYTES)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from hil.core.errors import DatasetError\n"
        "from hil_datasets.packed.packed_run import open_packed\n"
        "run = open_packed(Path(sys.argv[1]))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    run.events()\n"
        "except DatasetError as error:\n    print(error.problems[0].message)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    words = [sys.executable, "-c", code, str(packed)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT, check=True)
    message, grown_kib = done.stdout.splitlines()
    assert message.endswith("chunk at row 0: does not inflate to the 4194304 bytes it claims")
    assert int(grown_kib) < 64 << 10


@pytest.mark.parametrize("verb", ["unpack", "verify"])
def test_command_names_the_journal_that_is_a_bomb(packed: Path, verb: str, tmp_path: Path) -> None:
    with_journal_chunk(packed, bomb(), _CHUNK_BYTES)
    out = ("--out", tmp_path / "o") if verb == "unpack" else ()
    ended = hil("data", verb, packed, *out)
    assert ended.code in {1, 5}
    assert "does not inflate to the 4194304 bytes it claims" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zlib.compress(bytes(3000)), "does not inflate to the 4000 bytes it claims"),
        (zlib.compress(bytes(4001)), "does not inflate to the 4000 bytes it claims"),
        (zlib.compress(np.random.default_rng(1).bytes(4000))[:2000], "does not inflate"),
        (b"no deflate" * 60, "cannot be inflated"),
    ],
    ids=["short", "a byte more", "cut", "none"],
)
def test_chunk_of_another_size_is_refused(packed: Path, content: bytes, words: str) -> None:
    content = content + bytes(max(0, 300 - len(content)))  # not too small for what it claims
    with_journal_chunk(packed, content, 4000)
    with pytest.raises(DatasetError, match=words):
        open_packed(packed).events()


def bitshuffle_size(content: bytes) -> bytes:
    return struct.pack(">Q", 1 << 34) + content[8:]


def bitshuffle_block(content: bytes) -> bytes:
    return content[:8] + struct.pack(">I", 1 << 31) + content[12:]


def frame_size(content: bytes) -> bytes:
    return content[:30] + struct.pack(">q", 1 << 34) + content[38:]


def inner_size(content: bytes) -> bytes:
    (head,) = struct.unpack_from(">i", content, 11)
    return content[: head + 4] + struct.pack("<i", 0x7FFFFFFF) + content[head + 8 :]


@needs_filters
@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("bitshuffle-lz4", bitshuffle_size),
        ("bitshuffle-zstd", bitshuffle_block),
        ("blosc2-zstd", frame_size),
        ("blosc2-zstd", inner_size),
        ("blosc2-zstd", lambda content: content[:40]),
    ],
)
def test_head_of_a_plug_in_filter_that_claims_more_is_refused(
    tmp_path: Path, name: str, edit: Callable[[bytes], bytes]
) -> None:
    values = np.random.default_rng(2).integers(0, 600, (4000, 2, 9)).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = write_chunked(file, "values", values, COMPRESSIONS[name])
        mask, content = dataset.id.read_direct_chunk((0, 0, 0))
        assert mask == 0
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        np.testing.assert_array_equal(read_stored(file["values"]), values)
        file["values"].id.write_direct_chunk((0, 0, 0), edit(content))
    with (
        h5py.File(tmp_path / "a.h5") as file,
        pytest.raises(ValueError, match="chunk at row 0: its head does not say the 144000 bytes"),
    ):
        read_stored(file["values"])


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<i4", "<f8"])
def test_inflated_values_are_those_that_hdf5_inflates(tmp_path: Path, dtype: str) -> None:
    values = np.arange(1003 * 3 * 5).reshape(1003, 3, 5).astype(dtype)
    options = {"chunks": (100, 3, 5), "compression": "gzip", "shuffle": True}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("values", data=values, **options)
    with h5py.File(tmp_path / "a.h5") as file:
        found = read_stored(file["values"])
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
