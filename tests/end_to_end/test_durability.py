"""Full disks, folders that cannot be written, jumping clocks, pulled cables, swapped chips."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from benchmarks.outages import OutageBench
from benchmarks.run_differences import differences
from benchmarks.served_chip import ServedChip
from command_line import campaign_file, hil, start_hil
from hil.campaign.config.load import load_campaign
from hil.campaign.interruption import RunInterruptedError
from hil.campaign.run_events import RunEvent, VectorsRead
from hil.campaign.runner import resume_run, run_campaign
from hil.core.errors import ConfigError, DeviceError
from hil.core.readout import ReadMode
from hil_drivers.chip_driver import ChipOptions, find_chip_driver
from small_disk import SmallDisk, small_disk

PROFILE = """schema_version = 1
name = "small"
seed = {seed}
[array]
cores = 2
rows = 32
columns = 32
"""
VECTORS = "calibration = 128\nverification = 32\nblock = 8"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def profile_file(folder: Path, *, seed: int = 1) -> Path:
    path = folder / "small.toml"
    path.write_text(PROFILE.format(seed=seed))
    return path


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def wait_until(is_true: Callable[[], bool], *, limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A campaign file with a private mock, and a run of it that nobody disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    profile_file(folder)
    campaign = campaign_file(folder, resource="mock://small.toml", vectors=VECTORS)
    run_campaign(load_campaign(campaign), out=folder / "quiet", observer=Watcher(), now=lambda: NOW)
    return campaign, folder / "quiet"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", mib=8) as made:
        yield made


class Watcher:
    """Hears what happens; sends this process SIGINT after so many blocks."""

    def __init__(self, *, stops_after: int | None = None) -> None:
        self._left = stops_after

    def hear(self, event: RunEvent) -> None:
        if isinstance(event, VectorsRead) and self._left is not None:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGINT)

    def tick(self) -> None: ...

    def close(self) -> None: ...


def go_on(run: Path, *, now: Callable[[], datetime] = lambda: NOW) -> None:
    """Go on with a run in this process."""
    resume_run(
        run, None, accepts_changes=False, breaks_lock=False, observer=Watcher(), now=now
    )  # fmt: skip


def leaps(*leaps_s: float) -> Callable[[], datetime]:
    """Return a wall clock that leaps at every look, by each of these in turn."""
    state = {"looks": 0, "s": 0.0}

    def now() -> datetime:
        state["s"] += leaps_s[int(state["looks"]) % len(leaps_s)]
        state["looks"] += 1
        return NOW + timedelta(seconds=state["s"])

    return now


def test_disk_that_gets_full_ends_the_run_with_5_and_it_goes_on_when_there_is_room(
    quiet: tuple[Path, Path], disk: SmallDisk
) -> None:
    campaign, reference = quiet
    run = disk.folder / "run"
    # Single vectors take longer, and change no result: the disk must be full before the run ends.
    process = start_hil("run", campaign, "--out", run, "--set", "vectors.block=1")
    wait_until(lambda: any(run.glob("steps/*.part")))
    disk.fill()
    _, words = process.communicate(timeout=60)
    assert process.returncode == 5, words
    assert "No space left on device" in words
    assert f"hil resume {run}" in words
    assert "Traceback" not in words
    left = list(run.glob("steps/*.h5*"))
    assert left
    for path in left:
        with h5py.File(path, locking=False) as file:
            assert file["raw"].shape == (160, 2, 32)
    disk.give_room()
    resumed = hil("resume", run)
    assert resumed.code == 0, resumed.stderr
    assert events(run)[-1]["status"] == "complete"
    assert differences(run, reference) == []


def test_campaign_larger_than_its_disk_is_refused_before_its_chip_is_touched(
    tmp_path: Path, disk: SmallDisk
) -> None:
    chip = ServedChip(profile_file(tmp_path))
    try:
        campaign = campaign_file(
            tmp_path, resource=chip.resource, vectors="calibration = 65536\nverification = 32"
        )
        run = disk.folder / "run"
        with pytest.raises(ConfigError, match=r"needs .* its disk has .* free"):
            run_campaign(load_campaign(campaign), out=run, observer=Watcher(), now=lambda: NOW)
        assert not run.exists()
        board = find_chip_driver("aimc-board").open_chip(chip.resource, ChipOptions(timeout_s=5))
        try:
            with pytest.raises(DeviceError, match="program"):  # it holds nothing
                board.read_counts(0, ReadMode.ONE_PHASE, np.zeros((1, 32), np.int8))
        finally:
            board.close()
    finally:
        chip.kill()


def test_read_only_disk_is_refused_by_name_and_a_run_on_it_goes_on_when_it_is_writable(
    quiet: tuple[Path, Path], disk: SmallDisk
) -> None:
    campaign, reference = quiet
    run = disk.folder / "run"
    with pytest.raises(RunInterruptedError):
        run_campaign(
            load_campaign(campaign), out=run, observer=Watcher(stops_after=30), now=lambda: NOW
        )
    before = (run / "journal.jsonl").read_bytes()
    disk.set_writable(is_writable=False)
    with pytest.raises(ConfigError, match=r"new: .*Read-only file system"):
        run_campaign(
            load_campaign(campaign), out=disk.folder / "new", observer=Watcher(), now=lambda: NOW
        )
    refused = hil("resume", run)
    assert refused.code == 3
    assert "run: cannot be locked: Read-only file system" in refused.stderr
    assert "Traceback" not in refused.stderr
    disk.set_writable(is_writable=True)
    assert (run / "journal.jsonl").read_bytes() == before
    go_on(run)
    assert differences(run, reference) == []


def test_file_in_place_of_a_folder_is_refused_by_name(
    quiet: tuple[Path, Path], tmp_path: Path
) -> None:
    campaign, _ = quiet
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ConfigError, match=r"taken/run: cannot be used as output folder"):
        run_campaign(
            load_campaign(campaign),
            out=tmp_path / "taken" / "run",
            observer=Watcher(),
            now=lambda: NOW,
        )
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("leaps_s", [(-3600.0,), (1e8, -2e8)], ids=["back", "to and fro"])
def test_clock_that_leaps_changes_times_and_nothing_else(
    quiet: tuple[Path, Path], tmp_path: Path, leaps_s: tuple[float, ...]
) -> None:
    campaign, reference = quiet
    run = tmp_path / "run"
    began_s = time.monotonic()
    run_campaign(load_campaign(campaign), out=run, observer=Watcher(), now=leaps(*leaps_s))
    lasted_s = time.monotonic() - began_s
    assert differences(run, reference) == []
    # Durations are measured, not subtracted from what the clock on the wall says.
    for path in run.glob("steps/*.h5"):
        with h5py.File(path) as file:
            begins, ends = file["timing/began_s"][...], file["timing/ended_s"][...]
            assert np.all((begins >= 0) & (begins <= ends) & (ends <= lasted_s))


@pytest.mark.parametrize("leap_s", [1e8, -1e8], ids=["forward", "back"])
def test_clock_that_was_set_between_two_processes_changes_times_and_nothing_else(
    quiet: tuple[Path, Path], tmp_path: Path, leap_s: float
) -> None:
    campaign, reference = quiet
    run = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        run_campaign(
            load_campaign(campaign), out=run, observer=Watcher(stops_after=30), now=lambda: NOW
        )
    go_on(run, now=lambda: NOW + timedelta(seconds=leap_s))
    assert events(run)[-1]["status"] == "complete"
    assert differences(run, reference) == []
    with h5py.File(run / "steps" / "core01_four_phase.h5") as file:
        assert file["timing/ended_s"][...].max() < 60  # it began after the leap


def test_pulled_cable_is_waited_for_and_changes_nothing(tmp_path: Path) -> None:
    bench = OutageBench(tmp_path, seconds=1.2, vectors=256)
    try:
        outage = bench.disturb("cable pulled")
    finally:
        bench.close()
    assert outage.problems == ()
    assert 1 <= outage.steps_before < 4
    met = [event for event in events(tmp_path / "cable-pulled") if event["event"] == "fault"]
    assert max(event["recovered_s"] for event in met) > 1


def test_chip_that_is_swapped_meanwhile_ends_the_run_and_the_first_one_goes_on(
    tmp_path: Path,
) -> None:
    chip = ServedChip(profile_file(tmp_path))
    try:
        run = tmp_path / "run"
        campaign = campaign_file(
            tmp_path, resource=chip.resource, vectors=VECTORS.replace("block = 8", "block = 2")
        )
        process = start_hil("run", campaign, "--out", run)
        wait_until(lambda: any(run.glob("steps/*.h5")) and any(run.glob("steps/*.part")))
        chip.kill()
        profile_file(tmp_path, seed=2)
        chip.restart()
        _, words = process.communicate(timeout=60)
        assert process.returncode == 4, words
        assert "serial small-1" in words
        assert "serial small-2" in words
        finished = {path: path.stat().st_mtime_ns for path in run.glob("steps/*.h5")}
        assert finished
        chip.kill()
        profile_file(tmp_path, seed=1)
        chip.restart()
        go_on(run)
        assert events(run)[-1]["status"] == "complete"
        assert {path: path.stat().st_mtime_ns for path in finished} == finished
    finally:
        chip.kill()
