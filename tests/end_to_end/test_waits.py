"""Campaigns that wait: at once in virtual time, and as long as nobody stops them in real time."""

import json
import socket
import time
from pathlib import Path
from typing import Any

from command_line import campaign_file, hil, start_hil
from hil.campaign.progress_file import read_progress
from hil.campaign.run_events import RunState
from hil_datasets.run_directory import open_directory

CHAMBER = """
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {value}"
query = "TEMP?"
unit = "degC"
lower = -20
upper = 85
settle = { tolerance = 0.2, stable_s = 1800, timeout_s = 7200, every_s = 60 }
value = 45
safe = 25
"""
CORE = 'cores = [0]\nread_modes = ["one_phase"]'


def campaign(folder: Path, resource: str) -> Path:
    folder.mkdir()
    return campaign_file(folder, resource=resource, campaign=CORE, rest=CHAMBER)


def logged(run: Path, event: str) -> list[dict[str, Any]]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def asked(place: str, message: str) -> str:
    """Ask at a place that `hil mock serve` has announced."""
    host, port = place.split("::")[1:3]
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(f"{message}\n".encode())
        return client.makefile().readline().strip()


def test_campaign_in_virtual_time_waits_at_once_and_gives_the_same_bits_again(
    tmp_path: Path,
) -> None:
    hashes = []
    for name in ("first", "second"):
        path = campaign(tmp_path / name, "mock://quickstart?time=virtual")
        began_s = time.monotonic()
        ended = hil("run", path)
        assert ended.code == 0, ended.stderr
        assert time.monotonic() - began_s < 30  # of 1800 s at least
        run = open_directory(tmp_path / name / "run")
        (record,) = run.read_steps()
        (condition,) = record.conditions
        assert record.origin.temperature_c > 44.5
        hashes.append((record.raw_sha256, condition.at_start, condition.at_end))
    assert hashes[0] == hashes[1]
    (wait,) = logged(tmp_path / "first" / "run", "waiting")
    assert wait["reason"] == "for chamber.temperature to settle at 45 degC"
    assert len(logged(tmp_path / "first" / "run", "wait_ended")) == 1


def test_abort_ends_a_wait_at_once_and_status_tells_of_it(tmp_path: Path) -> None:
    process = start_hil("run", campaign(tmp_path / "here", "mock://quickstart"))
    run = tmp_path / "here" / "run"
    deadline = time.monotonic() + 30
    while (stored := read_progress(run)) is None or stored.progress.waiting is None:
        assert time.monotonic() < deadline, stored
        assert process.poll() is None
        time.sleep(0.05)
    words = hil("status", run).stdout
    assert "  wait      waits for chamber.temperature to settle at 45 degC\n" in words
    began_s = time.monotonic()
    aborted = hil("abort", run)
    assert aborted.code == 0, aborted.stderr
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - began_s < 10  # the settling would take half an hour
    ended = read_progress(run)
    assert ended is not None
    assert (ended.progress.state, ended.progress.waiting) == (RunState.INTERRUPTED, None)


def test_time_of_a_served_mock_moves_chip_and_chamber_by_its_control_channel() -> None:
    ways = ("--tcp", "--control", "--chamber")
    arguments = [part for way in ways for part in (way, "127.0.0.1:0")]
    process = start_hil("mock", "serve", *arguments, "--bench-speed", "0")
    assert process.stdout is not None
    _, control, chamber = (process.stdout.readline() for _ in ways)
    assert asked(chamber, "TEMP:SETP 45;SIM:TIME?") == "0.0"
    assert asked(control, "MOCK:TIME:ADV 86400;MOCK:TIME?") == "86400"
    assert asked(chamber, "SIM:TIME?") == "86400.0"
    assert abs(float(asked(chamber, "TEMP?")) - 45) < 0.1
    process.terminate()
    assert process.wait(timeout=20) == 0
