"""A run on a link with faults, and what replays of it give: the same, at the recorded times."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

import example_steps as example
from command_line import PROJECT, campaign_file, hil
from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_datasets.run_directory import open_directory
from hil_datasets.step import StepKey
from hil_drivers.connect import connect_chip
from hil_drivers.link_fault import LinkFault
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.conversation import Disconnect, Outgoing
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.profile import ArrayProfile, MockProfile

SMALL = ArrayProfile(cores=2, rows=32, columns=8, stuck_share=0.0, dead_column_chance=0.0)
VECTORS = "calibration = 64\nverification = 32\nblock = 16"
TIMEOUT_S = 1.0
DEVICE = f"timeout_s = {TIMEOUT_S}"
LOST_ANSWER, HUNG_UP = 3, 14
"""Which of the run's READ? get no answer, and a closed connection."""


class FaultyLink:
    """A mock whose answers get lost where the test says so."""

    def __init__(self, chip: ChipModel) -> None:
        self._firmware = Firmware(chip)
        self._reads = 0

    def talk(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            device = MockDevice(self._firmware)
            with connection:
                while data := connection.recv(1 << 18):
                    item = self._answer(device, data)
                    if isinstance(item, Disconnect):
                        break
                    if isinstance(item, bytes):
                        connection.sendall(item)
            device.leave()

    def _answer(self, device: MockDevice, data: bytes) -> Outgoing:
        answer = device.receive(data)
        if b" READ?\n" not in data:
            return answer
        self._reads += 1
        if self._reads == LOST_ANSWER:
            return b""
        return Disconnect() if self._reads == HUNG_UP else answer


@contextmanager
def served(link: FaultyLink) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    thread = Thread(target=link.talk, args=(listener,), daemon=True)
    thread.start()
    yield f"TCPIP0::127.0.0.1::{listener.getsockname()[1]}::SOCKET"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=10)


@contextmanager
def served_replay(run: Path, *, speed: str, faults: str = "on") -> Iterator[str]:
    """Serve a recording in a process of its own; give the resource string."""
    script = PROJECT / "tests" / "serve_replay.py"
    server = subprocess.Popen(
        [sys.executable, str(script), str(run), speed, faults],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.communicate(timeout=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replayed")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    with served(FaultyLink(ChipModel(MockProfile(array=SMALL)))) as resource:
        path = campaign_file(folder, resource=resource, vectors=VECTORS, device=DEVICE)
        ended = hil("run", path, "--out", folder / "measured")
    assert ended.code == 0, ended.stderr
    return folder / "measured"


def told_faults(run: Path) -> list[tuple[str, str, str]]:
    """Return the faults that a run's journal tells of: step, kind and request."""
    return [
        (event["step"], event["kind"], event["request"])
        for event in open_directory(run).events()
        if event["event"] == "fault"
    ]


FAULTS = [
    ("core00_one_phase", "timeout", "READ?"),
    ("core01_one_phase", "link_lost", "READ?"),
]


def replayed(folder: Path, run: Path, name: str, options: str, *, rest: str = "") -> Path:
    """Run the campaign on the recording as a device."""
    place = folder / name
    place.mkdir()
    resource = f"replay://{run}?{options}"
    path = campaign_file(place, resource=resource, vectors=VECTORS, rest=rest)
    ended = hil("run", path, "--out", place / "run")
    assert ended.code == 0, ended.stderr
    return place / "run"


def exported(run: Path) -> dict[str, Any]:
    ended = hil("export", run, "--format", "json", "-o", run.parent / f"{run.name}.json", "--force")
    assert ended.code == 0, ended.stderr
    found: dict[str, Any] = json.loads((run.parent / f"{run.name}.json").read_text())
    return found


def test_every_fault_is_in_the_journal_and_counted(run: Path) -> None:
    assert told_faults(run) == FAULTS
    events = open_directory(run).events()
    assert events[-1]["faults"] == {"link_lost": 1, "timeout": 1}
    (lost, hung_up) = (event for event in events if event["event"] == "fault")
    assert 0 < lost["recovered_s"] < 10
    assert 0 < hung_up["recovered_s"] < 10


def test_blocks_and_faults_are_timed(run: Path) -> None:
    since_run_began_s = {}
    for step in open_directory(run).read_steps():
        timing = step.timing
        assert timing is not None
        assert timing.first_vector.tolist() == [0, 16, 32, 48, 64, 80]
        assert (timing.began_s[1:] >= timing.ended_s[:-1]).all(), "one request after the other"
        assert timing.began_utc[:16] == step.origin.measured_utc[:16]
        since_run_began_s[step.key.name] = timing.since_run_began_s
    assert sorted(since_run_began_s, key=since_run_began_s.__getitem__) == [
        "core00_one_phase",
        "core00_four_phase",
        "core01_one_phase",
        "core01_four_phase",
    ]
    timing = open_directory(run).read_step(StepKey(0, ReadMode.ONE_PHASE)).timing
    assert timing is not None
    (fault,) = timing.faults
    assert (fault.block, fault.kind, fault.request) == (LOST_ANSWER - 1, "timeout", "READ?")
    took_s = timing.ended_s - timing.began_s
    assert took_s[fault.block] >= TIMEOUT_S
    assert timing.began_s[2] + TIMEOUT_S <= fault.noticed_s <= timing.ended_s[2]


def test_replay_keeps_the_recorded_times_to_the_byte(folder: Path, run: Path) -> None:
    for name in ("again-a", "again-b"):
        ended = hil("replay", run, "--out", folder / name)
        assert ended.code == 0, ended.stderr
    for path in sorted((run / "steps").iterdir()):
        first = (folder / "again-a" / "steps" / path.name).read_bytes()
        assert first == (folder / "again-b" / "steps" / path.name).read_bytes()
        with h5py.File(path) as one, h5py.File(folder / "again-a" / "steps" / path.name) as two:
            for name in one["timing"]:
                np.testing.assert_array_equal(one["timing"][name], two["timing"][name])
            assert dict(one["timing"].attrs) == dict(two["timing"].attrs)
    assert told_faults(folder / "again-a") == [], "no fault happened in the replay itself"


def test_campaign_on_a_recording_gives_the_same_bytes_each_time(folder: Path, run: Path) -> None:
    first = replayed(folder, run, "first", "speed=max")
    again = hil("run", folder / "first" / "campaign.toml", "--out", folder / "second")
    assert again.code == 0, again.stderr
    paths = sorted((first / "steps").iterdir())
    assert len(paths) == 4
    for path in paths:
        assert path.read_bytes() == (folder / "second" / "steps" / path.name).read_bytes()
    assert exported(first)["cores"] == exported(run)["cores"]
    assert told_faults(first) == FAULTS
    assert told_faults(folder / "second") == FAULTS


def test_faults_of_a_recording_can_be_left_out(folder: Path, run: Path) -> None:
    without = replayed(folder, run, "without", "speed=max&faults=off")
    assert told_faults(without) == []
    assert exported(without)["cores"] == exported(run)["cores"]


def test_part_of_a_recording_has_its_date_and_no_times(folder: Path, run: Path) -> None:
    place = folder / "part"
    place.mkdir()
    path = campaign_file(
        place,
        resource=f"replay://{run}?speed=max",
        vectors="calibration = 48\nverification = 32\nblock = 16",
    )
    ended = hil("run", path, "--out", place / "run")
    assert ended.code == 0, ended.stderr
    for part, whole in zip(
        open_directory(place / "run").read_steps(), open_directory(run).read_steps(), strict=True
    ):
        assert part.timing is None
        assert part.origin.measured_utc == whole.origin.measured_utc


def test_served_recording_plays_its_faults_over_a_real_link(folder: Path, run: Path) -> None:
    place = folder / "served"
    place.mkdir()
    with served_replay(run, speed="10") as resource:
        path = campaign_file(place, resource=resource, vectors=VECTORS, device=DEVICE)
        ended = hil("run", path, "--out", place / "run")
    assert ended.code == 0, ended.stderr
    times = ("calibrated_utc", "age_s")  # to a client it is a device
    played, recorded = (
        [
            {name: tile[name] for name in tile if name not in times}
            for tile in exported(one)["cores"]
        ]
        for one in (place / "run", run)
    )
    assert played == recorded
    assert told_faults(place / "run") == FAULTS


def test_recording_with_other_registers_is_not_read_and_a_live_device_is_an_error(
    folder: Path, run: Path
) -> None:
    other = replayed(folder, run, "other", "speed=max", rest='[nmpu]\nrounding = "floor"')
    steps = hil("info", other, "--json").json["steps"]
    assert [step["nmpu_mismatches"] for step in steps] == [None] * 4

    (folder / "live").mkdir()
    with served(FaultyLink(Forgetful(MockProfile(array=SMALL)))) as resource:
        path = campaign_file(folder / "live", resource=resource, vectors=VECTORS, device=DEVICE)
        ended = hil("run", path, "--out", folder / "live" / "run")
    assert ended.code == 4
    assert "-251" in ended.stderr


class Forgetful(ChipModel):
    """A live chip that says what only a recording may."""

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        raise DeviceError(-251, "Missing mass storage; the registers are gone")


def test_absent_recording_is_one_line(tmp_path: Path) -> None:
    ended = hil("run", campaign_file(tmp_path, resource="replay://absent"))
    assert ended.code == 5
    assert ended.stderr == f"error: {tmp_path}/absent: no such folder\n"


def test_served_answers_come_at_recorded_times(tmp_path: Path) -> None:
    even = replace(
        example.TIMING, began_s=np.array([0.0, 4.0]), ended_s=np.array([2.0, 6.0]), faults=()
    )
    example.write_run(tmp_path / "run", example.ONE, timing=even)
    met: list[LinkFault] = []
    with served_replay(tmp_path / "run", speed="10") as resource:
        chip = connect_chip(resource, timeout_s=5.0, on_fault=met.append)
        began_s = time.monotonic()
        chip.read_counts(0, ReadMode.ONE_PHASE, example.INPUTS[:4])
        first_s = time.monotonic() - began_s
        chip.read_counts(0, ReadMode.ONE_PHASE, example.INPUTS[4:])
        second_s = time.monotonic() - began_s
        chip.close()
    assert 0.2 <= first_s + 0.01 < 0.5, "2 s at ten times the speed"
    assert 0.6 <= second_s + 0.01 < 1.0, "6 s of the recording"
    assert met == []
