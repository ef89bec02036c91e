import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import DatasetError
from hil_datasets.journal import Journal, read_journal

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def test_event_is_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append("start", utc="2026-01-02T03:04:05+00:00", title="a\nb", planned=["x"])
    assert path.read_text() == (
        '{"event": "start", "utc": "2026-01-02T03:04:05+00:00", "title": "a\\nb", '
        '"planned": ["x"]}\n'
    )


def test_events_are_read_in_the_order_they_happened(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append("start", utc="1")
    Journal(path).append("stop", utc="2", status="complete")
    assert read_journal(path) == [
        {"event": "start", "utc": "1"},
        {"event": "stop", "utc": "2", "status": "complete"},
    ]


@settings(max_examples=30, deadline=None)
@given(details=st.dictionaries(st.text(min_size=1).map("x".__add__), JSON_VALUES, max_size=3))
def test_any_details_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, details: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    Journal(path).append("step", utc="1", **details)
    assert read_journal(path) == [{"event": "step", "utc": "1", **details}]


@pytest.mark.parametrize("kept", range(1, 24))
def test_line_cut_short_by_a_crash_is_left_out(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append("start", utc="1")
    with path.open("ab") as file:
        file.write(b'{"event": "stop", "utc"'[:kept])
    assert read_journal(path) == [{"event": "start", "utc": "1"}]


@pytest.mark.parametrize("cut_short", [b"{", b'{"event": "stop", "utc": "2"}', b"\0" * 5000])
def test_event_after_a_line_cut_short_stands_on_its_own(tmp_path: Path, cut_short: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append("start", utc="1")
    with path.open("ab") as file:
        file.write(cut_short)
    Journal(path).append("stop", utc="3")
    assert read_journal(path) == [{"event": "start", "utc": "1"}, {"event": "stop", "utc": "3"}]


def test_event_after_nothing_but_a_line_cut_short_is_the_first(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event": "sta')
    Journal(path).append("start", utc="1")
    assert path.read_bytes() == b'{"event": "start", "utc": "1"}\n'


def test_empty_journal_has_no_events(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.touch()
    assert read_journal(path) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "is no JSON: Expecting property name"),
        (b"", "is no JSON: Expecting value"),
        (b'{"event": "st\xff"}', "is no JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "is no JSON: "),
        (b"9" * 5000, "is no JSON: Exceeds the limit"),
        (b"[]", "is no event"),
        (b"{}", "is no event"),
        (b'{"event": 1}', "is no event"),
    ],
    ids=["cut", "empty", "utf8", "deep", "number", "list", "unnamed", "number_as_name"],
)
def test_damaged_line_is_named_with_its_number(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event": "start", "utc": "1"}\n' + line + b"\n" + b'{"event": "stop"}\n')
    with pytest.raises(DatasetError) as caught:
        read_journal(path)
    assert str(caught.value).startswith(f"{path}: line 2: {reason}")


def test_missing_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"journal\.jsonl: cannot be read: No such file"):
        read_journal(tmp_path / "journal.jsonl")


def test_journal_in_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"journal\.jsonl: cannot be written: No such file"):
        Journal(tmp_path / "absent" / "journal.jsonl").append("start", utc="1")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full, a disk that is always full")
def test_full_disk_is_an_error_that_names_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(DatasetError) as caught:
        Journal(path).append("start", utc="1")
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"


def test_event_that_is_no_json_leaves_the_journal_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append("start", utc="1")
    with pytest.raises(TypeError):
        Journal(path).append("step", utc="2", what={1, 2})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"event": "start", "utc": "1"}
    ]
