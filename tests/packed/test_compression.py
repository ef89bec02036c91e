"""Chunks, what is stored of them, and which compression a trial chooses."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nst

from hil.core.errors import ConfigError
from hil_datasets.packed.chunks import check_stored, chunk_rows, write_chunked
from hil_datasets.packed.compression import COMPRESSIONS, compression_named
from hil_datasets.packed.trial import TriedCompression, choose, try_compressions


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "chunks.h5", "w") as file:
        yield file


@pytest.mark.parametrize(
    ("shape", "dtype", "rows"),
    [
        ((8000, 2, 256), "u2", 4000),  # 1 KiB a row
        ((4097, 1024), "i1", 2049),  # one row too many for one chunk of 4 MiB
        ((4096, 1024), "i1", 4096),
        ((3, 8 << 20), "i1", 1),  # rows of 8 MiB
        ((6, 2, 3), "u2", 6),
    ],
)
def test_chunks_are_even_and_at_most_4_mib(shape: tuple[int, ...], dtype: str, rows: int) -> None:
    assert chunk_rows(shape, dtype) == rows


@pytest.mark.parametrize("name", list(COMPRESSIONS))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=nst.arrays(
        st.sampled_from([np.dtype(name) for name in ("i1", "<u2", "<i4")]),
        nst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=40),
    )
)
def test_what_is_written_is_read(tmp_path: Path, name: str, values: npt.NDArray[Any]) -> None:
    path = tmp_path / "any.h5"
    with h5py.File(path, "w") as file:
        write_chunked(file, "values", values, COMPRESSIONS[name])
    with h5py.File(path) as file:
        check_stored(file["values"], file_bytes=path.stat().st_size)
        assert np.array_equal(file["values"][...], values)


def test_gzip_chunk_is_shuffled_and_deflated(file: h5py.File) -> None:
    values = np.arange(1000, dtype="<u2")
    dataset = write_chunked(file, "values", values, COMPRESSIONS["gzip"])
    mask, content = dataset.id.read_direct_chunk((0,))
    stored = np.frombuffer(zlib.decompress(content), np.uint8).reshape(2, 1000)
    assert mask == 0
    assert stored[0, :3].tolist() == [0, 1, 2]  # the low bytes, then the high ones
    assert stored[1, [0, 255, 256, 999]].tolist() == [0, 0, 1, 3]


@pytest.mark.parametrize("name", list(COMPRESSIONS))
def test_chunk_that_does_not_shrink_is_stored_as_it_is(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8)
    path = tmp_path / "noise.h5"
    with h5py.File(path, "w") as file:
        write_chunked(file, "noise", noise, COMPRESSIONS[name])
    with h5py.File(path) as file:
        assert file["noise"].id.read_direct_chunk((0,))[1] == noise.tobytes()
        assert np.array_equal(file["noise"][...], noise)


def test_chunk_that_shrinks_by_more_than_16_is_stored_as_it_is(file: h5py.File) -> None:
    zeros = np.zeros(100_000, np.uint8)
    dataset = write_chunked(file, "zeros", zeros, COMPRESSIONS["gzip"])
    assert dataset.id.get_storage_size() == 100_000


def test_dataset_without_elements_has_no_chunks(file: h5py.File) -> None:
    dataset = write_chunked(file, "none", np.zeros((0, 3), np.int8), COMPRESSIONS["gzip"])
    assert dataset.chunks is None


class TestStorageThatIsRefused:
    def refused(self, dataset: h5py.Dataset, message: str, *, file_bytes: int = 1 << 30) -> None:
        with pytest.raises(ValueError, match=message):
            check_stored(dataset, file_bytes=file_bytes)

    def test_more_than_the_file_has(self, file: h5py.File) -> None:
        dataset = write_chunked(file, "a", np.arange(100, dtype="u2"), COMPRESSIONS["none"])
        self.refused(dataset, "claims 200 stored bytes in a file of 199", file_bytes=199)

    def test_filter_of_another_kind(self, file: h5py.File) -> None:
        dataset = file.create_dataset("a", data=np.arange(100), chunks=(100,), fletcher32=True)
        self.refused(dataset, r"has the filters \(3,\)")

    def test_chunk_that_is_not_there(self, file: h5py.File) -> None:
        dataset = file.create_dataset("a", (100,), "u1", chunks=(50,))
        dataset[:50] = 1
        self.refused(dataset, "has 1 chunks: must have 2")

    def test_chunk_that_is_too_small_for_its_claim(self, file: h5py.File) -> None:
        dataset = file.create_dataset(
            "a", data=np.zeros(100_000, "u1"), chunks=(100_000,), compression="gzip", shuffle=True
        )
        self.refused(dataset, "chunk at row 0: claims 100000 bytes in .* at most 16 for one")

    def test_chunk_that_is_cut_short(self, file: h5py.File) -> None:
        dataset = file.create_dataset("a", (100,), "u1", chunks=(100,))
        dataset.id.write_direct_chunk((0,), bytes(99))
        self.refused(dataset, "chunk at row 0: is not stored whole")

    def test_chunk_of_parts_of_rows(self, file: h5py.File) -> None:
        dataset = file.create_dataset("a", data=np.ones((4, 4)), chunks=(4, 2))
        self.refused(dataset, "must be whole rows")

    def test_chunk_larger_than_any_is_written(self, file: h5py.File) -> None:
        dataset = file.create_dataset("a", (5 << 20, 1), "u1", chunks=(5 << 20, 1))
        self.refused(dataset, "has chunks of 5242880 bytes: at most 4194304")


def tried(name: str, mb_per_s: float, ratio: float) -> TriedCompression:
    return TriedCompression(compression=COMPRESSIONS[name], mb_per_s=mb_per_s, ratio=ratio)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([("gzip", 40.0, 1.63), ("bitshuffle-lz4", 500.0, 1.58)], "bitshuffle-lz4"),
        ([("gzip", 100.0, 1.63), ("bitshuffle-lz4", 500.0, 1.58)], "gzip"),
        ([("blosc2-zstd", 200.0, 1.6), ("bitshuffle-zstd", 300.0, 1.6)], "bitshuffle-zstd"),
        ([("gzip", 99.0, 2.0)], "none"),
        ([("gzip", 500.0, 1.0)], "none"),
    ],
    ids=["too slow", "just quick enough", "as small and quicker", "all too slow", "no gain"],
)
def test_smallest_that_is_quick_enough_is_chosen(
    others: list[tuple[str, float, float]], chosen: str
) -> None:
    all_tried = [tried("none", 1000.0, 1.0), *(tried(*one) for one in others)]
    assert choose(all_tried, floor_mb_per_s=100.0).name == chosen


def test_trial_measures_ratio_and_speed_on_the_sample() -> None:
    seconds = iter(range(1000))
    noise = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.int8)
    trial = try_compressions(
        [noise, np.arange(500_000).astype(np.int8)],
        is_portable=True,
        clock=lambda: float(next(seconds)),
    )
    assert [one.compression.name for one in trial.tried] == ["none", "gzip"]
    assert trial.tried[0].ratio == 1.0
    assert trial.tried[0].mb_per_s == 0.6  # 600,000 bytes in one tick of the clock
    assert trial.sample_bytes == 600_000


def test_unknown_compression_is_an_error() -> None:
    with pytest.raises(ConfigError, match="must be auto, none, gzip"):
        compression_named("zip")
