"""Files of the user's: what is none, has no end or is too large keeps nobody waiting."""

import os
from pathlib import Path

import pytest

from hil.core.errors import ConfigError, DatasetError
from hil.core.regular_file import open_regular_file, read_regular_file
from hil_datasets.regular_file import read_regular


def test_file_of_just_the_largest_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular_file(tmp_path / "a", largest=5) == b"12345"
    with pytest.raises(ConfigError, match=r"a: has 5 bytes or more: must be at most 4$"):
        read_regular_file(tmp_path / "a", largest=4)


def test_file_that_is_longer_than_it_says_is_cut_off() -> None:
    # The kernel's own files say that they have no bytes.
    with pytest.raises(ConfigError, match="has 11 bytes or more: must be at most 10"):
        read_regular_file(Path("/proc/self/status"), largest=10)


def test_no_read_of_an_opened_file_waits(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with open_regular_file(tmp_path / "a") as stream:
        assert not os.get_blocking(stream.fileno())


@pytest.mark.parametrize(
    ("name", "size", "most"),
    [("journal.jsonl", (1 << 30) + 1, 1 << 30), ("campaign.toml", (1 << 26) + 1, 1 << 26)],
)
def test_stored_file_larger_than_any_of_its_kind_is_refused(
    tmp_path: Path, name: str, size: int, most: int
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(size)  # sparse: it takes no room
    with pytest.raises(
        DatasetError, match=f"{name}: has {size} bytes or more: must be at most {most}"
    ):
        read_regular(tmp_path / name)
