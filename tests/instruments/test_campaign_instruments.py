"""A campaign's instruments: the file, the conditions of a step, the way out, the look at them."""

import json
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from command_line import PROJECT, campaign_file, hil
from hil.campaign.config.instruments import (
    InstrumentSection,
    InstrumentsSection,
    QuantitySection,
    SettleSection,
)
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.instrument_check import check_instruments
from hil.campaign.instruments import BenchInstruments, open_instruments
from hil.core.errors import (
    ConfigError,
    InstrumentError,
    NotSettledError,
    SafetyLimitError,
    TransportError,
)
from hil.core.toml_file import parse_toml
from mock_bench import ServedBench, served_bench

BENCH = """
[instruments.chamber]
resource = "mock://chamber"
identity = "aimc-hil,mock-chamber,.*"

[instruments.chamber.quantities.temperature]
set = "TEMP:SETP {value}"
query = "TEMP?"
unit = "degC"
lower = -20
upper = 85
ramp_per_s = 0.5
ramp_step_s = 10
settle = { tolerance = 0.1, stable_s = 60, timeout_s = 3600, every_s = 5 }
value = 40
safe = 25

[instruments.supply]
resource = "mock://supply"
stop = ["OUTP OFF"]

[instruments.supply.quantities.voltage]
set = "VOLT {value}"
query = "MEAS:VOLT?"
unit = "V"
lower = 0
upper = 0.4
settle = { tolerance = 0.002, timeout_s = 5 }
value = 0.3
safe = 0

[instruments.supply.quantities.current]
query = "MEAS:CURR?"
unit = "A"
reading_lower = -0.001
reading_upper = 0.01
"""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    instruments: InstrumentsSection


def sections(text: str = BENCH) -> Mapping[str, InstrumentSection]:
    return parse_toml(Model, text.encode(), source="bench.toml").instruments


@pytest.fixture
def served() -> Iterator[ServedBench]:
    with served_bench() as served:
        yield served


class Opened:
    """Opens the instruments of a file, and keeps what could not be made safe."""

    def __init__(self, served: ServedBench, text: str = BENCH) -> None:
        self.unsafe: list[str] = []
        self.bench = open_instruments(
            sections(text),
            mock_addresses={"chamber": served.chamber, "supply": served.supply},
            on_unsafe=self.unsafe.append,
            clock=served.time,
            sleep=served.time.sleep,
        )


def values(bench: BenchInstruments) -> dict[str, object]:
    return {
        f"{reading.instrument}.{reading.quantity}": (reading.setpoint, reading.value)
        for reading in bench.read()
    }


def test_conditions_are_set_before_the_first_step_and_held_before_the_next(
    served: ServedBench,
) -> None:
    with Opened(served).bench as bench:
        bench.prepare_step()
        first_s = served.time()
        assert served.bench.chamber.setpoint_c == 40.0
        read = values(bench)
        bench.prepare_step()
    assert list(read) == ["chamber.temperature", "supply.voltage", "supply.current"]
    assert read["chamber.temperature"] == (40.0, pytest.approx(40.0, abs=0.1))
    assert read["supply.voltage"] == (0.3, pytest.approx(0.3, abs=0.002))
    assert read["supply.current"] == (None, pytest.approx(0.003, abs=1e-4))
    # 15 K at 0.5 K/s, then 60 s of rest at least; for the second step a tenth of the rest.
    assert first_s > 90.0
    assert 6.0 <= served.time() - first_s < 60.0


def test_conditions_of_a_step_come_on_top_of_the_file(served: ServedBench) -> None:
    with Opened(served).bench as bench:
        bench.prepare_step({("supply", "voltage"): 0.2})
        assert values(bench)["supply.voltage"] == (0.2, pytest.approx(0.2, abs=0.002))
        with pytest.raises(
            ConfigError, match=r"supply\.volts: no such quantity: there are chamber"
        ):
            bench.prepare_step({("supply", "volts"): 0.2})
        with pytest.raises(SafetyLimitError, match=r"supply\.voltage: 0\.5 V is beyond"):
            bench.prepare_step({("supply", "voltage"): 0.5})
    assert 0.5 not in served.chip.fed_v


def test_nothing_is_sent_when_one_of_the_conditions_is_beyond_its_limits(
    served: ServedBench,
) -> None:
    with Opened(served).bench as bench:
        with pytest.raises(SafetyLimitError, match=r"supply\.voltage: 0\.5 V is beyond"):
            bench.prepare_step({("supply", "voltage"): 0.5})
        assert served.bench.chamber.setpoint_c == 25.0
        assert served.time() == 0.0


def test_bench_is_left_safe_at_the_end(served: ServedBench) -> None:
    opened = Opened(served)
    with opened.bench as bench:
        bench.prepare_step()
    assert opened.unsafe == []
    assert served.bench.chamber.setpoint_c == 25.0
    assert (served.bench.supply.voltage_v, served.bench.supply.is_on) == (0.0, False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, TransportError, ZeroDivisionError])
def test_bench_is_left_safe_whatever_ends_the_campaign(
    served: ServedBench, error: type[BaseException]
) -> None:
    opened = Opened(served)

    def campaign() -> None:
        with opened.bench as bench:
            bench.prepare_step()
            raise error

    with pytest.raises(error):
        campaign()
    assert opened.unsafe == []
    assert served.bench.chamber.setpoint_c == 25.0
    assert not served.bench.supply.is_on


def test_bench_is_left_safe_when_a_quantity_does_not_settle(served: ServedBench) -> None:
    opened = Opened(served, BENCH.replace("tolerance = 0.002", "tolerance = 1e-9"))
    with pytest.raises(NotSettledError, match=r"supply\.voltage"), opened.bench as bench:
        bench.prepare_step()
    assert served.bench.chamber.setpoint_c == 25.0
    assert not served.bench.supply.is_on


def test_first_instrument_is_made_safe_when_the_second_cannot_be_opened(
    served: ServedBench,
) -> None:
    opened = Opened(served, BENCH.replace('stop = ["OUTP OFF"]', 'identity = "another"'))
    served.bench.chamber.set(60.0)
    with pytest.raises(InstrumentError, match="must match 'another'"), opened.bench:
        pytest.fail("it was opened")
    assert served.bench.chamber.setpoint_c == 25.0


def test_instrument_that_cannot_be_made_safe_is_told_and_the_others_are_safe(
    served: ServedBench,
) -> None:
    opened = Opened(served, BENCH.replace("OUTP OFF", "NONSENSE"))
    with opened.bench as bench:
        bench.prepare_step()
    assert len(opened.unsafe) == 1
    assert opened.unsafe[0].startswith("instrument supply: may not be safe: device error -113")
    assert served.bench.supply.voltage_v == 0.0
    assert served.bench.chamber.setpoint_c == 25.0


def leave_under_signals(
    served: ServedBench, signals: list[signal.Signals], unsafe: list[str]
) -> None:
    """Leave a bench, with a signal at each of the first waits of the ramp to the safe value."""
    is_leaving = False

    def sleep(seconds: float) -> None:
        if is_leaving and signals:
            signal.raise_signal(signals.pop(0))
        served.time.sleep(seconds)

    with open_instruments(
        sections(),
        mock_addresses={"chamber": served.chamber, "supply": served.supply},
        on_unsafe=unsafe.append,
        clock=served.time,
        sleep=sleep,
    ) as bench:
        bench.prepare_step()
        is_leaving = True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_while_making_safe_are_answered_and_do_not_end_it(
    served: ServedBench, number: signal.Signals
) -> None:
    unsafe: list[str] = []
    leave_under_signals(served, [number] * 2, unsafe)
    assert served.bench.chamber.setpoint_c == 25.0
    until = time.monotonic() + 5.0
    while len(unsafe) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert sorted(unsafe) == [
        f"instrument chamber: is being made safe, which goes on in spite of {number.name}; "
        f"{left} more would leave it unsafe"
        for left in (1, 2)
    ]


def test_third_signal_breaks_off_making_safe_and_says_what_is_left(served: ServedBench) -> None:
    unsafe: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        leave_under_signals(served, [signal.SIGINT] * 3, unsafe)
    assert served.bench.chamber.setpoint_c > 25.0
    assert not served.bench.supply.is_on
    (left,) = [words for words in unsafe if "LEFT UNSAFE" in words]
    assert left == (
        "instrument chamber: was LEFT UNSAFE, making it safe was broken off by KeyboardInterrupt; "
        "look after temperature by hand"
    )
    assert signal.getsignal(signal.SIGINT) is before


def test_setpoint_changed_by_somebody_between_steps_is_found(served: ServedBench) -> None:
    with Opened(served).bench as bench:
        bench.prepare_step()
        served.bench.supply.set_voltage(0.1)
        with pytest.raises(InstrumentError, match=r"set to 0\.3 V, reads back 0\.1 V"):
            bench.prepare_step()


def test_mock_instrument_needs_a_mock_device() -> None:
    with (
        pytest.raises(ConfigError, match="only a mock:// device has mock instruments"),
        open_instruments(sections(), mock_addresses={}, on_unsafe=print),
    ):
        pass


def test_look_at_the_instruments_sets_nothing(served: ServedBench) -> None:
    addresses = {"chamber": served.chamber, "supply": served.supply}
    text = BENCH.replace("stop =", 'start = ["OUTP OFF"]\nstop =')
    chamber, supply = check_instruments(sections(text), mock_addresses=addresses)
    assert chamber.identity == "aimc-hil,mock-chamber,0,1.0"
    assert [reading.quantity for reading in supply.readings] == ["voltage", "current"]
    assert (chamber.problem, supply.problem) == (None, None)
    assert (served.chip.temperatures_c, served.chip.fed_v) == ([], [])
    assert served.bench.supply.is_on


def test_look_goes_on_after_an_instrument_that_is_absent(served: ServedBench) -> None:
    chamber, supply = check_instruments(sections(), mock_addresses={"supply": served.supply})
    assert isinstance(chamber.problem, ConfigError)
    assert (supply.identity, supply.problem) == ("aimc-hil,mock-supply,0,1.0", None)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "value = 40",
            "value = 90",
            "temperature: value is 90: must be within the limits -20 to 85",
        ),
        ("safe = 25", "safe = 90", "safe is 90: must be within the limits"),
        ("upper = 85\n", "", "needs hard limits, lower and upper"),
        ("upper = 85", "upper = -30", "lower must be <= upper"),
        ('set = "TEMP:SETP {value}"', 'set = "TEMP:SETP"', "must hold {value} once"),
        ('set = "TEMP:SETP {value}"', "", "is only read, it has no set: takes no lower, upper"),
        ('query = "TEMP?"', "", "temperature.query: is missing"),
        ("ramp_per_s = 0.5", "ramp_per_s = 0", "ramp_per_s: Input should be greater than 0"),
        ("ramp_per_s", "ramp_rate", "temperature.ramp_rate: unknown key"),
        ("timeout_s = 3600", "timeout_s = 60", "stable_s is 60: must be less than timeout_s, 60"),
        ("mock://chamber", "mock://oven", "use mock://chamber or mock://supply"),
        ("mock://chamber", "somewhere", "is no resource"),
        ("aimc-hil,mock-chamber,.*", "(", "identity is no regular expression"),
        ("OUTP OFF", "VOLT 5", "'VOLT 5' would set voltage past its limits"),
        ("OUTP OFF", "OUTP OFF;volt 5", "would set voltage past its limits"),
        ("OUTP OFF", "OUTP OFF;:VOLT 5", "would set voltage past its limits"),
        ("OUTP OFF", ":SOURce1:VOLTage:LEVel:IMM 5", "would set voltage past its limits"),
        ("OUTP OFF", "SOUR:CURR 1;VOLT 5", "would set voltage past its limits"),
        (
            'query = "MEAS:CURR?"',
            'query = "VOLT 5;:MEAS:CURR?"',
            "'VOLT 5;:MEAS:CURR?' must be one query, without ;",
        ),
        ('query = "MEAS:CURR?"', 'query = "VOLTage 5"', "past its limits: it must only ask"),
        (
            'query = "MEAS:VOLT?"',
            'query = "MEAS:VOLT?"\nread_back = "VOLT?;VOLT 5"',
            "'VOLT?;VOLT 5' must be one query, without ;",
        ),
        (
            'query = "MEAS:CURR?"',
            'query = "MEAS:CURR?"\nset = ":SOUR:VOLTage {value}"\nlower = 0\nupper = 5',
            "one quantity only may set it",
        ),
        (
            'query = "MEAS:CURR?"',
            'query = "CURR?"\nset = "CURR {value};:VOLT 5"\nread_back = ""\nlower = 0\nupper = 1',
            "current: 'CURR {value};:VOLT 5' would set voltage past its limits",
        ),
        ("mock://supply", "mock://chamber", "supply has the resource of chamber"),
        ("instruments.supply", "instruments.Supply", "'Supply' is no name"),
        ('stop = ["OUTP OFF"]', 'pymeasure = "Keithley"', "must be package.module:Class"),
        ('stop = ["OUTP OFF"]', 'pymeasure = "a.b:C"', "must be an attribute"),
        ('stop = ["OUTP OFF"]', "options = { baud_rate = 9600 }", "options are for a pymeasure"),
    ],
)
def test_mistake_in_the_file_is_found_before_anything_is_opened(
    old: str, new: str, problem: str
) -> None:
    assert old in BENCH
    with pytest.raises(ConfigError) as error:
        sections(BENCH.replace(old, new))
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TCPIP0::127.0.0.1::5025::SOCKET", "tcpip::localhost::05025::socket"),
        ("TCPIP0::10.0.0.1::inst0::INSTR", "TCPIP::10.0.0.1::INSTR"),
        ("GPIB0::5::INSTR", "gpib::5::instr"),
    ],
)
def test_two_instruments_cannot_have_one_resource_in_two_spellings(one: str, other: str) -> None:
    with pytest.raises(ConfigError, match="supply has the resource of chamber"):
        sections(BENCH.replace("mock://chamber", one).replace("mock://supply", other))


def test_channels_of_one_command_are_quantities_of_their_own() -> None:
    text = """
[instruments.supply]
resource = "mock://supply"
[instruments.supply.quantities.first]
set = "VOLT {value},(@1)"
query = "VOLT? (@1)"
lower = 0
upper = 1
[instruments.supply.quantities.second]
set = "VOLT {value},(@2)"
query = "VOLT? (@2)"
lower = 0
upper = 5
"""
    assert list(sections(text)["supply"].quantities) == ["first", "second"]
    with pytest.raises(ConfigError, match="one quantity only may set it"):
        sections(text.replace("(@2)", "(@1:4)"))


def test_pymeasure_attribute_is_set_by_one_quantity_only() -> None:
    text = """
[instruments.supply]
resource = "TCPIP0::127.0.0.1::5025::SOCKET"
pymeasure = "package.module:Supply"
[instruments.supply.quantities.first]
set = "voltage"
query = "voltage"
lower = 0
upper = 1
[instruments.supply.quantities.second]
set = "current"
query = "current"
lower = 0
upper = 5
"""
    assert list(sections(text)["supply"].quantities) == ["first", "second"]
    with pytest.raises(ConfigError, match="second: 'voltage' would set first past its limits"):
        sections(text.replace('"current"', '"voltage"'))


@pytest.mark.parametrize("section", [InstrumentSection, QuantitySection, SettleSection])
def test_reference_page_has_every_key(section: type[BaseModel]) -> None:
    page = (PROJECT / "docs" / "reference" / "instruments.md").read_text()
    missing = {key for key in section.model_fields if f"`{key}`" not in page}
    assert missing - {"quantities"} == set()


needs_key = pytest.mark.skipif(
    "instruments" not in CampaignConfig.model_fields, reason="campaigns have no instruments yet"
)


@needs_key
def test_command_shows_readings_and_limits(served: ServedBench, tmp_path: Path) -> None:
    text = BENCH.replace("mock://chamber", served.chamber).replace("mock://supply", served.supply)
    ended = hil("instruments", "check", campaign_file(tmp_path, rest=text))
    assert ended.code == 0, ended.stderr
    assert "chamber: aimc-hil,mock-chamber,0,1.0 at TCPIP0::" in ended.stdout
    assert "may be set to -20 to 85, at 0.5 per second, the campaign sets 40" in ended.stdout
    assert "only read" in ended.stdout
    as_json = hil("instruments", "check", campaign_file(tmp_path, rest=text), "--json")
    assert [each["name"] for each in json.loads(as_json.stdout)] == ["chamber", "supply"]


@needs_key
def test_command_ends_with_the_device_code_where_one_is_absent(tmp_path: Path) -> None:
    with served_bench() as served:
        text = BENCH.replace("mock://chamber", served.chamber)
        text = text.replace("mock://supply", served.supply)
    ended = hil("instruments", "check", campaign_file(tmp_path, rest=text))
    assert ended.code == 4
    assert ended.stdout.count("PROBLEM") == 2
