"""The mock chamber and supply: their physics, their commands, and what they do to the chip."""

import asyncio
import math
import time

import numpy as np
import pytest

from hil.core.errors import DeviceError
from hil_mock_device.bench_instruments.bench import MockBench
from hil_mock_device.bench_instruments.bench_time import BenchTime
from hil_mock_device.bench_instruments.listening import instrument_listeners
from hil_mock_device.bench_instruments.plain_instrument import PlainConversation, PlainInstrument
from hil_mock_device.bench_instruments.power_supply import PowerSupply, SupplyKind
from hil_mock_device.bench_instruments.thermal_chamber import ChamberKind, ThermalChamber
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.tcp import TcpListener
from mock_bench import OwnTime, new_bench


def new_chamber(**kind: float) -> tuple[ThermalChamber, OwnTime]:
    time = OwnTime()
    return ThermalChamber(ChamberKind(**kind), start_c=25.0, seed=1, clock=time), time


def new_supply(start_v: float) -> PowerSupply:
    return PowerSupply(SupplyKind(load_ohm=100.0), start_v=start_v, seed=1, clock=OwnTime())


def say(bench: MockBench, instrument: str, *messages: str) -> list[str]:
    conversation = bench.conversations()[instrument]()
    data = "".join(f"{message}\n" for message in messages).encode()
    answers = list(conversation.answers(data))
    assert all(isinstance(answer, bytes) for answer in answers)
    return b"".join(a for a in answers if isinstance(a, bytes)).decode().splitlines()


def test_chamber_follows_its_differential_equations_whenever_it_is_looked_at() -> None:
    integrate = pytest.importorskip("scipy.integrate", reason="the oracle is scipy (extra test)")
    # Independent: scipy integrates e'' = 2 a e' - |λ|² e and the chip's lag numerically.
    kind = ChamberKind()
    decay, turn = 1 / 60.0, -math.pi / 60.0 / math.log(0.05)

    def slope(_: float, state: list[float]) -> list[float]:
        air, speed, chip = state
        acceleration = -2 * decay * speed - (decay**2 + turn**2) * (air - 80.0)
        return [speed, acceleration, (air - chip) / kind.chip_s]

    times = np.linspace(0.0, 400.0, 41)
    solved = integrate.solve_ivp(
        slope, (0, 400), [25.0, 0.0, 25.0], t_eval=times, rtol=1e-10, atol=1e-10
    )
    chamber, time = new_chamber()
    chamber.set(80.0)
    for air_c, chip_c in zip(solved.y[0], solved.y[2], strict=True):
        assert chamber.air_c() == pytest.approx(air_c, abs=1e-6)
        assert chamber.chip_c() == pytest.approx(chip_c, abs=1e-6)
        time.advance(10.0)


def test_air_overshoots_by_its_share_of_the_step() -> None:
    chamber, time = new_chamber(overshoot=0.1)
    chamber.set(75.0)
    highest = 0.0
    for _ in range(600):
        time.advance(1.0)
        highest = max(highest, chamber.air_c())
    assert highest == pytest.approx(75.0 + 0.1 * 50.0, abs=0.02)


def test_nothing_jumps_when_the_setpoint_changes_on_the_way() -> None:
    chamber, time = new_chamber()
    chamber.set(80.0)
    time.advance(30.0)
    before = chamber.air_c(), chamber.chip_c()
    chamber.set(-10.0)
    assert (chamber.air_c(), chamber.chip_c()) == pytest.approx(before, abs=1e-9)
    time.advance(0.01)
    assert chamber.air_c() > before[0]  # it still moves up for a moment
    time.advance(2000.0)
    assert (chamber.air_c(), chamber.chip_c()) == pytest.approx((-10.0, -10.0), abs=1e-6)


def test_chamber_that_is_off_comes_to_ambient_and_keeps_its_setpoint() -> None:
    chamber, time = new_chamber()
    chamber.set(80.0)
    time.advance(2000.0)
    chamber.switch(on=False)
    time.advance(2000.0)
    assert (chamber.air_c(), chamber.setpoint_c) == pytest.approx((25.0, 80.0), abs=1e-6)


def test_chamber_refuses_what_it_cannot_reach() -> None:
    chamber, _ = new_chamber()
    with pytest.raises(DeviceError, match="151: must be -40 to 150"):
        chamber.set(151.0)


def test_readings_scatter_by_the_noise_and_are_repeatable_from_the_seed() -> None:
    def read(times: int) -> list[float]:
        chamber, time = new_chamber(noise_c=0.5)
        readings = []
        for _ in range(times):
            time.advance(0.25)
            readings.append(chamber.reading_c())
        return readings

    readings = read(2000)
    assert readings == read(2000)
    assert np.mean(readings) == pytest.approx(25.0, abs=0.05)
    assert np.std(readings) == pytest.approx(0.5, rel=0.1)


def test_reading_once_more_changes_no_later_reading() -> None:
    def read(more: int) -> list[str]:
        time = OwnTime()
        bench, _ = new_bench(time)
        readings = []
        for _ in range(5):
            time.advance(60.0)
            for _ in range(more):
                say(bench, "chamber", "TEMP?")
                say(bench, "supply", "MEAS:CURR?")
            readings += say(bench, "chamber", "TEMP?") + say(bench, "supply", "MEAS:VOLT?")
        return readings

    assert read(more=0) == read(more=3)
    assert len(set(read(more=0))) == 10  # and yet every instant has its own


def test_readings_differ_while_time_goes_by_the_clock() -> None:
    bench, _ = new_bench(BenchTime(time.monotonic))
    readings = {say(bench, "supply", "MEAS:CURR?")[0] for _ in range(50)}
    assert len(readings) > 40  # two of a million steps may well be the same


def test_sums_of_waits_in_another_order_are_the_same_instant() -> None:
    readings = []
    for waits in ((0.1, 0.2, 0.3), (0.3, 0.2, 0.1)):  # 0.6000000000000001 and 0.6
        chamber, own_time = new_chamber()
        for seconds in waits:
            own_time.advance(seconds)
        readings.append(chamber.reading_c())
    assert readings[0] == readings[1]


def test_supply_gives_way_at_its_current_limit() -> None:
    supply = new_supply(0.0)
    supply.set_limit(0.02)
    supply.set_voltage(3.0)
    assert (supply.output_v(), supply.output_a()) == (2.0, 0.02)
    assert supply.is_on


def test_supply_with_protection_trips_and_stays_off_until_cleared() -> None:
    supply = new_supply(1.0)
    supply.protect(on=True)
    supply.set_limit(0.02)
    assert supply.is_on
    supply.set_voltage(3.0)
    assert (supply.is_on, supply.has_tripped, supply.output_v()) == (False, True, 0.0)
    with pytest.raises(DeviceError, match="clear the protection first"):
        supply.switch(on=True)
    supply.clear_trip()
    supply.set_voltage(1.0)
    supply.switch(on=True)
    assert supply.output_v() == 1.0


def test_commands_of_the_supply_in_long_and_short_form() -> None:
    bench, chip = new_bench(OwnTime())
    answers = say(
        bench,
        "supply",
        "*IDN?",
        "SOURCE:VOLTAGE:LEVEL 0.3",
        "volt?;CURR?",
        "OUTPut:STATe OFF",
        "OUTP?;CURR:PROT:STAT?;CURR:PROT:TRIP?",
        "SYST:ERR?",
    )
    assert answers == ["aimc-hil,mock-supply,0,1.0", "0.3;1.0", "0;0;0", '0,"No error"']
    assert chip.fed_v == [0.3, 0.0]


def test_commands_of_the_chamber_move_its_time() -> None:
    bench, chip = new_bench(OwnTime())
    assert say(bench, "chamber", "TEMP:SETP 60;:TEMP:SETP?") == ["60.0"]
    say(bench, "chamber", "SIM:TIME:ADV 3600")
    assert chip.temperatures_c[-1] == pytest.approx(60.0, abs=1e-6)
    assert say(bench, "chamber", "SIM:TIME?") == ["3600.0"]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("TEMP:SETP", "-109"),
        ("TEMP:SETP 1,2", "-108"),
        ("TEMP:SETP warm", "-224"),
        ("TEMP:SETP nan", "-224"),
        ("TEMP:SETP 1000", "-222"),
        ("CHAM:STAT MAYBE", "-224"),
        ("SIM:TIME:ADV -1", "-222"),
        ("@1 TEMP:SETP 30", "-102"),
        ("NONSENSE", "-113"),
    ],
)
def test_what_the_chamber_refuses_is_in_its_error_queue(message: str, error: str) -> None:
    bench, chip = new_bench(OwnTime())
    (answer,) = say(bench, "chamber", message, "SYST:ERR?")
    assert answer.startswith(error + ",")
    assert bench.chamber.setpoint_c == 25.0
    assert chip.temperatures_c == []


def test_untouched_bench_does_nothing_to_the_chip() -> None:
    time = OwnTime()
    bench, chip = new_bench(time)
    for _ in range(10):
        say(bench, "chamber", "TEMP?")
        say(bench, "supply", "MEAS:VOLT?;MEAS:CURR?")
        time.advance(100.0)
        bench.catch_up()
    assert (chip.temperatures_c, chip.fed_v) == ([], [])


def test_conversation_with_the_chip_finds_the_bench_up_to_date() -> None:
    time = OwnTime()
    bench, chip = new_bench(time)
    bench.chamber.set(60.0)
    bench.catch_up()
    time.advance(3600.0)
    seen: list[float] = []

    def read(_: list[str]) -> str:
        seen.append(chip.temperatures_c[-1])
        return "1"

    instrument = PlainInstrument("chip", {"READ?": read}, reset=lambda: None)
    conversation = bench.coupled(PlainConversation(instrument))
    assert list(conversation.answers(b"READ?\n")) == [b"1\n"]
    assert seen == [pytest.approx(60.0, abs=1e-6)]


def test_reset_switches_the_supply_off_and_brings_the_chamber_back() -> None:
    bench, _ = new_bench(OwnTime())
    say(bench, "chamber", "TEMP:SETP 60", "*RST")
    say(bench, "supply", "*RST")
    assert bench.chamber.setpoint_c == 25.0
    assert (bench.supply.voltage_v, bench.supply.is_on) == (0.0, False)


def test_time_runs_as_fast_as_it_is_told_and_never_back() -> None:
    now = [100.0]
    time = BenchTime(lambda: now[0], speed=60.0)
    now[0] += 2.0
    assert time() == 120.0
    time.advance(5.0)
    assert time() == 125.0
    with pytest.raises(ValueError, match="cannot go back"):
        time.advance(-1.0)
    with pytest.raises(ValueError, match="speed -1"):
        BenchTime(lambda: 0.0, speed=-1.0)


def test_client_that_sends_a_line_without_end_is_lost_and_others_are_told_why() -> None:
    instrument = PlainInstrument("a,b,c,d", {}, reset=lambda: None)
    rude, other = PlainConversation(instrument), PlainConversation(instrument)
    assert list(rude.answers(b"x" * 5000)) == []
    assert rude.is_lost
    assert list(rude.answers(b"*IDN?\n")) == []
    (answer,) = other.answers(b"SYST:ERR?\n")
    assert isinstance(answer, bytes)
    assert answer.startswith(b"-102,")
    assert rude.client != other.client


def test_instruments_are_further_ports_of_one_server() -> None:
    bench, _ = new_bench(OwnTime())
    chip = PlainInstrument("the,chip,0,0", {}, reset=lambda: None)
    anywhere = TcpAddress("127.0.0.1", 0)

    async def ask(resource: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(resource.split("::")[2]))
        writer.write(b"*IDN?\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    async def serve() -> list[bytes]:
        listeners = [
            TcpListener(anywhere),
            *instrument_listeners(bench.conversations(), {"chamber": anywhere, "supply": anywhere}),
        ]
        # As the server does it: every listener is given the chip's conversation.
        resources = [
            await listener.start(lambda: bench.coupled(PlainConversation(chip)))
            for listener in listeners
        ]
        answers = [await ask(resource) for resource in resources]
        for listener in listeners:
            await listener.close()
        return answers

    assert asyncio.run(asyncio.wait_for(serve(), 20)) == [
        b"the,chip,0,0\n",
        b"aimc-hil,mock-chamber,0,1.0\n",
        b"aimc-hil,mock-supply,0,1.0\n",
    ]
