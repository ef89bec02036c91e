"""What is read of a book that was cut, damaged, edited, or never was one."""

import json
import zlib

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from book_samples import (
    KEY,
    OPENED,
    begun,
    calibrated,
    ended,
    exposed,
    lines_of,
    started,
    stopped,
)
from hil_datasets.chip_book.content import BookContent, extend_content
from hil_datasets.chip_book.entry import CampaignStopped, ProgrammingBegun
from hil_datasets.chip_book.line import encode_line
from hil_datasets.chip_book.totals import total

ENTRIES = (
    started(),
    begun(0),
    ended(3),
    begun(1),
    exposed(None, 3.0, hottest_c=31.5),
    begun(0),
    ended(7),
    calibrated(0),
    begun(1),
    stopped(),
)
LINES = lines_of(ENTRIES)
BOOK = b"".join(LINES)
PROGRAMMED = {0: 2, 1: 2}
"""How often each core of BOOK was programmed."""


def read(book: bytes) -> BookContent:
    return extend_content(BookContent(), book)


def problems_of(content: BookContent) -> list[str]:
    return [str(problem) for problem in content.problems]


def test_line_is_json_with_its_number_first_and_the_sum_of_what_is_before_it_last() -> None:
    line = encode_line(3, ProgrammingBegun(utc="t", campaign=2, core=5, digest="sha256:00"))
    content = json.loads(line)
    assert list(content) == ["entry", "utc", "event", "campaign", "core", "digest", "crc32c"]
    assert content["entry"] == 3
    checked = line[: -len(',"crc32c":"01234567"}\n')]
    assert content["crc32c"] == f"{bitwise_crc32c(checked):08x}"


def bitwise_crc32c(data: bytes) -> int:
    # Source: RFC 3720, appendix B.4; the polynomial 0x1EDC6F41 with its bits turned round.
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_whole_book_is_read_back() -> None:
    content = read(BOOK)
    assert content.key == KEY
    assert tuple(numbered.entry for numbered in content.entries) == ENTRIES
    assert [numbered.number for numbered in content.entries] == list(range(2, 12))
    assert (content.problems, content.lost, content.next_number) == ((), 0, 12)


@given(cut=st.integers(0, len(BOOK)))
def test_torn_write_loses_the_last_line_and_nothing_else(cut: int) -> None:
    content = read(BOOK[:cut])
    whole = BOOK[:cut].count(b"\n")
    assert content.problems == ()
    assert content.lost == 0
    assert tuple(numbered.entry for numbered in content.entries) == ENTRIES[: max(0, whole - 1)]
    assert content.size == sum(len(line) for line in LINES[:whole])


@given(cuts=st.lists(st.integers(0, len(BOOK)), max_size=5))
def test_book_read_in_parts_is_the_book(cuts: list[int]) -> None:
    content = BookContent()
    for cut in [*sorted(cuts), len(BOOK)]:
        content = extend_content(content, BOOK[content.size : cut])
    assert content == read(BOOK)


@settings(max_examples=300)
@given(place=st.integers(0, len(BOOK) - 2), byte=st.integers(0, 255))
def test_changed_byte_is_reported_and_hides_no_programming(place: int, byte: int) -> None:
    changed = bytearray(BOOK)
    changed[place] = byte
    content = read(bytes(changed))
    if changed == BOOK:
        return
    line = BOOK[:place].count(b"\n") + 1
    assert content.problems[0].where == f"line {line}"
    assert all(total(content).worn(core) >= count for core, count in PROGRAMMED.items())


@given(st.data())
def test_lost_lines_are_reported_and_hide_no_programming(data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(LINES) - 2))
    stop = data.draw(st.integers(first + 1, len(LINES) - 1))
    content = read(b"".join(LINES[:first] + LINES[stop:]))
    assert content.lost == stop - first
    before = first if first else "none"
    assert problems_of(content)[0] == (
        f"line {first + 1}: is entry {stop + 1}, the last one before it is {before}"
    )
    assert all(total(content).worn(core) >= count for core, count in PROGRAMMED.items())


@given(garbage=st.binary(max_size=200))
def test_nothing_that_is_no_book_is_taken_for_one(garbage: bytes) -> None:
    content = read(garbage)
    assert content.entries == ()
    assert len(content.problems) == content.lost == garbage.count(b"\n")


def checked(text: str) -> bytes:
    """Return a line whose number and sum are right, whatever it says."""
    body = f'{{"entry":2,{text}'.encode("utf-8", "surrogatepass")
    return b'%b,"crc32c":"%08x"}\n' % (body, google_crc32c.value(body))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\n", "is no entry: it was damaged or edited"),
        (b"\0" * 4096 + b"\n", "is no entry: it was damaged or edited"),
        (LINES[1].replace(b"ab", b"ba", 1), "its crc32c is "),
        (LINES[1].replace(b'"entry":2,', b'"entry": 2,'), "is no entry: it was damaged"),
        (checked('"event":"anneal","utc":"t"'), "is no entry that this version knows: "),
        (checked('"event":"stop","utc":"t"'), "is no entry that this version knows: stop.campaign"),
        (
            checked('"event":"programming","utc":"t","campaign":2,"core":-1,"digest":""'),
            "is no entry that this version knows: programming.core: ",
        ),
        (
            checked('"event":"programming","utc":"t","campaign":2,"core":true,"digest":""'),
            "is no entry that this version knows: programming.core: ",
        ),
        (checked(f'"event":"stop","utc":"t","x":{"[" * 5000}'), "is no entry that this version"),
        (checked(f'"event":"stop","utc":"t","campaign":{"9" * 5000}'), "is no entry that this"),
        (checked('"event":"stop","utc":"\\ud800","campaign":2'), "is no entry that this version"),
        (checked('"event":"stop","utc":"\ud800","campaign":2'), "is no entry that this version"),
        (
            checked('"event":"exposure","utc":"t","campaign":2,"core":1,"seconds":-1'),
            "is no entry that this version knows: exposure.seconds: ",
        ),
        (encode_line(1, stopped()), "is entry 1, which was here already"),
        (encode_line(2, OPENED), "is the beginning of a book: two books in one file?"),
    ],
    ids=[
        "empty",
        "zeros",
        "edited",
        "blank",
        "unknown_event",
        "missing_key",
        "negative_core",
        "core_is_true",
        "deep",
        "long_number",
        "half_a_character",
        "no_utf8",
        "negative_seconds",
        "number_again",
        "beginning_again",
    ],
)
def test_damaged_line_is_named_with_its_number_and_the_rest_is_read(
    line: bytes, reason: str
) -> None:
    content = read(LINES[0] + line + encode_line(3, stopped()))
    assert len(content.problems) == 1
    assert problems_of(content)[0].startswith(f"line 2: {reason}")
    assert [numbered.entry for numbered in content.entries] == [stopped()]
    assert content.lost == 1


def test_damaged_lines_at_the_end_have_numbers_of_their_own() -> None:
    content = read(LINES[0] + b"x\ny\n")
    assert (content.lost, content.next_number) == (2, 4)
    again = extend_content(content, encode_line(4, stopped()))
    assert (again.lost, again.next_number, len(again.problems)) == (2, 5, 2)


def test_lines_that_ran_together_are_as_many_lost_entries_as_they_were() -> None:
    run_together = b"".join(LINES[:3]) + b"".join(LINES[3:6]).replace(b"\n", b" ") + b"\n"
    content = read(run_together + b"".join(LINES[6:]))
    assert content.lost == 3
    assert problems_of(content) == [
        "line 4: is no entry: it was damaged or edited",
        "line 5: is entry 7, the last one before it is 3",
    ]


def test_key_of_a_newer_version_is_left_alone() -> None:
    content = read(LINES[0] + checked('"event":"stop","utc":"t","campaign":2,"status":"x","y":[1]'))
    assert content.entries[0].entry == CampaignStopped(utc="t", campaign=2, status="x")


def test_newer_form_of_the_file_is_not_guessed_at() -> None:
    body = LINES[0].replace(b'"format_version":1', b'"format_version":2').rpartition(b",")[0]
    content = read(b'%b,"crc32c":"%08x"}\n' % (body, google_crc32c.value(body)))
    assert content.key is None
    assert problems_of(content)[0].startswith("line 1: is no entry that this version knows: ")


def test_sum_is_not_the_crc32_of_zip() -> None:
    body = LINES[1].rpartition(b",")[0]
    line = b'%b,"crc32c":"%08x"}\n' % (body, zlib.crc32(body))
    assert problems_of(read(LINES[0] + line))[0].startswith("line 2: its crc32c is ")


@given(text=st.text(st.characters()))
def test_any_text_is_stored_on_one_line_and_read_back(text: str) -> None:
    entry = started(title=text)
    line = encode_line(2, entry)
    assert line.count(b"\n") == 1
    (numbered,) = read(LINES[0] + line).entries
    assert numbered.entry == entry
    assert entry.title == text.encode(errors="backslashreplace").decode()


def test_what_could_not_be_computed_is_null() -> None:
    entry = calibrated(0, gain=float("nan"))
    assert json.loads(encode_line(2, entry))["median_gain_p"] is None
