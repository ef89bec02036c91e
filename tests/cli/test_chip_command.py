"""`hil chip` as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from book_samples import begun, calibrated, ended, exposed, started, stopped
from command_line import hil
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.entry import BookEntry, Outcome, Source
from hil_datasets.chip_book.library import book_of


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIMC_HIL_DATA", str(tmp_path))
    return tmp_path / "chips"


def write(books: Path, key: ChipKey, *entries: BookEntry) -> Path:
    book = book_of(key, books)
    for entry in entries:
        book.append(entry)
    return book.path


def chip(serial: str, *, manufacturer: str = "Acme") -> ChipKey:
    return ChipKey(manufacturer=manufacturer, model="AIMC-64", serial=serial)


LIFE = (
    started(title="First light"),  # 2
    begun(3),  # 3
    ended(3),
    exposed(None, 3600.0, hottest_c=31.5),
    exposed(None, 1800.0, hottest_c=85.0),
    exposed(3, 36.0, hottest_c=85.0, vectors=768),
    calibrated(3, gain=0.5, lsb=2.0),
    calibrated(3, gain=0.25, lsb=3.0),
    begun(0),  # 10
    ended(10, Outcome.FAILED),
    begun(0),
    stopped(),
)


def test_without_books_the_list_says_where_it_looked(books: Path) -> None:
    done = hil("chip", "list")
    assert (done.code, done.stdout) == (0, f"no chip has a book yet in {books}\n")
    assert not books.exists()
    assert hil("chip", "list", "--json").json == []


def test_list_has_a_line_for_each_chip(books: Path) -> None:
    write(books, chip("A7"), *LIFE)
    write(books, chip("B8"), started(source=Source.MOCK), begun(0))
    done = hil("chip", "list")
    assert done.code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["A7", "Acme", "AIMC-64", "t", "1", "2", "768", "1.50"] in rows
    assert ["B8", "Acme", "AIMC-64", "t", "1", "1", "0", "0.00"] in rows


def test_mock_chips_can_be_left_out(books: Path) -> None:
    write(books, chip("A7"), *LIFE)
    write(books, chip("B8"), started(source=Source.MOCK), begun(0))
    listed = hil("chip", "list", "--no-mock", "--json").json
    assert [(one["serial"], one["sources"]) for one in listed] == [("A7", ["device"])]
    history = hil("chip", "history", "B8", "--no-mock", "--json").json
    assert (history["entries"], history["totals"]["campaigns"]) == ([], 0)


def test_history_tells_events_totals_and_how_the_gain_moved(books: Path) -> None:
    path = write(books, chip("A7"), *LIFE)
    done = hil("chip", "history", "A7", "--above", "40")
    assert (done.code, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "Acme AIMC-64, serial A7"
    for line in (
        "2026-01-02T03:04:05+00:00 campaign began First light, device, /runs/one",
        "t programmed 3 done (weights 0123456789ab)",
        "t powered 1.50 h, up to 85.0 C",
        "t measured 3 768 vectors, up to 85.0 C",
        "t calibrated 3 core03_four_phase, NMPU error 3.12 %, 31.5 C",
        "t programmed 0 failed (weights 0123456789ab)",
        "t programmed 0 unknown: it was begun, nothing says how it ended (weights 0123456789ab)",
        "0 2 1 1 0 0.00 0",
        "3 1 0 0 768 0.01 2",
        "1 campaigns, 0 of them unfinished; 1.50 h powered, hottest 85.0 C",
        "0.50 h above 40.0 C",
        "t 3 four_phase 1 1 3 +0.00 % 31.5 C",
        "t 3 four_phase 0.75 0.75 4.5 -25.00 % 31.5 C",
        f"book: {path}",
    ):
        assert line in lines, line


def test_json_history_of_a_core_leaves_the_others_out(books: Path) -> None:
    write(books, chip("A7"), *LIFE)
    history = hil("chip", "history", "A7", "--core", "3", "--above", "40", "--json").json
    events = [(entry["entry"], entry["event"]) for entry in history["entries"]]
    assert events == [
        (2, "start"),
        (3, "programming"),
        (4, "programmed"),
        (5, "exposure"),
        (6, "exposure"),
        (7, "exposure"),
        (8, "calibration"),
        (9, "calibration"),
        (13, "stop"),
    ]
    assert list(history["totals"]["cores"]) == ["3"]
    assert history["above"] == {"celsius": 40.0, "seconds": 1800.0}


def test_serial_number_of_two_chips_lists_both(books: Path) -> None:
    write(books, chip("A7"), started())
    write(books, chip("A7", manufacturer="Bolt"), started())
    done = hil("chip", "history", "A7")
    assert done.code == 3
    assert "2 chips have the serial number 'A7'; choose with --manufacturer" in done.stderr
    assert "\n  Acme AIMC-64, serial A7 (A7-" in done.stderr
    assert "\n  Bolt AIMC-64, serial A7 (A7-" in done.stderr
    chosen = hil("chip", "history", "A7", "--manufacturer", "Bolt", "--json")
    assert chosen.json["manufacturer"] == "Bolt"
    assert hil("chip", "history", Path(chosen.json["file"]).name, "--json").json == chosen.json


def test_unknown_serial_number_gets_the_one_most_like_it(books: Path) -> None:
    write(books, chip("quickstart-7"), started())
    done = hil("chip", "history", "quickstrat-7")
    assert done.code == 3
    assert done.stderr == (
        "error: SERIAL: no chip as asked for has the serial number 'quickstrat-7'; "
        "did you mean 'quickstart-7'?\n"
    )


def test_damaged_book_is_shown_as_far_as_it_goes_and_named(books: Path) -> None:
    path = write(books, chip("A7"), *LIFE)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\x1b[2J\n", *lines[3:]]))
    done = hil("chip", "history", "A7")
    assert done.code == 5
    assert done.stderr == (f"warning: {path}: line 3: is no entry: it was damaged or edited\n")
    assert "calibrated" in done.stdout
    assert "1 entries are damaged or missing" in done.stdout
    assert hil("chip", "list", "--json").code == 5


@pytest.mark.parametrize("name", ["A7-0123456789abcdef.jsonl", "x.jsonl"])
def test_book_under_another_name_is_named(books: Path, name: str) -> None:
    path = write(books, chip("A7"), started())
    path.rename(books / name)
    done = hil("chip", "list")
    assert done.code == 5
    assert f"{name}: line 1: is the book of Acme AIMC-64, serial A7, whose name is" in done.stderr


def test_texts_of_a_book_do_not_reach_the_terminal_as_commands(books: Path) -> None:
    hostile = chip("A\x1b[2J7", manufacturer="[red]\x07")
    write(books, hostile, started(title="[bold]\x1b]0;x\x07"), stopped())
    for arguments in (("chip", "list"), ("chip", "history", "A\x1b[2J7"), ("chip", "history", "?")):
        done = hil(*arguments)
        assert not {"\x1b", "\x07"} & set(done.stdout + done.stderr)
    assert "[bold]?]0;x?" in hil("chip", "history", "A\x1b[2J7").stdout


def test_reader_that_has_had_enough_is_no_error(books: Path) -> None:
    write(books, chip("A7"), *[begun(0) for _ in range(300)])
    command = f"{Path(sys.executable).with_name('hil')} chip history A7 --json | head -c 10"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 - the one of this system
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '{\n "manufa', "")
