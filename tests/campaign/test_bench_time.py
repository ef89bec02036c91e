"""Real time ends when the run shall stop; virtual time moves chip, chamber and supply together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hil.campaign.bench import OpenDevice, open_device
from hil.campaign.bench_time import BenchTime, PlayedTime, RealTime, VirtualTime, open_virtual_time
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.control import StopKind, StopRequests, leave_stop_request
from hil.campaign.instruments import BenchInstruments
from hil.campaign.interruption import RunInterruptedError, StopSwitch
from hil.campaign.process_identity import ProcessTable
from hil.campaign.run_events import RunEvent, WaitEnded, Waiting
from hil.campaign.waits import Waits
from hil.core.errors import ConfigError, NotSettledError, TransportError
from hil.core.readout import ReadMode
from hil.core.toml_file import parse_toml
from hil_drivers.open_transport import TransportChoice
from hil_mock_device.launch import MockProcess

DAY_S = 86400.0
SOON_S = 30.0
"""Long on any machine for what takes no time, and nothing beside the waits that are ended."""
STILL = ["--profile", "quickstart", "--chamber", "127.0.0.1:0", "--bench-speed", "0"]
CAMPAIGN = """
schema_version = 1
[campaign]
title = "Test"
[device]
resource = "mock://quickstart?time=virtual"
[instruments.chamber]
resource = "mock://chamber"
[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {value}"
query = "TEMP?"
unit = "degC"
lower = -20
upper = 85
settle = { tolerance = 0.05, stable_s = 120, timeout_s = 3600, every_s = 10 }
[instruments.supply]
resource = "mock://supply"
[instruments.supply.quantities.voltage]
set = "VOLT {value}"
query = "MEAS:VOLT?"
unit = "V"
lower = 0
upper = 0.4
"""


def stopped_by_request(folder: Path) -> StopSwitch:
    switch = StopSwitch(lambda _: None)
    own = ProcessTable().own()
    switch.watch(StopRequests(folder, own))

    def ask() -> None:
        leave_stop_request(
            folder, StopKind.AFTER_BLOCK, writer=own, by=own, now=lambda: datetime.now(UTC)
        )

    threading.Timer(0.2, ask).start()
    return switch


def test_request_to_stop_ends_a_wait_of_days(tmp_path: Path) -> None:
    switch = stopped_by_request(tmp_path)
    began_s = time.monotonic()
    with pytest.raises(RunInterruptedError, match="hil abort by"):
        RealTime(switch.check).sleep(3 * DAY_S)
    assert time.monotonic() - began_s < SOON_S


def test_first_signal_ends_a_wait_of_days() -> None:
    switch = StopSwitch(lambda _: None)
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    began_s = time.monotonic()
    with switch.listening(), pytest.raises(RunInterruptedError, match="SIGINT"):
        RealTime(switch.check).sleep(3 * DAY_S)
    assert time.monotonic() - began_s < SOON_S


class SetClock:
    """Seconds that pass only in pauses."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += seconds


def test_wait_is_as_long_as_it_says_and_looks_for_a_stop_every_tenth_of_a_second() -> None:
    clock, looks_s = SetClock(), list[float]()
    bench_time = RealTime(
        lambda: looks_s.append(bench_time.now_s()), clock=clock, pause=clock.pause
    )
    bench_time.sleep(0.25)
    assert looks_s == pytest.approx([0.0, 0.1, 0.2, 0.25])
    assert bench_time.now_s() == pytest.approx(0.25)


def test_real_wait_is_not_shorter_than_it_says() -> None:
    began_s = time.monotonic()
    RealTime().sleep(0.25)
    assert time.monotonic() - began_s >= 0.25


def test_time_in_which_the_process_is_stopped_counts() -> None:
    script = (
        "from hil.campaign.bench_time import RealTime\n"
        "from time import monotonic\n"
        "bench_time, began_s = RealTime(), monotonic()\n"
        "print('sleeps', flush=True)\n"
        "bench_time.sleep(1.0)\n"
        "print(monotonic() - began_s)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sleeps\n"
        time.sleep(0.1)  # it is asleep
        stopped_at_s = time.monotonic()
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        stopped_s = time.monotonic() - stopped_at_s
        process.send_signal(signal.SIGCONT)
        slept_s = float(process.communicate(timeout=10)[0])
    # If the stop did not count, the second that it wants to sleep would come on top.
    assert stopped_s <= slept_s < stopped_s + 1.0


def test_set_clock_of_the_machine_moves_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    bench_time = RealTime()
    monkeypatch.setattr(time, "time", lambda: 4e9)
    bench_time.sleep(0.05)
    assert 0.05 <= bench_time.now_s() < SOON_S


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("bench_time", [RealTime(), PlayedTime()], ids=["real", "played"])
def test_time_that_cannot_pass_is_refused(bench_time: BenchTime, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be finite and cannot go back"):
        bench_time.sleep(seconds)


def test_nobody_waits_for_a_recording() -> None:
    bench_time = PlayedTime()
    bench_time.sleep(3 * DAY_S)
    assert bench_time.now_s() == 259200.0


@contextmanager
def mock_in_virtual_time(
    *,
    on_wait: list[RunEvent] | None = None,
    query: str = "?time=virtual",
    check: Callable[[], None] = lambda: None,
) -> Iterator[OpenDevice]:
    with open_device(
        f"mock://quickstart{query}",
        base=Path(),
        seed=7,
        timeout_s=30,
        choice=TransportChoice.AUTO,
        on_unsafe=pytest.fail,
        mock_instruments=("chamber", "supply"),
        check=check,
        on_wait=([] if on_wait is None else on_wait).append,
    ) as device:
        yield device


@contextmanager
def instruments_of(device: OpenDevice, content: str = CAMPAIGN) -> Iterator[BenchInstruments]:
    sections = parse_toml(CampaignConfig, content.encode(), source="campaign").instruments
    with device.instruments(sections) as instruments:
        yield instruments


def counts_of(device: OpenDevice, core: int = 0) -> npt.NDArray[np.uint16]:
    rows = device.chip.geometry().rows
    inputs = np.random.default_rng(1).integers(-100, 101, (16, rows)).astype(np.int8)
    return device.chip.read_counts(core, ReadMode.ONE_PHASE, inputs)


def program(device: OpenDevice, core: int = 0) -> None:
    geometry = device.chip.geometry()
    weights = np.random.default_rng(core).integers(-100, 101, (geometry.rows, geometry.columns))
    device.chip.program(core, weights.astype(np.int8))


@pytest.fixture(scope="module")
def mock_time() -> Iterator[VirtualTime]:
    """Give the time of one mock to tests that only look at it; what passes stays."""
    with (
        MockProcess(STILL) as mock,
        open_virtual_time(mock.instruments["chamber"]) as bench_time,
    ):
        yield bench_time


def test_days_pass_at_once_and_exactly(mock_time: VirtualTime) -> None:
    began_s = time.monotonic()
    assert (mock_time.is_virtual, mock_time.now_s()) == (True, 0.0)
    mock_time.sleep(3 * DAY_S)
    mock_time.sleep(0.1)
    assert mock_time.now_s() == 259200.1
    assert time.monotonic() - began_s < SOON_S


def test_real_time_does_not_pass_in_it() -> None:
    hasty = CAMPAIGN.replace("stable_s = 120, timeout_s = 3600", "stable_s = 0, timeout_s = 60")
    with mock_in_virtual_time() as device, instruments_of(device, hasty) as instruments:
        with pytest.raises(NotSettledError):
            instruments.prepare_step({("chamber", "temperature"): 45.0})
        before = device.chip.temperature_c(0, ReadMode.ONE_PHASE)
        time.sleep(0.3)
        assert device.time.now_s() == 60.0
        assert device.chip.temperature_c(0, ReadMode.ONE_PHASE) == before != 45.0


def test_chip_ages_in_it() -> None:
    with mock_in_virtual_time() as device:
        program(device)
        fresh = counts_of(device).sum()
        device.time.sleep(30 * DAY_S)
        assert counts_of(device).sum() < 0.9 * fresh


def test_chamber_settles_in_it_and_the_chip_ages_and_warms_meanwhile() -> None:
    told: list[RunEvent] = []
    with mock_in_virtual_time(on_wait=told) as device, instruments_of(device) as instruments:
        began_s = time.monotonic()
        instruments.prepare_step({("chamber", "temperature"): 45.0, ("supply", "voltage"): 0.25})
        assert 120.0 < device.time.now_s() < 3600.0
        assert device.chip.temperature_c(0, ReadMode.ONE_PHASE) == pytest.approx(45.0, abs=0.2)
        assert time.monotonic() - began_s < SOON_S
    assert told == [
        Waiting(reason="for chamber.temperature to settle at 45 degC", now_s=0.0, until_s=None),
        WaitEnded(),
    ]


def life_of_a_bench() -> tuple[object, ...]:
    with mock_in_virtual_time() as device, instruments_of(device) as instruments:
        instruments.prepare_step({("chamber", "temperature"): 45.0, ("supply", "voltage"): 0.25})
        program(device)
        device.time.sleep(DAY_S)
        instruments.prepare_step({("chamber", "temperature"): 10.0})
        readings = [reading.value for reading in instruments.read()]
        return device.time.now_s(), readings, counts_of(device).tobytes()


def test_same_waits_give_the_same_bench_to_the_bit() -> None:
    assert life_of_a_bench() == life_of_a_bench()


def test_stop_ends_a_virtual_wait_before_it_passes() -> None:
    def check() -> None:
        raise RunInterruptedError("a test")

    with mock_in_virtual_time(check=check) as device:
        with pytest.raises(RunInterruptedError):
            device.time.sleep(DAY_S)
        assert device.time.now_s() == 0.0


def test_wish_to_stop_does_not_keep_a_ramp_from_its_safe_value() -> None:
    wishes: list[str] = []

    def check() -> None:
        if wishes:
            raise RunInterruptedError(wishes[0])

    content = CAMPAIGN.replace("settle =", "safe = 25\nramp_per_s = 0.1\nsettle =")
    with mock_in_virtual_time(check=check) as device:
        with instruments_of(device, content) as instruments:
            instruments.prepare_step({("chamber", "temperature"): 35.0})
            before_s = device.time.now_s()
            wishes.append("a test")
        assert device.time.now_s() - before_s == pytest.approx(100.0)  # 10 K, 0.1 K/s


def test_lost_mock_is_told() -> None:
    mock = MockProcess(STILL)
    with open_virtual_time(mock.instruments["chamber"]) as bench_time:
        bench_time.sleep(1.0)
        mock.close()
        with pytest.raises(TransportError):
            bench_time.sleep(1.0)


def test_device_without_virtual_time_has_the_real_one() -> None:
    with mock_in_virtual_time(query="?bench_speed=300") as device:
        assert not device.time.is_virtual


def test_real_instrument_in_virtual_time_is_refused_before_anything_is_opened() -> None:
    content = CAMPAIGN.replace("mock://supply", "TCPIP0::127.0.0.1::9::SOCKET")
    with pytest.raises(ConfigError, match=r"supply\.resource .* nobody waits for a real instrum"):
        parse_toml(CampaignConfig, content.encode(), source="campaign")


def test_what_needs_no_wait_is_not_told_of() -> None:
    told: list[RunEvent] = []
    waits = Waits(PlayedTime(), told.append)
    with waits.told("for nothing"):
        assert told == []
    with waits.told("until core 0 is 3 h old", until_s=10800.0):
        waits.sleep(10000.0)
        waits.sleep(800.0)
    waits.sleep(1.0)  # for no reason that is known
    assert told == [
        Waiting(reason="until core 0 is 3 h old", now_s=0.0, until_s=10800.0),
        WaitEnded(),
    ]


def test_wait_that_is_broken_off_is_over() -> None:
    told: list[RunEvent] = []

    def check() -> None:
        raise RunInterruptedError("a test")

    waits = Waits(PlayedTime(check), told.append)
    with pytest.raises(RunInterruptedError), waits.told("for ever"):
        waits.sleep(1.0)
    assert told[1:] == [WaitEnded()]
