"""Campaigns with a thermal chamber and a supply: real processes, and instruments asked by hand."""

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest

from command_line import campaign_file, hil, start_hil

CHAMBER = """
[instruments.chamber]
resource = "{chamber}"
identity = "aimc-hil,mock-chamber,.*"
[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {{value}}"
query = "TEMP?"
unit = "degC"
lower = -20
upper = 85
settle = {{ tolerance = 0.5, stable_s = 0.2, timeout_s = 60, every_s = 0.05 }}
value = 45
safe = 25
"""
SUPPLY = """
[instruments.supply]
resource = "{supply}"
stop = ["OUTP OFF"]
[instruments.supply.quantities.voltage]
set = "VOLT {{value}}"
query = "MEAS:VOLT?"
unit = "V"
lower = 0
upper = 0.4
settle = {{ tolerance = 0.002, timeout_s = 20 }}
value = 0.25
safe = 0
[instruments.supply.quantities.current]
query = "MEAS:CURR?"
unit = "A"
"""


@dataclass(frozen=True)
class ServedBench:
    """A mock with its bench instruments in a process of its own."""

    process: subprocess.Popen[str]
    chip: str
    chamber: str
    supply: str

    def ask(self, resource: str, query: str) -> str:
        """Ask an instrument through its port."""
        host, port = resource.split("::")[1:3]
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(f"{query}\n".encode())
            return client.makefile().readline().strip()

    @property
    def state(self) -> tuple[float, float, str]:
        """Setpoint of the chamber, voltage and output of the supply."""
        return (
            float(self.ask(self.chamber, "TEMP:SETP?")),
            float(self.ask(self.supply, "VOLT?")),
            self.ask(self.supply, "OUTP?"),
        )


UNTOUCHED = (25.0, 0.2, "1")
SAFE = (25.0, 0.0, "0")


@contextmanager
def served_bench(speed: float) -> Iterator[ServedBench]:
    ways = [word for way in ("tcp", "chamber", "supply") for word in (f"--{way}", "127.0.0.1:0")]
    process = start_hil("mock", "serve", *ways, "--seed", "0", "--bench-speed", speed)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert all("::" in line for line in lines), lines
        yield ServedBench(process, *(line.strip() for line in lines))
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.fixture
def bench() -> Iterator[ServedBench]:
    with served_bench(speed=300.0) as bench:
        yield bench


def campaign(folder: Path, bench: ServedBench, text: str, **sections: str) -> Path:
    described = text.format(chamber=bench.chamber, supply=bench.supply)
    return campaign_file(
        folder, resource=bench.chip, campaign="cores = [0]", rest=described, **sections
    )


def test_campaign_brings_its_conditions_about_and_stores_them(
    bench: ServedBench, tmp_path: Path
) -> None:
    assert bench.state == UNTOUCHED
    ended = hil("run", campaign(tmp_path, bench, CHAMBER + SUPPLY), "--json")
    assert ended.code == 0, ended.stderr
    assert bench.state == SAFE
    run = tmp_path / "run"
    with h5py.File(run / "steps" / "core00_four_phase.h5") as step:
        conditions = step["conditions"]
        assert json.loads(conditions.attrs["quantities"]) == ["temperature", "voltage", "current"]
        assert conditions["setpoint"][:2].tolist() == [45.0, 0.25]
        for when in ("at_start", "at_end"):
            temperature_c, volts, amperes = conditions[when][...]
            assert temperature_c == pytest.approx(45.0, abs=0.6)
            assert volts == pytest.approx(0.25, abs=0.002)
            assert amperes == pytest.approx(0.0025, abs=1e-4)
        # What the chip says of itself, by another way.
        assert step.attrs["temperature_c"] == pytest.approx(45.0, abs=0.6)
    start = json.loads((run / "journal.jsonl").read_text().splitlines()[0])
    assert start["instruments"] == {
        "chamber": "aimc-hil,mock-chamber,0,1.0",
        "supply": "aimc-hil,mock-supply,0,1.0",
    }
    assert "conditions: chamber.temperature set to 45, read 4" in hil("info", run).stdout


def test_private_mock_has_the_instruments_that_the_campaign_names(tmp_path: Path) -> None:
    text = (CHAMBER + SUPPLY).format(chamber="mock://chamber", supply="mock://supply")
    path = campaign_file(
        tmp_path,
        resource="mock://quickstart?seed=0&bench_speed=300",
        campaign="cores = [0]",
        rest=text,
    )
    looked = hil("instruments", "check", path)
    assert looked.code == 0, looked.stderr
    reading = re.search(r"voltage: reads (\S+) V;", looked.stdout)
    assert reading is not None, looked.stdout
    # The meter's noise is on it: 0.1998 is as good a reading as 0.2002.
    assert float(reading[1]) == pytest.approx(0.2, abs=0.002)
    ended = hil("run", path, "--json")
    assert ended.code == 0, ended.stderr
    assert [each["setpoints"] for each in ended.json["conditions"]] == [[45.0], [0.25], []]
    replays = []
    for name in ("first", "second"):
        again = hil("replay", tmp_path / "run", "--out", tmp_path / name, "--json")
        assert again.code == 0, again.stderr
        assert again.json["conditions"] == ended.json["conditions"]
        steps = sorted((tmp_path / name / "steps").iterdir())
        replays.append([step.read_bytes() for step in steps])
    assert replays[0] == replays[1]
    played = path.read_text().replace("mock://quickstart?seed=0&bench_speed=300", "replay://run")
    path.write_text(played)
    device = hil("run", path, "--out", tmp_path / "played", "--json")
    assert device.code == 0, device.stderr
    assert device.json["conditions"] == ended.json["conditions"]
    assert device.json["instruments"] == {}


def test_supply_moves_the_readouts_of_the_campaign(bench: ServedBench, tmp_path: Path) -> None:
    medians = []
    for volts in (0.2, 0.25):
        folder = tmp_path / str(volts)
        folder.mkdir()
        text = SUPPLY.replace("value = 0.25", f"value = {volts}").replace('"OUTP OFF"', "")
        path = campaign(folder, bench, text.replace("safe = 0\n", "safe = 0.2\n"))
        assert hil("run", path).code == 0
        with h5py.File(folder / "run" / "steps" / "core00_one_phase.h5") as step:
            # Products per count: the more current, the fewer.
            gain = step["correction/a_p"][:] * step["correction"].attrs["output_lsb"]
        medians.append(float(sorted(gain[gain > 0])[len(gain[gain > 0]) // 2]))
    assert medians[0] / medians[1] == pytest.approx(1.25, rel=0.02)


def test_reading_beyond_its_limits_ends_the_run_with_code_6(
    bench: ServedBench, tmp_path: Path
) -> None:
    text = SUPPLY.replace('query = "MEAS:CURR?"', 'query = "MEAS:CURR?"\nreading_upper = 0.002')
    ended = hil("run", campaign(tmp_path, bench, CHAMBER + text))
    assert ended.code == 6
    assert "supply.current: reads 0.002" in ended.stderr
    assert bench.state == SAFE
    info = hil("info", tmp_path / "run", "--json").json
    assert info["status"] == "failed"
    assert info["reason"].startswith("supply.current")
    assert info["steps"] == []


def test_nothing_is_sent_where_a_quantity_stands_beyond_its_limits(
    bench: ServedBench, tmp_path: Path
) -> None:
    text = SUPPLY.replace("upper = 0.4", "upper = 0.15\nramp_per_s = 1")
    text = text.replace("value = 0.25", "value = 0.1").replace("safe = 0\n", "")
    text = text.replace('"OUTP OFF"', "")
    ended = hil("run", campaign(tmp_path, bench, text))
    assert ended.code == 6
    assert "supply.voltage: stands at 0.2 V, must be 0 to 0.15 before a ramp" in ended.stderr
    assert bench.state == UNTOUCHED


def test_value_beyond_its_limits_is_found_before_anything_is_opened(
    bench: ServedBench, tmp_path: Path
) -> None:
    text = SUPPLY.replace("value = 0.25", "value = 0.5")
    ended = hil("run", campaign(tmp_path, bench, text))
    assert ended.code == 3
    assert "instruments.supply.quantities.voltage: value is 0.5: must be within" in ended.stderr
    assert not (tmp_path / "run").exists()
    assert bench.state == UNTOUCHED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupt_in_the_settling_wait_leaves_the_bench_safe(
    number: signal.Signals, tmp_path: Path
) -> None:
    with served_bench(speed=0.0) as bench:  # it never gets warm
        process = start_hil("run", campaign(tmp_path, bench, SUPPLY + CHAMBER))
        deadline = time.monotonic() + 30
        while bench.state != (45.0, 0.25, "1"):
            assert time.monotonic() < deadline, process.poll()
            time.sleep(0.05)
        process.send_signal(number)
        _, words = process.communicate(timeout=30)
        assert process.returncode == 130, words
        assert "Traceback" not in words
        assert bench.state == SAFE
    info = hil("info", tmp_path / "run", "--json").json
    assert (info["status"], info["reason"]) == ("interrupted", number.name)


def test_dead_chamber_ends_the_run_with_code_4_and_the_rest_is_safe(
    bench: ServedBench, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"TCPIP0::127.0.0.1::{free.getsockname()[1]}::SOCKET"
    text = SUPPLY + CHAMBER.replace("{chamber}", dead)
    ended = hil("run", campaign(tmp_path, bench, text))
    assert ended.code == 4
    assert dead in ended.stderr
    assert "may not be safe" not in ended.stderr
    assert bench.state == SAFE
    assert not (tmp_path / "run" / "journal.jsonl").exists()


def test_chamber_that_dies_in_the_run_leaves_the_others_safe(
    bench: ServedBench, tmp_path: Path
) -> None:
    with served_bench(speed=0.0) as other:
        text = SUPPLY + CHAMBER.replace("{chamber}", other.chamber)
        process = start_hil("run", campaign(tmp_path, bench, text))
        deadline = time.monotonic() + 30
        while other.ask(other.chamber, "TEMP:SETP?") != "45.0":
            assert time.monotonic() < deadline, process.poll()
            time.sleep(0.05)
        other.process.kill()
        _, words = process.communicate(timeout=60)
    assert process.returncode == 4, words
    assert "warning: instrument chamber:" in words
    assert "warning: the chip" not in words
    assert bench.state == SAFE
    assert hil("info", tmp_path / "run", "--json").json["status"] == "failed"


def test_mock_instruments_need_a_mock_device(bench: ServedBench, tmp_path: Path) -> None:
    text = SUPPLY.format(supply="mock://supply")
    ended = hil("run", campaign_file(tmp_path, resource=bench.chip, rest=text))
    assert ended.code == 3
    assert "instruments.supply.resource is mock://supply: only a mock:// device" in ended.stderr
