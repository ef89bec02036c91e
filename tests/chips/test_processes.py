"""One process for each chip: real processes, with their ends, their words and their signals."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hil.campaign.chips.processes import ChipEnd, drive_chips

WAIT_S = 20.0
WAITS = "import signal, sys, time; signal.signal({}, lambda *_: sys.exit(130)); print('up', flush=True); time.sleep(60)"  # noqa: E501


class Heard:
    def __init__(self, on_tick: Callable[[], None] = lambda: None) -> None:
        self.ends: list[ChipEnd] = []
        self.reasons: list[str] = []
        self._on_tick = on_tick

    def ended(self, end: ChipEnd) -> None:
        self.ends.append(end)

    def asked(self, reason: str) -> None:
        self.reasons.append(reason)

    def tick(self) -> None:
        self._on_tick()


def drive(folder: Path, programs: Mapping[str, str], watcher: Heard) -> dict[str, ChipEnd]:
    commands = {chip: [sys.executable, "-c", text] for chip, text in programs.items()}
    ends = drive_chips(commands, lambda chip: folder / f"{chip}.txt", watcher=watcher)
    assert [end.chip for end in ends] == list(programs)
    return {end.chip: end for end in ends}


def test_each_ends_with_its_own_code_and_words(tmp_path: Path) -> None:
    ends = drive(
        tmp_path,
        {
            "left": "print('all is well')",
            "right": "import sys; print('10 %'); print('error: no device\\n  at all'); sys.exit(4)",
        },
        heard := Heard(),
    )
    assert ends["left"] == ChipEnd(chip="left", code=0, words="")
    assert ends["right"] == ChipEnd(chip="right", code=4, words="no device\n  at all")
    assert sorted(end.chip for end in heard.ends) == ["left", "right"]
    assert (tmp_path / "left.txt").read_text() == "all is well\n"


def test_words_of_an_earlier_process_are_kept_and_not_told_again(tmp_path: Path) -> None:
    (tmp_path / "left.txt").write_text("error: yesterday\n")
    ends = drive(tmp_path, {"left": "import sys; sys.exit('gone')"}, Heard())
    assert ends["left"].words == ""
    assert (tmp_path / "left.txt").read_text() == "error: yesterday\ngone\n"


def test_killed_one_is_named_and_the_other_goes_on(tmp_path: Path) -> None:
    ends = drive(
        tmp_path,
        {
            "left": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "right": "import time; time.sleep(0.5); print('done')",
        },
        Heard(),
    )
    assert ends["left"] == ChipEnd(chip="left", code=-9, words="was killed by SIGKILL")
    assert ends["right"].code == 0
    assert (tmp_path / "right.txt").read_text() == "done\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_is_passed_on_to_all(tmp_path: Path, number: signal.Signals) -> None:
    outputs = [tmp_path / "left.txt", tmp_path / "right.txt"]
    deadline_s = time.monotonic() + WAIT_S
    is_sent = threading.Event()

    def send_when_both_are_up() -> None:
        assert time.monotonic() < deadline_s
        if not is_sent.is_set() and all(path.read_text() == "up\n" for path in outputs):
            is_sent.set()
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    heard = Heard(send_when_both_are_up)
    program = WAITS.format(int(number))
    ends = drive(tmp_path, {"left": program, "right": program}, heard)
    assert {end.code for end in ends.values()} == {130}
    assert heard.reasons == [number.name]
    assert signal.getsignal(number) is before


def test_one_that_dies_of_the_signal_counts_as_interrupted(tmp_path: Path) -> None:
    sent = iter([True])
    heard = Heard(lambda: os.kill(os.getpid(), signal.SIGTERM) if next(sent, False) else None)
    ends = drive(tmp_path, {"left": "import time; time.sleep(60)"}, heard)
    assert ends["left"] == ChipEnd(chip="left", code=130, words="")


def test_watcher_that_fails_leaves_no_process_behind(tmp_path: Path) -> None:
    program = f"import os; print(os.getpid(), flush=True); {WAITS.format(15)}"

    def fail_when_it_is_up() -> None:
        if (tmp_path / "left.txt").read_text().endswith("up\n"):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        drive(tmp_path, {"left": program}, Heard(fail_when_it_is_up))
    pid = int((tmp_path / "left.txt").read_text().split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
