"""The file of a book, and processes that are killed, race for it, or run out of disk."""

import fcntl
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from book_samples import KEY, begun, ended, lines_of, started, stopped
from hil.core.errors import DatasetError
from hil_datasets.chip_book.book import ChipBook, read_book
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.entry import CampaignStopped, ProgrammingBegun, ProgrammingEnded
from hil_datasets.chip_book.totals import total

ENVIRONMENT = {"PYTHONPATH": ":".join(sys.path)}
ENTRIES = (started(), begun(0), ended(3), stopped())
LINES = lines_of(ENTRIES)


def start(program: str, path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # what is read ahead is lost to `communicate`
        env=ENVIRONMENT,
    )


def test_first_entry_makes_the_folder_and_says_which_chip_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data" / "chips" / "book.jsonl"
    assert ChipBook(path, KEY).append(started()) == 2
    content = read_book(path)
    assert content.key == KEY
    assert [numbered.entry for numbered in content.entries] == [started()]


def test_book_that_does_not_exist_is_empty_and_is_not_made(tmp_path: Path) -> None:
    assert ChipBook(tmp_path / "chips" / "book.jsonl", KEY).read().entries == ()
    assert list(tmp_path.iterdir()) == []


def test_entries_of_several_writers_have_one_row_of_numbers(tmp_path: Path) -> None:
    one, other = (ChipBook(tmp_path / "book.jsonl", KEY) for _ in range(2))
    numbers = [one.append(started()), other.append(begun(0)), one.append(ended(3))]
    assert numbers == [2, 3, 4]
    assert [numbered.number for numbered in one.read().entries] == [2, 3, 4]


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, sum(map(len, LINES))), torn=st.sampled_from([b"", b"\0" * 600, b"{"]))
def test_entry_after_a_torn_write_stands_on_its_own(
    tmp_path_factory: pytest.TempPathFactory, cut: int, torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("book") / "book.jsonl"
    path.write_bytes(b"".join(LINES)[:cut] + torn)
    whole = b"".join(LINES)[:cut].count(b"\n")
    last = CampaignStopped(utc="t", campaign=2, status="aborted")
    assert ChipBook(path, KEY).append(last) == max(2, whole + 1)
    content = read_book(path)
    assert content.problems == ()
    kept = ENTRIES[: max(0, whole - 1)]
    assert tuple(numbered.entry for numbered in content.entries) == (*kept, last)


def test_damaged_line_is_left_as_it_is_and_appended_after(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    path.write_bytes(b"".join([*LINES[:2], b"scribble\n"]))
    assert ChipBook(path, KEY).append(stopped()) == 4
    assert path.read_bytes().split(b"\n")[2] == b"scribble"
    assert [str(problem) for problem in read_book(path).problems] == [
        "line 3: is no entry: it was damaged or edited"
    ]


def test_book_of_another_chip_is_neither_read_nor_written(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    path.write_bytes(b"".join(LINES))
    other = ChipBook(path, ChipKey(manufacturer="m", model="x", serial="B8"))
    words = r"line 1: is the book of aimc-hil mock-chip, serial A7, not of m x, serial B8$"
    with pytest.raises(DatasetError, match=words):
        other.append(stopped())
    with pytest.raises(DatasetError, match=words):
        other.read()
    assert path.read_bytes() == b"".join(LINES)


def test_writer_notices_that_its_book_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    book = ChipBook(path, KEY)
    for _ in range(5):
        book.append(started())
    (tmp_path / "copy").write_bytes(b"".join(LINES[:3]))
    (tmp_path / "copy").replace(path)
    assert book.append(stopped()) == 4
    path.write_bytes(b"".join(LINES[:2]))
    assert book.append(stopped()) == 3
    assert read_book(path).problems == ()


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "book.jsonl"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DatasetError, match=r"book\.jsonl: (is no regular|cannot be written: Is a)"):
        ChipBook(path, KEY).append(started())
    with pytest.raises(DatasetError, match=r"book\.jsonl: is no regular file$"):
        read_book(path)


def test_lock_of_a_stopped_process_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    path.write_bytes(LINES[0])
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match=r"book\.jsonl: is kept locked by another process"):
            ChipBook(path, KEY, lock_timeout_s=0.05).append(started())
        with pytest.raises(DatasetError, match="is kept locked"):
            read_book(path, lock_timeout_s=0.05)
    assert path.read_bytes() == LINES[0]


def test_book_moved_while_its_lock_is_waited_for_is_not_written_to(tmp_path: Path) -> None:
    path, moved = tmp_path / "book.jsonl", tmp_path / "moved.jsonl"
    path.write_bytes(b"".join(LINES))
    numbers: list[int] = []
    writer = Thread(target=lambda: numbers.append(ChipBook(path, KEY).append(started())))
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer.start()
        time.sleep(0.05)
        path.rename(moved)
    writer.join(20)
    assert numbers == [2]
    assert moved.read_bytes() == b"".join(LINES)


FULL_DISK = """
import resource, sys
from pathlib import Path
from book_samples import KEY, started
from hil.core.errors import DatasetError
from hil_datasets.chip_book.book import ChipBook
path = Path(sys.argv[1])
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, most))
try:
    ChipBook(path, KEY).append(started())
except DatasetError as error:
    print(error)
"""


def test_entry_that_does_not_fit_the_disk_is_an_error_and_counts_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    path.write_bytes(b"".join(LINES))
    words, _ = start(FULL_DISK, path).communicate(timeout=30)
    assert words.decode() == f"{path}: cannot be written: File too large\n"
    assert path.stat().st_size == sum(map(len, LINES)) + 20
    assert read_book(path).problems == ()
    assert ChipBook(path, KEY).append(stopped()) == 6
    assert len(read_book(path).entries) == 5


WRITER = """
import sys
from pathlib import Path
from book_samples import KEY, begun
from hil_datasets.chip_book.book import ChipBook
book = ChipBook(Path(sys.argv[1]), KEY)
print("ready")
core = int(sys.stdin.readline())
for _ in range(150):
    book.append(begun(core))
"""


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chips" / "book.jsonl"
    writers = [start(WRITER, path) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for core, writer in enumerate(writers):
        assert writer.stdin is not None
        writer.stdin.write(b"%d\n" % core)
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        assert read_book(path).problems == ()  # at every moment between, too
    assert [writer.communicate(timeout=30)[0] for writer in writers] == [b"", b""]
    content = read_book(path)
    assert content.problems == ()
    assert [numbered.number for numbered in content.entries] == list(range(2, 302))
    assert {core: one.programmings for core, one in total(content).cores.items()} == {
        0: 150,
        1: 150,
    }


PROGRAMMER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from book_samples import KEY
from hil_datasets.chip_book.book import ChipBook
from hil_datasets.chip_book.entry import Outcome
from hil_datasets.chip_book.wear import WearLedger, WearLimits
ledger = WearLedger(ChipBook(Path(sys.argv[1]), KEY), WearLimits(), now=lambda: datetime.now(UTC))
os.write(1, b"ready\\n")
while True:
    number = ledger.before_programming(0, campaign=2, digest="")
    os.write(1, b"pulse %d\\n" % number)  # the chip is worn here
    ledger.after_programming(number, Outcome.DONE)
    os.write(1, b"done %d\\n" % number)
"""


def test_kill_at_any_moment_loses_no_pulse(tmp_path: Path) -> None:
    path = tmp_path / "chips" / "book.jsonl"
    moments = random.Random(5)  # noqa: S311 - not for secrets
    pulses: set[int] = set()
    done: set[int] = set()
    kills = 12
    for _ in range(kills):
        programmer = start(PROGRAMMER, path)
        assert programmer.stdout is not None
        assert programmer.stdout.readline() == b"ready\n"
        time.sleep(moments.uniform(0, 0.02))
        programmer.kill()
        for line in programmer.communicate(timeout=30)[0].splitlines(keepends=True):
            if line.endswith(b"\n"):
                word, number = line.split()
                (pulses if word == b"pulse" else done).add(int(number))
        content = read_book(path)
        assert content.problems == ()
    entries = [numbered.entry for numbered in content.entries]
    written = {
        numbered.number
        for numbered in content.entries
        if isinstance(numbered.entry, ProgrammingBegun)
    }
    known = {entry.programming for entry in entries if isinstance(entry, ProgrammingEnded)}
    assert pulses <= written
    assert done <= known <= pulses
    # Each kill can leave one programming that was written down and not sent; it counts.
    assert len(written) - kills <= len(pulses)
    assert total(content).cores[0].programmings == len(written) > kills
    assert total(content).cores[0].unknown == len(written - known) <= kills
