"""pymeasure instruments over pyvisa-py and real sockets, against the mock chamber and supply."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil.core.errors import (
    DeviceError,
    InstrumentError,
    ReadingError,
    SafetyLimitError,
    TransportError,
    TransportTimeoutError,
)
from hil_drivers.instruments.adapted import AdaptedInstrument
from hil_drivers.instruments.instrument import Limits, QuantitySpec, Ramp, Settle
from hil_drivers.instruments.pymeasure_instrument import (
    PymeasureInstrumentSpec,
    PymeasureQuantity,
    open_pymeasure_instrument,
)
from hil_drivers.instruments.pymeasure_link import PymeasureAddress, load_driver
from hil_mock_device.bench_instruments.listening import listening_in_a_thread
from hil_mock_device.bench_instruments.plain_instrument import PlainConversation, PlainInstrument
from mock_bench import ServedBench, served_bench

pytest.importorskip("pymeasure", reason="needs the extra: pip install 'aimc-hil[instruments]'")

# A driver as a lab has it: none of ours, and it knows nothing of us.
DRIVER = """
from pymeasure.instruments import Instrument, SCPIMixin
from pymeasure.instruments.validators import strict_range, truncated_range


class Supply(SCPIMixin, Instrument):
    def __init__(self, adapter, name="Supply", **kwargs):
        super().__init__(adapter, name, **kwargs)

    voltage_setpoint = Instrument.control("VOLT?", "VOLT %g", "", validator=truncated_range,
                                          values=[0, 0.4])
    voltage = Instrument.measurement("MEAS:VOLT?", "")
    current = Instrument.measurement("MEAS:CURR?", "")
    limit = Instrument.control("CURR?", "CURR %g", "", validator=strict_range, values=[0, 1])
    wrong = Instrument.control("VOLT?", "WRONG %g", "")
    both = Instrument.measurement("MEAS:VOLT?;MEAS:CURR?", "", separator=";")
    words = Instrument.measurement("*IDN?", "", cast=str)

    def off(self):
        self.write("OUTP OFF")


class Chamber(SCPIMixin, Instrument):
    def __init__(self, adapter, name="Chamber", **kwargs):
        super().__init__(adapter, name, **kwargs)

    setpoint = Instrument.control("TEMP:SETP?", "TEMP:SETP %g", "")
    temperature = Instrument.measurement("TEMP?", "")


class NoInstrument:
    pass
"""


@pytest.fixture(scope="module", autouse=True)
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lab_drivers.py").write_text(DRIVER)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture
def served() -> Iterator[ServedBench]:
    with served_bench() as served:
        yield served


def quantity(
    set_attribute: str | None, query: str, *, upper: float = 0.5, field: int | None = None
) -> PymeasureQuantity:
    return PymeasureQuantity(
        spec=QuantitySpec(
            name=f"supply.{query}",
            unit="",
            limits=None if set_attribute is None else Limits(0.0, upper),
            safe=None if set_attribute is None else 0.0,
        ),
        query=query,
        set_attribute=set_attribute,
        field=field,
    )


@contextmanager
def opened(
    resource: str,
    served: ServedBench,
    driver: str = "lab_drivers:Supply",
    *,
    timeout_s: float = 5.0,
    stop: tuple[str, ...] = (),
    **quantities: PymeasureQuantity,
) -> Iterator[AdaptedInstrument]:
    spec = PymeasureInstrumentSpec(
        address=PymeasureAddress(driver=driver, resource=resource, timeout_s=timeout_s),
        quantities=quantities,
        identity="aimc-hil,mock-.*",
        stop=stop,
    )
    instrument = open_pymeasure_instrument(spec, clock=served.time, sleep=served.time.sleep)
    try:
        yield instrument
    finally:
        instrument.close()


def test_attribute_of_a_pymeasure_instrument_is_ramped_and_settled(served: ServedBench) -> None:
    temperature = PymeasureQuantity(
        spec=QuantitySpec(
            name="chamber.temperature",
            unit="degC",
            limits=Limits(-40.0, 85.0),
            ramp=Ramp(per_s=1.0, step_s=5.0),
            settle=Settle(tolerance=0.1, stable_s=30.0, timeout_s=3600.0, every_s=5.0),
        ),
        query="temperature",
        set_attribute="setpoint",
    )
    with opened(served.chamber, served, "lab_drivers:Chamber", temperature=temperature) as chamber:
        assert abs(chamber.quantities["temperature"].set(40.0) - 40.0) <= 0.1
        with pytest.raises(SafetyLimitError):
            chamber.quantities["temperature"].set(86.0)
    assert served.bench.chamber.setpoint_c == 40.0


def test_supply_is_set_read_and_left_safe(served: ServedBench) -> None:
    with opened(
        served.supply,
        served,
        stop=("off",),
        voltage=quantity("voltage_setpoint", "voltage"),
        current=quantity(None, "both", field=2),
    ) as supply:
        assert supply.identity == "aimc-hil,mock-supply,0,1.0"
        assert abs(supply.quantities["voltage"].set(0.3) - 0.3) < 0.001
        assert abs(supply.quantities["current"].read() - 0.003) < 1e-4
        supply.safe()
        supply.close()
    assert served.chip.fed_v == [0.3, 0.0]
    assert not served.bench.supply.is_on


def test_value_that_pymeasure_cuts_off_in_silence_is_found_out(served: ServedBench) -> None:
    with (
        opened(served.supply, served, voltage=quantity("voltage_setpoint", "voltage")) as supply,
        pytest.raises(InstrumentError, match=r"set to 0\.45, reads back 0\.4: must be within"),
    ):
        supply.quantities["voltage"].set(0.45)


def test_value_that_pymeasure_refuses_is_a_named_error(served: ServedBench) -> None:
    with (
        opened(served.supply, served, limit=quantity("limit", "limit", upper=2.0)) as supply,
        pytest.raises(InstrumentError, match="limit: lab_drivers:Supply: ValueError"),
    ):
        supply.quantities["limit"].set(1.5)


def test_error_of_the_instrument_is_a_device_error(served: ServedBench) -> None:
    with opened(
        served.supply,
        served,
        wrong=quantity("wrong", "voltage"),
        voltage=quantity("voltage_setpoint", "voltage"),
    ) as supply:
        with pytest.raises(DeviceError, match=r"-113: Undefined header.*wrong = 0\.1"):
            supply.quantities["wrong"].set(0.1)
        supply.quantities["voltage"].set(0.1)  # the error is not found again


def test_reading_that_is_no_number_is_a_named_error(served: ServedBench) -> None:
    with (
        opened(served.supply, served, words=quantity(None, "words")) as supply,
        pytest.raises(ReadingError, match=r"words: gave .* where a number is due"),
    ):
        supply.quantities["words"].read()


def test_attribute_that_is_missing_is_not_made_up(served: ServedBench) -> None:
    with (
        opened(served.supply, served, volts=quantity("volts", "voltage")) as supply,
        pytest.raises(InstrumentError, match="volts: lab_drivers:Supply: AttributeError"),
    ):
        supply.quantities["volts"].set(0.1)
    assert served.bench.supply.voltage_v == 0.2


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ("lab_drivers:NoInstrument", "is no subclass of pymeasure"),
        ("lab_drivers:Missing", "cannot be imported: .*Missing"),
        ("no_such_package.module:Supply", "cannot be imported: No module named"),
    ],
)
def test_class_that_is_none_is_a_named_error(driver: str, words: str) -> None:
    with pytest.raises(TransportError, match=words):
        load_driver(driver)


def test_late_answer_is_never_taken_for_the_next_one(served: ServedBench) -> None:
    seconds = [0.0, 0.0, 0.6]  # only the third query, the first reading, is slow

    def slow(answer: str) -> str:
        time.sleep(seconds.pop(0) if seconds else 0.0)
        return answer

    instrument = PlainInstrument(
        "-",
        {
            "*IDN?": lambda _: slow("aimc-hil,mock-slow,0,0"),
            "SYSTem:ERRor[:NEXT]?": lambda _: slow('0,"No error"'),
            "MEASure:VOLTage?": lambda _: slow("1"),
            "MEASure:CURRent?": lambda _: slow("2"),
        },
        reset=lambda: None,
    )
    with (
        listening_in_a_thread({"slow": lambda: PlainConversation(instrument)}) as resources,
        opened(
            resources["slow"],
            served,
            timeout_s=0.2,
            voltage=quantity(None, "voltage"),
            current=quantity(None, "current"),
        ) as supply,
    ):
        with pytest.raises(TransportTimeoutError, match=r"voltage: no answer within 0\.2 s"):
            supply.quantities["voltage"].read()
        time.sleep(0.6)
        assert supply.quantities["current"].read() == 2.0
        assert supply.quantities["voltage"].read() == 1.0


def test_missing_pymeasure_is_an_error_that_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "pymeasure.py").write_text("raise ImportError('hidden by the test')")
    script = (
        "from hil_drivers.instruments.pymeasure_link import load_driver\n"
        "try:\n    load_driver('a.b:C')\n"
        "except OSError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "pip install 'aimc-hil[instruments]'" in done.stdout


def test_reading_that_the_identity_does_not_follow_is_taken_again() -> None:
    identity = "aimc-hil,mock-meter,0,1.0"
    # As if a stale 999 had come before the answer 4: the identity's place is taken by it.
    identities = iter([identity, "4"])
    readings = iter(["999", "5"])
    instrument = PlainInstrument(
        identity,
        {
            "*IDN?": lambda _: next(identities, identity),
            "MEAS:VOLT?": lambda _: next(readings),
        },
        reset=lambda: None,
    )
    served_meter = {"meter": lambda: PlainConversation(instrument)}
    with listening_in_a_thread(served_meter) as resources, served_bench() as served:
        voltage = quantity(None, "voltage")
        with opened(resources["meter"], served, voltage=voltage) as meter:
            assert meter.quantities["voltage"].read() == 5.0
