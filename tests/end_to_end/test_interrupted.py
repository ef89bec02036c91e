"""Runs that end early: what is finished stays, what is not is named so, nothing is left running."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from command_line import campaign_file, hil, start_hil

SEVERAL_STEPS = "cores = [0, 1, 2, 3]"


def wait_until(is_true: Callable[[], bool], *, limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def finished_steps(run: Path) -> int:
    journal = run / "journal.jsonl"
    return journal.read_text().count('"event": "step"') if journal.exists() else 0


def mocks_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of the mock servers that `process` has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(child) for child in children.split()]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def long_run(tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    path = campaign_file(
        tmp_path, campaign=SEVERAL_STEPS, vectors="calibration = 4096\nverification = 256"
    )
    process = start_hil("run", path)
    run = tmp_path / "run"
    wait_until(lambda: finished_steps(run) >= 2)
    return process, run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupt_keeps_finished_steps_and_exits_130(
    long_run: tuple[subprocess.Popen[str], Path], number: signal.Signals
) -> None:
    process, run = long_run
    mocks = mocks_of(process)
    process.send_signal(number)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert str(run) in words
    assert "Traceback" not in words
    info = hil("info", run, "--json").json
    assert (info["status"], info["reason"]) == ("interrupted", number.name)
    assert 2 <= len(info["steps"]) < 8
    assert mocks
    assert not any(map(is_alive, mocks))
    with h5py.File(run / "campaign.h5") as index:
        assert index["cores/00/one_phase/raw"].shape == (4352, 2, 256)


def test_kill_leaves_whole_steps_and_no_mock_behind(
    long_run: tuple[subprocess.Popen[str], Path],
) -> None:
    process, run = long_run
    mocks = mocks_of(process)
    process.kill()
    process.communicate()
    info = hil("info", run, "--json").json
    assert info["status"] == "unfinished"
    assert len(info["steps"]) >= 2
    assert mocks
    wait_until(lambda: not any(map(is_alive, mocks)))
    replayed = hil("replay", run, "--out", run.with_name("replayed"), "--json")
    assert replayed.code == 0, replayed.stderr
    assert len(replayed.json["steps"]) == len(info["steps"])


def test_device_that_dies_ends_the_run_with_exit_code_4(
    long_run: tuple[subprocess.Popen[str], Path],
) -> None:
    process, run = long_run
    (mock,) = mocks_of(process)
    os.kill(mock, signal.SIGKILL)
    began = time.monotonic()
    _, words = process.communicate(timeout=30)
    assert process.returncode == 4
    # Recovering and making safe each give up a private mock after 2 s, not after recovery_s = 20.
    assert time.monotonic() - began < 15
    assert "closed the connection" in words or "link is lost" in words
    assert str(run) in words
    info = hil("info", run, "--json").json
    assert info["status"] == "failed"
    assert len(info["steps"]) >= 2


def test_every_finished_step_is_in_the_journal_with_its_hash(
    long_run: tuple[subprocess.Popen[str], Path],
) -> None:
    process, run = long_run
    process.kill()
    process.communicate()
    lines = (run / "journal.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        if event["event"] == "step":
            with h5py.File(run / event["file"]) as step:
                assert step.attrs["raw_sha256"] == event["raw_sha256"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, hil.cli\n"
        "from click.testing import CliRunner\n"
        "assert CliRunner().invoke(hil.cli.command_line, ['--help']).exit_code == 0\n"
        "heavy = {'numpy', 'h5py', 'pyvisa', 'pydantic', 'rich', 'serial'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
