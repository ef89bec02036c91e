"""Asking a run to stop: real writers, real signals; other machines and old numbers are faked."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hil.campaign.control import (
    StopKind,
    StopOutcome,
    StopRequests,
    StopTools,
    leave_stop_request,
    stop_run,
)
from hil.campaign.process_identity import ProcessTable
from hil.campaign.run_lock import acquire_run_lock
from hil.core.errors import DatasetError
from run_writer import running_writer


def now() -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


def tools() -> StopTools:
    return StopTools(table=ProcessTable(), now=now, clock=time.monotonic, sleep=time.sleep)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def test_running_writer_stops_by_the_request_alone(run: Path) -> None:
    with running_writer(run, "--steps", "200", "--block-s", "0.1") as writer:
        report = stop_run(run, StopKind.AFTER_BLOCK, wait_s=20, tools=tools())
        words, _ = writer.communicate(timeout=20)
    assert (report.outcome, report.signals, report.note) == (StopOutcome.STOPPED, 0, "")
    assert "asked by process" in words
    assert not (run / "stop-request.json").exists()


def test_stopping_at_once_sends_a_signal(run: Path) -> None:
    with running_writer(run, "--steps", "200", "--block-s", "0.1") as writer:
        report = stop_run(run, StopKind.AT_ONCE, wait_s=20, tools=tools())
        writer.communicate(timeout=20)
    assert (report.outcome, report.signals) == (StopOutcome.STOPPED, 1)


def test_writer_that_heeds_nothing_is_reported_and_not_killed(run: Path) -> None:
    with running_writer(run, "--steps", "200", "--stubborn") as writer:
        report = stop_run(run, StopKind.AFTER_BLOCK, wait_s=3, tools=tools())
        assert writer.poll() is None
    assert (report.outcome, report.signals) == (StopOutcome.STILL_RUNNING, 1)
    assert 3 <= report.waited_s < 6


def test_killed_writer_is_not_asked(run: Path) -> None:
    with running_writer(run, "--steps", "200") as writer:
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=20)
    report = stop_run(run, StopKind.AFTER_BLOCK, wait_s=5, tools=tools())
    assert report.outcome is StopOutcome.WAS_KILLED
    assert not (run / "stop-request.json").exists()


def test_run_that_nobody_writes_needs_no_stop(run: Path) -> None:
    report = stop_run(run, StopKind.AT_ONCE, wait_s=5, tools=tools())
    assert report.outcome is StopOutcome.NOT_RUNNING


def test_own_process_gets_no_signal(run: Path) -> None:
    with acquire_run_lock(run, now=now):
        report = stop_run(run, StopKind.AT_ONCE, wait_s=0.5, tools=tools())
    assert report.outcome is StopOutcome.STILL_RUNNING
    assert report.note == "no signal was sent: the run is written by this very process"


def test_process_with_the_number_of_a_former_writer_gets_no_signal(run: Path) -> None:
    # The writer's own lock, but as if the process of that number had been another one.
    with running_writer(run, "--steps", "200") as writer:
        path = run / "lock.json"
        started = Path(f"/proc/{writer.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
        path.write_text(path.read_text().replace(f'"started": {started}', '"started": 1'))
        report = stop_run(run, StopKind.AT_ONCE, wait_s=5, tools=tools())
        assert report.outcome is StopOutcome.WAS_KILLED
        time.sleep(0.3)
        assert writer.poll() is None


def test_other_machines_writer_gets_the_request_only(run: Path) -> None:
    table = ProcessTable()
    far = replace(table.own(), host="cellar", machine="m2", boot_id="far")
    with running_writer(run, "--steps", "200") as writer:
        path = run / "lock.json"
        text = path.read_text()
        for name in ("host", "machine", "boot_id"):
            text = text.replace(getattr(table.own(), name), getattr(far, name))
        path.write_text(text)
        report = stop_run(run, StopKind.AT_ONCE, wait_s=0.5, tools=tools())
        assert writer.poll() is None
    assert report.outcome is StopOutcome.STILL_RUNNING
    assert "on cellar is on another machine, it has only the request" in report.note
    assert (run / "stop-request.json").exists()


def test_request_to_a_former_writer_means_nothing_to_the_next(run: Path) -> None:
    own = ProcessTable().own()
    former = replace(own, pid=os.getpid() + 1)
    leave_stop_request(run, StopKind.AT_ONCE, writer=former, by=own, now=now)
    assert StopRequests(run, own).pending() is None
    request = StopRequests(run, former).pending()
    assert request is not None
    assert (request.kind, request.utc) == (StopKind.AT_ONCE, "2026-01-31T12:00:00+00:00")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"writer": 1}'])
def test_damaged_request_means_nothing(run: Path, content: bytes) -> None:
    (run / "stop-request.json").write_bytes(content)
    assert StopRequests(run, ProcessTable().own()).pending() is None


def test_unreadable_lock_is_a_clear_error(run: Path) -> None:
    (run / "lock.json").write_text("{")
    with pytest.raises(DatasetError, match=r"lock\.json"):
        stop_run(run, StopKind.AT_ONCE, wait_s=0, tools=tools())


def say_who_writes(run: Path, pid: int, *, started: int | None) -> None:
    """Write a lock file that no process holds, as a copied or a forged one."""
    writer = replace(ProcessTable().own(), pid=pid, started=started)
    (run / "lock.json").write_text(json.dumps({**writer.to_json(), "since": "2026"}))


def start_time_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


@pytest.mark.parametrize("knows_start", [True, False])
def test_stranger_named_by_a_lock_that_nobody_holds_gets_no_signal(
    run: Path, *, knows_start: bool
) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        started = start_time_of(stranger.pid) if knows_start else None
        say_who_writes(run, stranger.pid, started=started)
        report = stop_run(run, StopKind.AT_ONCE, wait_s=0.4, tools=tools())
        time.sleep(0.1)
        assert stranger.poll() is None
        stranger.kill()
    assert (report.outcome, report.signals) == (StopOutcome.STILL_RUNNING, 0)
    words = "nobody holds lock.json" if knows_start else "it is not proven that process"
    assert report.note.startswith(f"no signal was sent: {words}")


def test_held_lock_without_a_start_time_proves_nothing(run: Path) -> None:
    with running_writer(run, "--steps", "200", "--stubborn") as writer:
        path = run / "lock.json"
        path.write_text(path.read_text().replace(str(start_time_of(writer.pid)), "null"))
        report = stop_run(run, StopKind.AT_ONCE, wait_s=0.3, tools=tools())
    assert report.signals == 0
    assert report.note.startswith("no signal was sent: it is not proven that process")


def test_first_process_gets_no_signal(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a signal was sent")

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    say_who_writes(run, 1, started=start_time_of(1))
    with (run / "lock.json").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        report = stop_run(run, StopKind.AT_ONCE, wait_s=0.3, tools=tools())
    assert report.note == "no signal was sent: process 1 is never sent one"
