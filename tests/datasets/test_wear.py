"""No core is programmed beyond its limit, whoever else is programming it."""

import subprocess
import sys
from pathlib import Path

import pytest

from book_samples import BEGAN, KEY, begun, content_of, lines_of, started
from hil.core.errors import DatasetError, SafetyLimitError
from hil_datasets.chip_book.book import ChipBook
from hil_datasets.chip_book.content import BookContent, extend_content
from hil_datasets.chip_book.entry import Outcome
from hil_datasets.chip_book.totals import total
from hil_datasets.chip_book.wear import WearLedger, WearLimits, check_wear

TWICE = content_of(started(), begun(3), begun(3), begun(0))


def ledger(path: Path, limit: int | None) -> WearLedger:
    return WearLedger(
        ChipBook(path, KEY), WearLimits(programmings_per_core=limit), now=lambda: BEGAN
    )


def test_plan_within_the_limit_has_no_problem() -> None:
    assert check_wear(TWICE, {3: 1, 0: 2, 7: 3}, WearLimits(programmings_per_core=3)) == []


def test_every_core_that_would_be_worn_out_is_named() -> None:
    problems = check_wear(TWICE, {3: 2, 0: 3, 7: 3}, WearLimits(programmings_per_core=3))
    assert [str(problem) for problem in problems] == [
        f"limits.programmings_per_core: {core}, at most 3 in the chip's life"
        for core in ("core 0: 3 more after 1 programmings", "core 3: 2 more after 2 programmings")
    ]


def test_plan_that_programs_nothing_fits_a_worn_chip() -> None:
    assert check_wear(TWICE, {3: 0}, WearLimits(programmings_per_core=1)) == []


def test_without_a_limit_every_plan_fits() -> None:
    assert check_wear(TWICE, {3: 10**9}, WearLimits()) == []


def test_damaged_entries_are_named_in_the_refusal() -> None:
    lines = lines_of([started(), begun(3), begun(3)])
    content = extend_content(BookContent(), b"".join([*lines[:3], b"?\n"]))
    (problem,) = check_wear(content, {3: 1}, WearLimits(programmings_per_core=2))
    assert problem.message.startswith(
        "core 3: 1 more after 2 programmings (1 of them damaged entries of its book), at most 2"
    )


def test_last_programming_that_is_left_is_let_through_and_the_next_is_not(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    wear = ledger(path, 2)
    for _ in range(2):
        number = wear.before_programming(3, campaign=2, digest="")
        wear.after_programming(number, Outcome.DONE)
    before = path.read_bytes()
    with pytest.raises(SafetyLimitError) as caught:
        wear.before_programming(3, campaign=2, digest="")
    assert str(caught.value) == (
        "aimc-hil mock-chip, serial A7: limits.programmings_per_core: core 3: 1 more after "
        "2 programmings, at most 2 in the chip's life (nothing was sent)"
    )
    assert path.read_bytes() == before
    wear.before_programming(4, campaign=2, digest="")


def test_programming_that_never_ended_uses_up_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    ledger(path, 1).before_programming(3, campaign=2, digest="")
    with pytest.raises(SafetyLimitError):
        ledger(path, 1).before_programming(3, campaign=2, digest="")


def test_programming_that_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"book\.jsonl: cannot be written: "):
        ledger(tmp_path / "file" / "book.jsonl", None).before_programming(3, campaign=2, digest="")


RACE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from book_samples import KEY
from hil.core.errors import SafetyLimitError
from hil_datasets.chip_book.book import ChipBook
from hil_datasets.chip_book.wear import WearLedger, WearLimits
ledger = WearLedger(ChipBook(Path(sys.argv[1]), KEY), WearLimits(programmings_per_core=20),
                    now=lambda: datetime.now(UTC))
print("ready", flush=True)
sys.stdin.readline()
sent = 0
try:
    while True:
        ledger.before_programming(3, campaign=2, digest="")
        sent += 1
except SafetyLimitError:
    print(sent)
"""


def test_processes_that_race_for_the_last_programmings_share_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "chips" / "book.jsonl"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    sent = [int(racer.communicate("go\n", timeout=30)[0]) for racer in racers]
    assert sum(sent) == 20
    content = ChipBook(path, KEY).read()
    assert content.problems == ()
    assert total(content).cores[3].programmings == 20
