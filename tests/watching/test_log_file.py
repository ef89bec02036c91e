"""The log of a run: bounded, whole lines, and never in the way."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hil.campaign.log_file import LogFile, RunLog
from hil.campaign.run_events import (
    FaultMet,
    RunEnded,
    RunStarted,
    RunState,
    StepFinished,
    VectorsRead,
)


def now() -> datetime:
    return datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    with RunLog(now=now) as log:
        log.hear(RunStarted(run=tmp_path, title="T", chip="C", steps=()))
        yield log


def test_line_has_time_level_event_and_fields(tmp_path: Path, log: RunLog) -> None:
    log.hear(FaultMet(kind="timeout", request="READ?", detail="late", recovered_s=None))
    log.hear(StepFinished(step="core00_one_phase", errors={"nmpu": float("nan"), "float": 0.5}))
    log.hear(RunEnded(state=RunState.FAILED, reason="no link"))
    assert lines_of(tmp_path / "log.jsonl")[1:] == [
        {"utc": "2026-01-31T12:00:00.250+00:00", "level": "warning", "event": "fault_met",
         "kind": "timeout", "request": "READ?", "detail": "late", "recovered_s": None},
        {"utc": "2026-01-31T12:00:00.250+00:00", "level": "info", "event": "step_finished",
         "step": "core00_one_phase", "errors": {"nmpu": None, "float": 0.5}},
        {"utc": "2026-01-31T12:00:00.250+00:00", "level": "error", "event": "run_ended",
         "state": "failed", "reason": "no link"},
    ]  # fmt: skip


def test_blocks_are_too_many_to_log(tmp_path: Path, log: RunLog) -> None:
    log.hear(VectorsRead(step="core00_one_phase", vectors=128))
    assert [line["event"] for line in lines_of(tmp_path / "log.jsonl")] == ["run_started"]


def test_what_any_module_logs_is_in_it(tmp_path: Path, log: RunLog) -> None:
    logging.getLogger("hil.somewhere").info("chamber at %d degrees", 85)
    logging.getLogger("hil.somewhere").debug("not this")
    logging.getLogger("elsewhere").error("oh", exc_info=RuntimeError("broken"))
    first, second = lines_of(tmp_path / "log.jsonl")[1:]
    assert (first["logger"], first["level"]) == ("hil.somewhere", "info")
    assert first["message"] == "chamber at 85 degrees"
    assert second["level"] == "error"
    assert "RuntimeError: broken" in second["error"]


def test_loggers_are_as_before_afterwards(tmp_path: Path) -> None:
    before = (logging.getLogger().handlers[:], logging.getLogger("hil").level)
    with RunLog(now=now) as log:
        log.hear(RunStarted(run=tmp_path, title="T", chip="C", steps=()))
    assert (logging.getLogger().handlers, logging.getLogger("hil").level) == before
    logging.getLogger("hil.somewhere").warning("after the end")
    assert "after the end" not in (tmp_path / "log.jsonl").read_text()


def test_size_is_bounded_and_the_newest_pieces_are_kept(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl", now=now, piece_bytes=2000, kept=2)
    for number in range(200):
        log.write("info", "counted", number=number)
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log.1.jsonl", "log.2.jsonl", "log.jsonl"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    numbers = [
        line["number"]
        for name in ("log.2.jsonl", "log.1.jsonl", "log.jsonl")
        for line in lines_of(tmp_path / name)
    ]
    assert numbers == list(range(numbers[0], 200))
    assert len(numbers) > 40


def test_line_that_a_kill_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "who')
    log = LogFile(path, now=now)
    log.write("info", "later")
    log.close()
    assert json.loads(path.read_text().splitlines()[-1])["event"] == "later"


def test_very_long_text_is_cut(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl", now=now)
    log.write("info", "long", text="x" * 10_000_000)
    log.close()
    assert (tmp_path / "log.jsonl").stat().st_size < 10_000


def test_text_that_is_no_utf8_is_escaped(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl", now=now)
    log.write("info", "odd", name="a\udcffb", what={1, 2}, path=Path("p"))
    log.close()
    (line,) = lines_of(tmp_path / "log.jsonl")
    assert (line["name"], line["what"], line["path"]) == ("a\\udcffb", ["1", "2"], "p")


def test_what_cannot_be_written_is_counted_and_said_later(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.mkdir()  # a folder in its place: nothing can be written
    log = LogFile(path, now=now)
    log.write("info", "lost")
    log.write("info", "lost too")
    path.rmdir()
    log.write("info", "written")
    log.close()
    assert [(line["event"], line.get("lines")) for line in lines_of(path)] == [
        ("lost", 2),
        ("written", None),
    ]


def test_full_disk_loses_lines_but_raises_nothing(tmp_path: Path) -> None:
    # The largest size of a file that a process may write stands in for the disk.
    code = (
        "import resource, signal, sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from hil.campaign.log_file import LogFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "log = LogFile(Path(sys.argv[1]), now=lambda: datetime.now(UTC))\n"
        "for number in range(100):\n"
        "    log.write('info', 'counted', number=number)\n"
    )
    path = tmp_path / "log.jsonl"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert path.stat().st_size <= 1000
    written = lines_of(path)
    numbers = [line["number"] for line in written if line["event"] == "counted"]
    assert numbers == list(range(len(numbers)))
    assert numbers
    assert {line["event"] for line in written} <= {"counted", "lost"}


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl", now=now)

    def write(name: int) -> None:
        for _ in range(100):
            log.write("info", "thread", name=name, text="x" * 50)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    log.close()
    names = [line["name"] for line in lines_of(tmp_path / "log.jsonl")]
    assert [names.count(name) for name in range(4)] == [100] * 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with RunLog(now=now) as log:
        log.hear(RunStarted(run=tmp_path, title="T", chip="C", steps=()))
    assert list(tmp_path.iterdir()) == []
