import json
import math
import os
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
    Journal(path).append("note", utc="1", **details)
    assert read_journal(path) == [{"event": "note", "utc": "1", **details}]


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
        (b'{"event": "start", "title": 5}', "start event: title: is 5: must be text"),
        (
            b'{"event": "start", "title": "\\ud800"}',
            "start event: title: 'utf-8' codec can't encode",
        ),
        (b'{"event": "start", "utc": null}', "start event: utc: is None: must be text"),
        (b'{"event": "start", "chip": {}}', "start event: chip: is {}: must be text"),
        (b'{"event": "start", "resource": []}', "start event: resource: is []: must be text"),
        (
            b'{"event": "start", "planned": 5}',
            "start event: planned: is 5: must be a list of texts",
        ),
        (b'{"event": "start", "planned": null}', "start event: planned: is None: must be a list"),
        (b'{"event": "start", "planned": ["\\udfff"]}', "start event: planned: 'utf-8' codec"),
        (
            b'{"event": "start", "campaign_sha256": 1}',
            "start event: campaign_sha256: is 1: must be",
        ),
        (
            b'{"event": "start", "software": {"numpy": 2}}',
            "start event: software: is 2: must be text",
        ),
        (b'{"event": "start", "replay_of": "run"}', "start event: replay_of: is 'run': must be an"),
        (b'{"event": "failure", "reason": 5}', "failure event: reason: is 5: must be text"),
        (b'{"event": "fault", "kind": 1}', "fault event: kind: is 1: must be text"),
        (
            b'{"event": "fault", "recovered_s": -1}',
            "fault event: recovered_s: is -1: must be seconds, 0 or more, or null",
        ),
        (
            b'{"event": "fault", "recovered_s": true}',
            "fault event: recovered_s: is True: must be seconds",
        ),
        (
            b'{"event": "stop", "faults": {"timeout": -1}}',
            "stop event: faults: is {'timeout': -1}: must be an object of numbers",
        ),
        (b'{"event": "stop", "status": false}', "stop event: status: is False: must be text"),
        (b'{"event": "stop", "failed": 5}', "stop event: failed: is 5: must be a list of texts"),
        (b'{"event": "stop", "failed": null}', "stop event: failed: is None: must be a list"),
        (b'{"event": "stop", "failed": [null]}', "stop event: failed: is None: must be text"),
    ],
    ids=[
        "cut",
        "empty",
        "utf8",
        "deep",
        "number",
        "list",
        "unnamed",
        "number_as_name",
        "title",
        "half_a_character",
        "utc",
        "chip",
        "resource",
        "planned",
        "planned_null",
        "planned_half_a_character",
        "campaign",
        "software",
        "replay_of",
        "reason",
        "fault",
        "negative_seconds",
        "no_seconds",
        "fault_counts",
        "status",
        "failed",
        "failed_null",
        "failed_names_nothing",
    ],
)
def test_damaged_line_is_named_with_its_number(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event": "start", "utc": "1"}\n' + line + b"\n" + b'{"event": "stop"}\n')
    with pytest.raises(DatasetError) as caught:
        read_journal(path)
    assert str(caught.value).startswith(f"{path}: line 2: {reason}")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("core", "true", "core: is True: must be a number, 0 or more"),
        ("core", '"0"', "core: is '0': must be a number, 0 or more"),
        ("core", "-1", "core: is -1: must be a number, 0 or more"),
        ("core", "1e400", "core: is inf: must be a number, 0 or more"),
        ("read_mode", '"../../etc"', "read_mode: '../../etc' is not a valid ReadMode"),
        ("read_mode", '["one_phase"]', "read_mode: is ['one_phase']: must be text"),
        ("raw_sha256", "0", "raw_sha256: is 0: must be text"),
        ("file", "0", "file: is 0: must be text"),
        ("errors", "0.5", "errors: must be an object of uncorrected, float, fp16, nmpu"),
    ],
)
def test_damaged_step_event_is_named(tmp_path: Path, name: str, value: str, reason: str) -> None:
    path = tmp_path / "journal.jsonl"
    values = {"core": "0", "read_mode": '"one_phase"', "raw_sha256": '"ab"'} | {name: value}
    keys = ", ".join(f'"{key}": {text}' for key, text in values.items())
    path.write_text(f'{{"event": "step", "utc": "1", {keys}}}\n')
    with pytest.raises(DatasetError) as caught:
        read_journal(path)
    assert str(caught.value) == f"{path}: line 1: step event: {reason}"


def test_step_event_that_names_no_step_lists_all_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "step", "utc": "1"}\n')
    with pytest.raises(DatasetError) as caught:
        read_journal(path)
    assert [str(problem) for problem in caught.value.problems] == [
        "line 1: step event: core: missing",
        "line 1: step event: read_mode: missing",
        "line 1: step event: raw_sha256: missing",
    ]


def test_error_that_could_not_be_computed_is_null_in_the_file_and_nan_when_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.jsonl"
    errors = {"uncorrected": 0.5, "float": float("nan"), "fp16": 0.25, "nmpu": 1}
    Journal(path).append(
        "step", utc="1", core=0, read_mode="one_phase", raw_sha256="ab", errors=errors
    )
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["errors"] == {
        "uncorrected": 0.5,
        "float": None,
        "fp16": 0.25,
        "nmpu": 1,
    }
    (event,) = read_journal(path)
    assert math.isnan(event["errors"]["float"])
    assert event["errors"]["nmpu"] == 1.0


def test_file_name_that_is_no_text_can_be_journalled(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append("stop", utc="1", reason=os.fsdecode(b"/run\xff: full"), failed=("a",))
    assert read_journal(path) == [
        {"event": "stop", "utc": "1", "reason": "/run\\udcff: full", "failed": ["a"]}
    ]


def test_missing_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"journal\.jsonl: no such file$"):
        read_journal(tmp_path / "journal.jsonl")


def test_pipe_in_place_of_the_journal_is_refused_before_it_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "journal.jsonl")
    with pytest.raises(DatasetError, match=r"journal\.jsonl: is no regular file$"):
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
