"""`hil status`, `hil abort` and `hil list`, beside a process that writes a run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import HIL, campaign_file, hil
from run_writer import running_writer

WRITER = """
import sys
from pathlib import Path
from hil.campaign.config.load import load_campaign
from hil.campaign.runner import run_campaign, utc_now
class Ready:
    def hear(self, event):
        if type(event).__name__ == "RunStarted":
            sys.stdout.write("ready\\n")
            sys.stdout.flush()
    def tick(self): pass
    def close(self): pass
run_campaign(load_campaign(Path(sys.argv[1])), out=None, observer=Ready(), now=utc_now)
"""
"""A campaign on the mock chip by the real runner, watched."""


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    path = campaign_file(
        tmp_path, campaign="cores = [0, 1, 2, 3]", vectors="calibration = 4096\nverification = 256"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_status_of_a_running_campaign(campaign: subprocess.Popen[str], tmp_path: Path) -> None:
    shown = hil("status", tmp_path / "run", "--json")
    assert shown.code == 0, shown.stderr
    assert (shown.json["state"], shown.json["title"]) == ("running", "Test")
    assert shown.json["writer"]["pid"] == campaign.pid
    assert shown.json["steps"] == 8
    assert shown.json["progress"]["vectors"] == 8 * 4352
    campaign.send_signal(signal.SIGKILL)
    campaign.wait(timeout=20)
    killed = hil("status", tmp_path / "run")
    assert killed.code == 0
    assert "Test: killed" in killed.stdout
    assert "nobody has made the chip and the instruments safe" in killed.stdout
    assert f"hil resume {tmp_path / 'run'} continues" in killed.stdout


def test_status_says_what_a_person_wants_to_know(tmp_path: Path) -> None:
    with running_writer(tmp_path / "run", "--steps", "100") as writer:
        deadline = time.monotonic() + 20
        while "nmpu 6.25 %" not in (shown := hil("status", tmp_path / "run")).stdout:
            assert time.monotonic() < deadline, shown.stdout
    lines = shown.stdout.splitlines()
    assert lines[0] == "Written: running"
    assert lines[1] == "  chip      maker model, serial 7, firmware 1"
    assert "  link      1 link fault (timeout 1)" in lines
    assert any(line.startswith("  now       core") for line in lines)
    assert any(f"process {writer.pid} of " in line for line in lines)


def test_watch_ends_with_the_run(tmp_path: Path) -> None:
    with running_writer(tmp_path / "run", "--steps", "20", "--block-s", "0.1"):
        watched = hil("status", tmp_path / "run", "--watch", "--json")
    assert watched.code == 0, watched.stderr
    states = [json.loads(line)["state"] for line in watched.stdout.splitlines()]
    assert states == ["running", "complete"]


def test_watch_can_be_left(tmp_path: Path) -> None:
    with running_writer(tmp_path / "run", "--steps", "500"):
        watch = subprocess.Popen(
            [str(HIL), "status", str(tmp_path / "run"), "--watch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None
        assert "steps" in watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, words = watch.communicate(timeout=20)
    assert (watch.returncode, words) == (130, "interrupted\n")


def test_abort_stops_the_writer_and_says_so(tmp_path: Path) -> None:
    with running_writer(tmp_path / "run", "--steps", "500") as writer:
        aborted = hil("abort", tmp_path / "run")
        writer.communicate(timeout=20)
    assert aborted.code == 0, aborted.stderr
    first, second, third, *_ = aborted.stdout.splitlines()
    assert first.startswith("stopped within ")
    assert second.startswith("Written: interrupted (asked by process ")
    assert third == f"  hil resume {tmp_path / 'run'} continues"


def test_abort_of_a_real_campaign_ends_it(campaign: subprocess.Popen[str], tmp_path: Path) -> None:
    aborted = hil("abort", tmp_path / "run", "--now")
    assert aborted.code == 0, aborted.stdout
    assert aborted.stdout.startswith("stopped after a signal within ")
    campaign.wait(timeout=20)


def test_abort_that_is_not_heeded_exits_with_1(tmp_path: Path) -> None:
    with running_writer(tmp_path / "run", "--steps", "500", "--stubborn") as writer:
        aborted = hil("abort", tmp_path / "run", "--wait", "0.5")
        assert writer.poll() is None
    assert aborted.code == 1
    assert aborted.stdout.startswith("still running after 0.5 s: process ")


def test_abort_of_a_finished_run_has_nothing_to_do(tmp_path: Path) -> None:
    with running_writer(tmp_path / "run", "--steps", "1") as writer:
        writer.communicate(timeout=20)
    aborted = hil("abort", tmp_path / "run")
    assert aborted.code == 0
    assert aborted.stdout.startswith("nothing to stop: the run is complete\n")
    assert not (tmp_path / "run" / "stop-request.json").exists()


def test_list_names_every_run_below(tmp_path: Path) -> None:
    with running_writer(tmp_path / "runs" / "a", "--steps", "1") as writer:
        writer.communicate(timeout=20)
    damaged = tmp_path / "runs" / "b\x1b[2J"
    damaged.mkdir()
    (damaged / "journal.jsonl").write_text("?\n")
    listed = hil("list", "runs", cwd=tmp_path)
    assert listed.code == 0, listed.stderr
    first, details, second, problem = listed.stdout.splitlines()
    assert (first, details) == ("runs/a", "    2026-01-31 12:00:00  complete  1/1 steps  Written")
    assert second == "runs/b?[2J"
    assert problem.startswith("    DAMAGED: line 1: is no JSON")
    as_json = hil("list", "runs", "--json", cwd=tmp_path).json
    assert [run["problem"] == "" for run in as_json] == [True, False]


@pytest.fixture
def replays(tmp_path: Path) -> Path:
    """A folder with runs `a`, `b`, `c`: a replay, one of long names, and a measurement."""
    measured = {
        "event": "start",
        "utc": "2026-01-31T12:00:00+00:00",
        "title": "Drift",
        "identity": {"serial": "quickstart-1"},
    }
    replay = measured | {"replay_of": {"core00_one_phase": "ab"}}
    starts = {
        "a": replay | {"replayed_run": "/data/first"},
        "b": replay | {"replayed_run": f"/data/{'x' * 100}"},
        "c": measured,
    }
    for name, start in starts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "campaign.toml").touch()
        (tmp_path / name / "journal.jsonl").write_text(json.dumps(start) + "\n")
    return tmp_path


def test_list_names_what_a_replay_is_of_and_fits_a_terminal(replays: Path) -> None:
    beginning = "    2026-01-31 12:00:00  killed  0/0 steps  quickstart-1  "
    a, a_words, b, b_words, c, c_words = hil("list", replays).stdout.splitlines()
    assert [a, b, c] == [str(replays / name) for name in "abc"]
    assert (a_words, c_words) == (f"{beginning}replay of first", f"{beginning}Drift")
    assert b_words.startswith(f"{beginning}replay of xxx")
    assert b_words.endswith("x...")
    assert len(b_words) <= 100


def test_info_names_what_a_replay_is_of(replays: Path) -> None:
    assert "\nreplay of /data/first: nothing was measured\n" in hil("info", replays / "a").stdout
    assert "replay of" not in hil("info", replays / "c").stdout


@pytest.mark.parametrize("command", ["status", "abort", "list"])
def test_what_is_not_there_exits_with_5(tmp_path: Path, command: str) -> None:
    ended = hil(command, tmp_path / "none")
    assert (ended.code, ended.stdout) == (5, "")
    assert "no such folder" in ended.stderr


def test_list_of_nothing_says_so(tmp_path: Path) -> None:
    assert hil("list", tmp_path).stdout == f"no runs in {tmp_path}\n"
