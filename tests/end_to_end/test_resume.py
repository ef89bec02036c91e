"""Runs that end early go on: after signals, a full disk, a lost device, changed circumstances."""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.run_differences import differences
from benchmarks.served_chip import ServedChip
from command_line import HIL, campaign_file, hil, start_hil
from forked_hil import forked_hil

PROFILE = """schema_version = 1
name = "small"
seed = {seed}
[array]
cores = 2
rows = 32
columns = 32
"""
VECTORS = "calibration = 2048\nverification = 256\nblock = 8"


def wait_until(is_true: Callable[[], bool], *, limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def profile_file(folder: Path, *, seed: int = 1) -> Path:
    path = folder / f"small{seed}.toml"
    path.write_text(PROFILE.format(seed=seed))
    return path


def events(run: Path) -> list[dict[str, Any]]:
    journal = run / "journal.jsonl"
    if not journal.exists():
        return []
    return [json.loads(line) for line in journal.read_text().split("\n")[:-1]]


def events_of(run: Path, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in events(run) if event["event"] in kinds]


def has_part(run: Path) -> bool:
    return any(run.glob("steps/*.part"))


def holds_durable_vectors(run: Path) -> bool:
    for part in run.glob("steps/*.part"):
        with suppress(FileNotFoundError):  # its step has just been finished
            return b'"vectors": 64' in part.read_bytes()[:512]
    return False


def start_and_reach_part(
    campaign: Path, run: Path, *, steps: int = 1, script: Path = HIL
) -> subprocess.Popen[str]:
    """Start a run, and wait until so many steps are finished and another one is being taken."""
    process = start_hil("run", campaign, "--out", run, script=script)
    wait_until(lambda: len(events_of(run, "step")) >= steps and has_part(run))
    return process


def killed_run(campaign: Path, folder: Path, *, steps: int = 1) -> Path:
    """Return a run that was killed in a step, when so many were finished."""
    process = start_and_reach_part(campaign, folder / "run", steps=steps)
    process.kill()
    process.communicate()
    return folder / "run"


def interrupted_run(campaign: Path, folder: Path) -> Path:
    """Return a run that somebody has stopped in a step."""
    process = start_and_reach_part(campaign, folder / "run", script=forked_hil())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    return folder / "run"


def wait_until_begun(run: Path, *, times: int) -> None:
    wait_until(lambda: len(events_of(run, "start", "resume")) >= times and has_part(run))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A campaign file with a private mock, and a run of it that nobody disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    profile_file(folder)
    campaign = campaign_file(folder, resource="mock://small1.toml", vectors=VECTORS)
    done = hil("run", campaign, "--out", folder / "quiet")
    assert done.code == 0, done.stderr
    return campaign, folder / "quiet"


@pytest.fixture(scope="module")
def killed(quiet: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the same campaign that was killed in its second step or later, to be copied."""
    return killed_run(quiet[0], tmp_path_factory.mktemp("killed"))


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[ServedChip]:
    served = ServedChip(profile_file(tmp_path))
    yield served
    served.kill()


def check_complete(run: Path, reference: Path) -> None:
    done = hil("resume", run)
    assert done.code == 0, done.stderr
    assert events(run)[-1]["status"] == "complete"
    assert differences(run, reference) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signal_ends_the_run_after_its_block_and_it_goes_on_bit_by_bit(
    quiet: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    campaign, reference = quiet
    run = tmp_path / "run"
    process = start_and_reach_part(campaign, run)
    process.send_signal(number)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"hil resume {run}" in words
    (stop,) = events_of(run, "stop")
    assert (stop["status"], stop["reason"]) == ("interrupted", number.name)
    check_complete(run, reference)


def test_abort_from_another_terminal_ends_the_run_and_it_goes_on(
    quiet: tuple[Path, Path], tmp_path: Path
) -> None:
    campaign, reference = quiet
    run = tmp_path / "run"
    # Single vectors take longer, and change no result: the run must not end by itself.
    process = start_hil("run", campaign, "--out", run, "--set", "vectors.block=4")
    wait_until(lambda: has_part(run))
    aborted = hil("abort", run)
    process.communicate(timeout=30)
    assert (aborted.code, process.returncode) == (0, 130), aborted.stderr
    assert "hil abort by process" in events_of(run, "stop")[0]["reason"]
    check_complete(run, reference)


def test_killed_step_whose_chip_ended_with_it_begins_anew_and_has_the_same_bits(
    quiet: tuple[Path, Path], tmp_path: Path
) -> None:
    campaign, reference = quiet
    run = tmp_path / "run"
    process = start_and_reach_part(campaign, run)
    wait_until(lambda: holds_durable_vectors(run))
    process.kill()
    process.communicate()
    before = {event["file"] for event in events_of(run, "step")}
    check_complete(run, reference)
    after = [event["file"] for event in events_of(run, "step")]
    assert before <= set(after)
    assert len(after) == len(set(after)) == 4
    (aside,) = events_of(run, "suspect")
    assert aside["vectors"] >= 64
    assert "was programmed again: read under its former programming" in aside["reason"]
    assert "was begun anew, since its core was programmed again" in hil("info", run).stdout


@pytest.mark.parametrize("damage", ["flipped bit", "cut off", "no head"])
def test_damaged_part_is_measured_again(
    quiet: tuple[Path, Path], killed: Path, tmp_path: Path, damage: str
) -> None:
    _, reference = quiet
    run = shutil.copytree(killed, tmp_path / "run")
    for part in run.glob("steps/*.part"):
        content = bytearray(part.read_bytes())
        if damage == "flipped bit":
            content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        elif damage == "cut off":
            del content[len(content) // 3 :]
        else:
            content[:512] = bytes(512)
        part.write_bytes(content)
    check_complete(run, reference)


def test_whole_file_without_its_line_in_the_journal_is_taken_over(
    quiet: tuple[Path, Path], tmp_path: Path
) -> None:
    campaign, reference = quiet
    run = killed_run(campaign, tmp_path, steps=2)
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    last = max(place for place, line in enumerate(lines) if b'"event": "step"' in line)
    file = run / json.loads(lines[last])["file"]
    (run / "journal.jsonl").write_bytes(b"".join(lines[:last] + lines[last + 1 :]))
    before = file.stat().st_mtime_ns
    check_complete(run, reference)
    assert file.stat().st_mtime_ns == before


def test_full_disk_ends_the_run_with_5_and_it_goes_on_when_there_is_room(
    quiet: tuple[Path, Path], tmp_path: Path
) -> None:
    campaign, reference = quiet
    run = tmp_path / "run"

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))

    done = subprocess.run(
        [str(HIL), "run", str(campaign), "--out", str(run)],
        capture_output=True, text=True, check=False, preexec_fn=fill_disk,
    )  # fmt: skip
    assert done.returncode == 5
    assert "cannot be written: File too large" in done.stderr
    assert f"hil resume {run}" in done.stderr
    check_complete(run, reference)


@pytest.mark.parametrize("victim", ["campaign", "mock"])
def test_suspended_process_costs_time_and_nothing_else(
    quiet: tuple[Path, Path], tmp_path: Path, victim: str
) -> None:
    campaign, reference = quiet
    run = tmp_path / "run"
    process = start_hil("run", campaign, "--out", run, "--set", "device.timeout_s=0.5")
    wait_until(lambda: has_part(run))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pid = process.pid if victim == "campaign" else int(children[0])
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(pid, signal.SIGCONT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 0, words
    check_same_readouts(run, reference)


def check_same_readouts(run: Path, reference: Path) -> None:
    hashes = [
        {e["file"]: e["raw_sha256"] for e in events_of(of, "step")} for of in (run, reference)
    ]
    assert hashes[0] == hashes[1]


def test_device_that_is_gone_ends_the_run_with_4_and_it_goes_on_with_what_the_chip_kept(
    chip: ServedChip, tmp_path: Path
) -> None:
    device = "timeout_s = 2\nrecovery_s = 0.5"
    campaign = campaign_file(tmp_path, resource=chip.resource, vectors=VECTORS, device=device)
    reference, run = tmp_path / "reference", tmp_path / "run"
    assert hil("run", campaign, "--out", reference).code == 0
    process = start_and_reach_part(campaign, run)
    chip.kill()
    _, words = process.communicate(timeout=30)
    assert process.returncode == 4
    assert f"hil resume {run}" in words
    assert hil("resume", run).code == 4  # it is still gone
    chip.restart()
    check_complete(run, reference)


def test_weights_are_not_programmed_again_where_the_chip_has_kept_them(
    chip: ServedChip, tmp_path: Path
) -> None:
    campaign = campaign_file(
        tmp_path, resource=chip.resource, vectors=VECTORS, campaign="cores = [1]"
    )
    run = tmp_path / "run"
    for command in (["run", campaign, "--out", run], ["resume", run]):
        process = start_hil(*command)
        wait_until_begun(run, times=len(events_of(run, "start", "resume")) + 1)
        process.kill()
        process.communicate()
        assert len(events_of(run, "program")) == 1
    chip.kill()
    chip.restart()
    assert hil("resume", run).code == 0
    assert len(events_of(run, "program")) == 2


def test_other_chip_is_refused_whatever_is_accepted(chip: ServedChip, tmp_path: Path) -> None:
    campaign = campaign_file(tmp_path, resource=chip.resource, vectors=VECTORS)
    run = interrupted_run(campaign, tmp_path)
    before = events(run)
    chip.kill()
    (tmp_path / "small1.toml").write_text(PROFILE.format(seed=2))
    chip.restart()
    refused = hil("resume", run, "--accept-changes")
    assert refused.code == 3
    assert "serial small-2" in refused.stderr
    assert "begin another run for it" in refused.stderr
    assert events(run) == before


def test_changed_campaign_is_refused_unless_it_is_accepted(
    quiet: tuple[Path, Path], tmp_path: Path
) -> None:
    campaign, _ = quiet
    run = interrupted_run(campaign, tmp_path)
    changed = campaign.with_name("changed.toml")
    changed.write_text(campaign.read_text() + "[calibration]\nheadroom = 2\n")
    refused = hil("resume", run, "--campaign", changed)
    assert refused.code == 3
    assert "calibration.headroom: was 1.5, is 2.0" in refused.stderr
    assert "--accept-changes" in refused.stderr
    accepted = hil("resume", run, "--campaign", changed, "--accept-changes")
    assert accepted.code == 0, accepted.stderr
    (resumed,) = events_of(run, "resume")
    assert resumed["accepted"] == ["calibration.headroom: was 1.5, is 2.0"]
    assert (run / "campaign.2.toml").read_text() == changed.read_text()
    assert (run / "campaign.toml").read_text() == campaign.read_text()
    assert hil("info", run, "--json").json["status"] == "complete"
    assert hil("replay", run, "--out", tmp_path / "replayed").code == 0


def test_same_campaign_in_other_words_is_no_change(
    quiet: tuple[Path, Path], killed: Path, tmp_path: Path
) -> None:
    campaign, reference = quiet
    run = shutil.copytree(killed, tmp_path / "run")
    same = campaign.with_name("same.toml")
    same.write_text("# a remark\n" + campaign.read_text())
    assert hil("resume", run, "--campaign", same).code == 0
    assert differences(run, reference) == []


def test_complete_run_is_printed(quiet: tuple[Path, Path]) -> None:
    _, reference = quiet
    before = events(reference)
    assert hil("resume", reference, "--json").json["status"] == "complete"
    assert events(reference) == before


def test_run_into_the_folder_of_one_that_was_killed_says_how_it_goes_on(
    quiet: tuple[Path, Path], killed: Path, tmp_path: Path
) -> None:
    campaign, _ = quiet
    run = shutil.copytree(killed, tmp_path / "run")
    refused = hil("run", campaign, "--out", run)
    assert refused.code == 3
    assert f"hil resume {run} goes on" in refused.stderr


def test_second_process_cannot_go_on_with_a_run_that_is_being_written(
    quiet: tuple[Path, Path], tmp_path: Path
) -> None:
    campaign, reference = quiet
    run = tmp_path / "run"
    process = start_and_reach_part(campaign, run, script=forked_hil())
    refused = hil("resume", run)
    process.communicate(timeout=60)
    assert refused.code == 3
    assert "hil abort stops it" in refused.stderr
    assert differences(run, reference) == []


def test_replay_cannot_go_on(quiet: tuple[Path, Path], tmp_path: Path) -> None:
    _, reference = quiet
    replayed = tmp_path / "replayed"
    assert hil("replay", reference, "--out", replayed).code == 0
    refused = hil("resume", replayed)
    assert refused.code == 5
    assert "hil replay" in refused.stderr
