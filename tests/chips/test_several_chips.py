"""Two chips of one campaign file, driven at the same time: real processes, private and served."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import hil, served_mock, start_hil

PROFILE = 'schema_version = 1\nname = "small"\n[array]\ncores = 2\nrows = 32\ncolumns = 32\n'
CAMPAIGN = """schema_version = 1
[campaign]
title = "Two chips"
seed = 3
[device]
timeout_s = 20
[devices.left]
resource = "{left}"
[devices.right]
resource = "{right}"
[vectors]
calibration = 64
verification = 32
block = 8
"""
PACE_S = 0.01
"""Of a vector, where somebody needs the time to interrupt: 384 vectors take 3.8 s at least, which
one chip must not have read before the other one begins."""
WAIT_S = 60.0
STEPS = ("core00_one_phase", "core00_four_phase", "core01_one_phase", "core01_four_phase")


def campaign_of(folder: Path, left: str, right: str) -> Path:
    (folder / "small.toml").write_text(PROFILE)
    path = folder / "two.toml"
    path.write_text(CAMPAIGN.format(left=left, right=right))
    return path


def readouts(run: Path) -> dict[str, str]:
    """Return the hash of what was read in each finished step."""
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    assert len({step["file"] for step in steps}) == len(steps), "a finished step was repeated"
    return {Path(step["file"]).stem: step["raw_sha256"] for step in steps}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """Run two private mocks, which nobody interrupts; return the hashes of what they gave."""
    folder = tmp_path_factory.mktemp("quiet")
    left, right = (f"mock://small.toml?seed={seed}" for seed in (1, 2))
    ended = hil("run", campaign_of(folder, left, right), "--out", folder / "out", "--json")
    assert ended.code == 0, ended.stderr
    document = ended.json
    assert document["title"] == "Two chips"
    assert [chip["chip"] for chip in document["chips"]] == ["left", "right"]
    for chip, serial in zip(document["chips"], ("small-1", "small-2"), strict=True):
        assert (chip["state"], chip["steps_done"], chip["steps"]) == ("complete", 4, 4)
        assert chip["exit_code"] == 0
        assert serial in chip["device"]
        assert 0 < chip["worst_nmpu_error"] < 1
    return readouts(folder / "out" / "left"), readouts(folder / "out" / "right")


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.02)


def begins_to_read(run: Path) -> bool:
    """Tell whether a run has read some vectors, by its progress file."""
    try:
        return bool(json.loads((run / "progress.json").read_bytes())["vectors_done"])
    except FileNotFoundError:
        return False


def writer_of(run: Path) -> int:
    """Return the process that writes a run."""
    pid: int = json.loads((run / "lock.json").read_bytes())["pid"]
    return pid


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=WAIT_S)
    return process.returncode, stdout, stderr


def test_each_chip_gives_what_it_gives_alone(
    quiet: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    left, right = quiet
    assert set(left) == set(STEPS)
    assert left != right
    path = campaign_of(tmp_path, "mock://small.toml?seed=1", "mock://small.toml?seed=2")
    alone = hil("run", path, "--chip", "right", "--out", tmp_path / "alone", "--json")
    assert alone.code == 0, alone.stderr
    assert readouts(tmp_path / "alone") == right


def test_interrupt_ends_both_in_order_and_both_go_on(
    quiet: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    left, right = (f"mock://small.toml?seed={seed}&vector_s={PACE_S}" for seed in (1, 2))
    out = tmp_path / "out"
    process = start_hil("run", campaign_of(tmp_path, left, right), "--out", out)
    wait_until(lambda: begins_to_read(out / "left") and begins_to_read(out / "right"))
    process.send_signal(signal.SIGINT)
    code, stdout, stderr = ended(process)
    assert code == 130, stderr
    assert "SIGINT: stopping left, right when their block is stored" in stderr
    assert f"stopped early: hil resume {out} goes on from there" in stderr
    assert stdout.count("interrupted") == 2
    assert "Traceback" not in stdout + stderr + (out / "left.txt").read_text()
    assert not (out / "left" / "lock.json").exists()

    resumed = hil("resume", out)
    assert resumed.code == 0, resumed.stderr
    assert resumed.stdout.count("complete") == 2
    assert (readouts(out / "left"), readouts(out / "right")) == quiet


def test_killed_chip_is_told_and_resumed_and_the_other_goes_on(
    quiet: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    campaign_of(tmp_path, "", "")
    options = ("--profile", str(tmp_path / "small.toml"), "--vector-s", PACE_S)
    out = tmp_path / "out"
    with served_mock(*options, "--seed", 1) as left, served_mock(*options, "--seed", 2) as right:
        process = start_hil("run", campaign_of(tmp_path, left, right), "--out", out)
        wait_until(lambda: begins_to_read(out / "left") and begins_to_read(out / "right"))
        os.kill(writer_of(out / "left"), signal.SIGKILL)
        code, stdout, stderr = ended(process)
        assert code == 4, stderr
        assert "left: was killed by SIGKILL" in stderr
        assert "right: complete" in stderr
        assert f"hil resume {out} goes on from there" in stderr
        assert [word in stdout for word in ("killed", "complete")] == [True, True]
        assert readouts(out / "right") == quiet[1]
        journal = (out / "right" / "journal.jsonl").read_bytes()

        resumed = hil("resume", out, "--json")
        assert resumed.code == 0, resumed.stderr
        codes = [chip["exit_code"] for chip in resumed.json["chips"]]
        assert codes == [0, None], "the complete one is left alone"
        assert (out / "right" / "journal.jsonl").read_bytes() == journal
        assert readouts(out / "left") == quiet[0]


def test_two_addresses_of_one_serial_number_are_one_chip(
    quiet: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    campaign_of(tmp_path, "", "")
    options = ("--profile", str(tmp_path / "small.toml"), "--vector-s", PACE_S, "--seed", 1)
    out = tmp_path / "out"
    with served_mock(*options) as left, served_mock(*options) as right:
        done = hil("run", campaign_of(tmp_path, left, right), "--out", out)
    assert done.code == 3, done.stderr
    (taken,) = (chip for chip in ("left", "right") if (out / chip).exists())
    refused = "right" if taken == "left" else "left"
    assert readouts(out / taken) == quiet[0]
    assert f"devices.{refused}.resource: " in done.stderr
    assert f"serial small-1, which {taken} of this campaign measures at this moment" in done.stderr


def test_absent_device_of_one_chip_does_not_hold_up_the_other(tmp_path: Path) -> None:
    absent = "TCPIP0::127.0.0.1::9::SOCKET"
    path = campaign_of(tmp_path, absent, "mock://small.toml?seed=2")
    out = tmp_path / "out"
    run = hil("run", path, "--out", out, "--set", "device.recovery_s=0.5")
    assert run.code == 4
    assert "left: " in run.stderr
    assert absent in run.stderr
    assert "right: complete" in run.stderr
    assert "has not begun" in run.stdout


def test_abort_stops_all_chips_from_another_terminal(tmp_path: Path) -> None:
    left, right = (f"mock://small.toml?seed={seed}&vector_s=0.05" for seed in (1, 2))
    out = tmp_path / "out"
    process = start_hil("run", campaign_of(tmp_path, left, right), "--out", out)
    wait_until(lambda: begins_to_read(out / "left") and begins_to_read(out / "right"))
    shown = hil("status", out, "--json").json
    assert [chip["status"]["state"] for chip in shown["chips"]] == ["running", "running"]
    stopped = hil("abort", out)
    assert stopped.code == 0, stopped.stderr
    assert "left: stopped\nright: stopped\n" in stopped.stdout
    code, _, stderr = ended(process)
    assert (code, f"hil resume {out} goes on" in stderr) == (130, True)
