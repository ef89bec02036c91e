"""A core that is programmed again has other weights: no step joins readouts of two programmings."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from benchmarks.run_differences import differences
from benchmarks.served_chip import ServedChip
from command_line import PROJECT, campaign_file, hil, start_hil

PROFILE = """schema_version = 1
name = "small"
[array]
cores = 1
rows = 32
columns = 32
programming_noise = {noise}
"""
STEP = "core00_four_phase"
ONE_STEP = 'cores = [0]\nread_modes = ["four_phase"]'
VECTORS = "calibration = 1024\nverification = 16\nblock = 2"
DEVICE = "timeout_s = 2\nrecovery_s = 0.5"


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def events(run: Path, *kinds: str) -> list[dict[str, Any]]:
    lines = (run / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if not kinds or event["event"] in kinds]


def rewrite(run: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "journal.jsonl").write_text(text)


def holds_vectors(run: Path, step: str = STEP) -> bool:
    """Tell whether some vectors of a step are stored: they survive the end of the process."""
    try:
        head = (run / "steps" / f"{step}.h5.part").read_bytes()[:512]
    except FileNotFoundError:
        return False
    return int((re.findall(rb'"vectors": (\d+)', head) or [0])[0]) > 0


def start_and_reach(campaign: Path, run: Path, step: str = STEP) -> "subprocess.Popen[str]":
    """Start a run, and wait until it is in the midst of a step."""
    process = start_hil("run", campaign, "--out", run)
    wait_until(lambda: holds_vectors(run, step))
    return process


def killed(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate(timeout=60)


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[ServedChip]:
    (tmp_path / "small.toml").write_text(PROFILE.format(noise=1))
    served = ServedChip(tmp_path / "small.toml")
    yield served
    served.kill()


@pytest.fixture
def campaign(chip: ServedChip, tmp_path: Path) -> Path:
    return campaign_file(
        tmp_path, resource=chip.resource, campaign=ONE_STEP, vectors=VECTORS, device=DEVICE
    )


def power_cycle(chip: ServedChip, folder: Path, *, noise: float) -> None:
    """Serve the chip of the same serial number again: its weights are gone, its noise is new."""
    (folder / "small.toml").write_text(PROFILE.format(noise=noise))
    chip.restart()


def test_step_of_a_chip_that_lost_its_weights_begins_anew_and_says_so(
    chip: ServedChip, campaign: Path, tmp_path: Path
) -> None:
    run, clean = tmp_path / "run", tmp_path / "clean"
    process = start_and_reach(campaign, run)
    chip.kill()
    process.communicate(timeout=60)
    assert process.returncode == 4
    power_cycle(chip, tmp_path, noise=6)
    resumed = hil("resume", run)
    assert resumed.code == 0, resumed.stderr
    assert hil("run", campaign, "--out", clean).code == 0
    # The second chip's own run is the oracle: not one vector of the first chip is among these.
    assert differences(run, clean) == []

    (aside,) = events(run, "suspect")
    vectors = aside["vectors"]
    assert 0 < vectors < 1040
    assert (
        f"core 0 was programmed again: step {STEP} begins anew, {vectors} vectors of the former "
        "programming are not used"
    ) in " ".join(resumed.stderr.split())
    assert [event["number"] for event in events(run, "program")] == [1, 2]
    assert [(event["vectors"], event["programming"]) for event in events(run, "begin")] == [
        (0, 1),
        (0, 2),
    ]
    assert events(run, "step")[0]["programming"] == 2
    with np.load(run / aside["file"]) as kept, h5py.File(run / "steps" / f"{STEP}.h5") as file:
        assert kept["counts"].shape == (vectors, 2, 32)
        assert (kept["counts"] != file["raw"][:vectors]).any()
    verified = hil("data", "verify", run)
    assert verified.code == 0
    assert f"{vectors} vectors of a former programming are not used" in verified.stdout
    traced = hil("data", "trace", run, "--core", "0", "--column", "3")
    assert traced.code == 0, traced.stdout


def test_killed_step_goes_on_after_its_last_block_where_the_chip_has_kept_its_weights(
    campaign: Path, tmp_path: Path
) -> None:
    run, quiet = tmp_path / "run", tmp_path / "quiet"
    killed(start_and_reach(campaign, run))
    assert hil("resume", run).code == 0
    first, second = events(run, "begin")
    assert (first["vectors"], first["programming"]) == (0, 1)
    assert second["vectors"] > 0
    assert second["programming"] == 1
    assert len(events(run, "program")) == 1
    assert events(run, "suspect") == []
    assert hil("run", campaign, "--out", quiet).code == 0
    assert differences(run, quiet) == []


def test_same_weights_that_somebody_else_has_programmed_are_another_programming(
    campaign: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    killed(start_and_reach(campaign, run))
    assert hil("run", campaign, "--out", tmp_path / "other").code == 0
    resumed = hil("resume", run)
    assert resumed.code == 0
    assert "core 0 was programmed again" in resumed.stderr
    assert len(events(run, "suspect")) == 1
    assert [event["vectors"] for event in events(run, "begin")] == [0, 0]


def test_probe_after_another_programming_says_that_its_calibration_was_before_it(
    chip: ServedChip, tmp_path: Path
) -> None:
    probe = f"{STEP}_probe"
    rest = "[steps.calibrate]\n[steps.probe]\nvectors = 1024\n"
    vectors = "calibration = 64\nverification = 1024\nblock = 2"
    campaign = campaign_file(
        tmp_path, resource=chip.resource, campaign=ONE_STEP, vectors=vectors, rest=rest
    )
    run = tmp_path / "run"
    killed(start_and_reach(campaign, run, probe))
    chip.kill()
    power_cycle(chip, tmp_path, noise=6)
    asked = time.monotonic()
    resumed = hil("resume", run)
    took_s = time.monotonic() - asked
    assert resumed.code == 0, resumed.stderr
    words = " ".join(resumed.stderr.split())
    assert "core 0 was programmed again: its age counts from now" in words
    calibrated, probed = events(run, "step")
    assert (calibrated["programming"], probed["programming"]) == (1, 2)
    assert "remark" not in calibrated
    assert probed["remark"] == (
        f"judges {STEP}, which was read under programming 1 of core 0; this step was under "
        "programming 2: its error is not of age alone"
    )
    with h5py.File(run / "steps" / f"{probe}.h5") as file:
        assert 0 <= file["circumstance"].attrs["age_s"] <= took_s
    assert hil("data", "verify", run).code == 0


BARE_CHIP = '''"""toychip, whose driver cannot say what a core holds."""

from toychip.driver import ToyChip, ToyDriver


class BareChip(ToyChip):
    holds = times_programmed = None


class BareDriver(ToyDriver):
    def open_chip(self, resource, options):
        return BareChip(resource, timeout_s=options.timeout_s)


DRIVER = BareDriver()
'''


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two chip drivers as an installer leaves them: `holds` is in one of them."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(PROJECT / "examples" / "custom_chip" / "toychip", folder / "toychip")
    (folder / "bare_chip.py").write_text(BARE_CHIP)
    info = folder / "two_drivers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: two-drivers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[hil.chips]\ntoychip = toychip.driver:DRIVER\nbare = bare_chip:DRIVER\n"
    )
    return folder


@pytest.fixture(scope="module")
def toychip(shelf: Path) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "toychip.mock", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(shelf)},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def interrupted_run_of(driver: str, toychip: str, folder: Path) -> Path:
    campaign = campaign_file(
        folder, resource=toychip, campaign=ONE_STEP, device=f'driver = "{driver}"',
        vectors="calibration = 1024\nverification = 16\nblock = 1",
    )  # fmt: skip
    process = start_and_reach(campaign, folder / "run")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    return folder / "run"


def test_driver_that_cannot_say_what_a_core_holds_has_its_step_begun_anew(
    shelf: Path, toychip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(shelf))
    run = interrupted_run_of("bare", toychip, tmp_path)
    resumed = hil("resume", run)
    assert resumed.code == 0, resumed.stderr
    assert f"core 0 was programmed again: step {STEP} begins anew" in resumed.stderr
    (aside,) = events(run, "suspect")
    names = [event["event"] for event in events(run)]
    assert names[names.index("resume") :] == [
        *("resume", "program", "suspect", "begin", "step", "stop")
    ]
    with np.load(run / aside["file"]) as kept, h5py.File(run / "steps" / f"{STEP}.h5") as file:
        # The toy chip's noise never comes again: these vectors were read a second time.
        assert (kept["counts"] != file["raw"][: aside["vectors"]]).any()
    traced = hil("data", "trace", run, "--core", "0", "--column", "3", "--json")
    assert traced.code == 0
    told = {link["name"]: link for link in traced.json["links"]}
    assert told["programming"]["state"] == "ok"
    assert told["programming"]["facts"]["number"] == 2


def test_driver_that_says_that_a_core_has_kept_its_weights_has_its_step_gone_on_with(
    shelf: Path, toychip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(shelf))
    run = interrupted_run_of("toychip", toychip, tmp_path)
    assert hil("resume", run).code == 0
    assert len(events(run, "program")) == 1
    assert events(run, "suspect") == []
    assert events(run, "begin")[-1]["vectors"] > 0


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step that nobody disturbed, whose journal tests rewrite in copies."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "small.toml").write_text(PROFILE.format(noise=1))
    campaign = campaign_file(folder, resource="mock://small.toml", campaign=ONE_STEP)
    assert hil("run", campaign, "--out", folder / "run").code == 0
    return folder / "run"


def programmed_again(run: Path, *, utc: str) -> list[dict[str, Any]]:
    """Return a journal with another process and its programming before the step's end."""
    start, program, begin, *rest = events(run)
    assert (start["event"], program["event"], begin["event"]) == ("start", "program", "begin")
    again = {**program, "utc": utc, "number": 2}
    # Of a private mock nobody would mind: it has the same noise again.
    start = {**start, "resource": "TCPIP0::192.0.2.1::5025::SOCKET"}
    return [start, program, begin, {**start, "event": "resume", "utc": utc}, again, *rest]


def without_programmings(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a journal as older software wrote it."""
    new = {"number", "programming", "chip_count"}
    return [
        {name: value for name, value in line.items() if name not in new}
        for line in lines
        if line["event"] != "begin"
    ]


def test_step_told_after_the_core_was_programmed_again_is_of_one(
    quiet: Path, tmp_path: Path
) -> None:
    """Its line was lost, and the resumed run told it of the whole file."""
    run = Path(shutil.copytree(quiet, tmp_path / "run"))
    rewrite(run, programmed_again(run, utc="2200-01-01T00:00:00+00:00"))
    assert "two programmings" not in hil("data", "verify", run).stdout


def test_repaired_step_is_of_one_programming(quiet: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(quiet, tmp_path / "run"))
    lines = events(run)
    step = next(line for line in lines if line["event"] == "step")
    lines.remove(step)
    begin = next(line for line in lines if line["event"] == "begin")
    again = {**next(line for line in lines if line["event"] == "program"), "number": 2}
    start = {**lines[0], "resource": "TCPIP0::192.0.2.1::5025::SOCKET"}
    resumed = {**start, "event": "resume"}
    again["utc"] = begin["utc"]
    rewrite(run, [start, *lines[1:-1], resumed, again, lines[-1]])
    mended = tmp_path / "mended"
    assert hil("data", "repair", run, "--out", mended).code == 0
    assert "two programmings" not in hil("data", "verify", mended).stdout


@pytest.mark.parametrize("age", ["new", "old"])
def test_step_of_two_programmings_is_found_and_named(quiet: Path, tmp_path: Path, age: str) -> None:
    run = Path(shutil.copytree(quiet, tmp_path / "run"))
    # Where the journal says when the step began, what is told after its last block is no matter.
    utc = events(run, "begin")[0]["utc"] if age == "new" else "2200-01-01T00:00:00+00:00"
    lines = programmed_again(run, utc=utc)
    rewrite(run, lines if age == "new" else without_programmings(lines))
    verified = hil("data", "verify", run)
    assert verified.code == 1
    line = 5 if age == "new" else 4
    assert (
        f"steps/{STEP}.h5: /raw: was read under two programmings of core 0: line {line} of the"
    ) in " ".join(verified.stdout.split())
    traced = hil("data", "trace", run, "--core", "0", "--column", "3")
    assert traced.code == 1
    assert re.search(r"BROKEN +programming", traced.stdout)


def test_older_run_that_was_programmed_again_before_its_step_was_read_is_whole(
    quiet: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(quiet, tmp_path / "run"))
    utc = events(run, "start")[0]["utc"]
    rewrite(run, without_programmings(programmed_again(run, utc=utc)))
    assert hil("data", "verify", run).code == 0
