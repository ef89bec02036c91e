"""Instruments described by SCPI commands, over real sockets to mock instruments and unruly ones."""

import itertools
import socket
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from hil.core.errors import (
    DeviceError,
    InstrumentError,
    LinkLostError,
    ReadingError,
    SafetyLimitError,
    TransportError,
    TransportTimeoutError,
)
from hil_drivers.instruments.adapted import AdaptedInstrument
from hil_drivers.instruments.instrument import Limits, QuantitySpec, Ramp, Settle
from hil_drivers.instruments.plain_scpi import PlainScpi
from hil_drivers.instruments.scpi_instrument import (
    ScpiInstrumentSpec,
    ScpiQuantity,
    open_scpi_instrument,
)
from hil_drivers.open_transport import TransportChoice, open_transport
from hil_mock_device.bench_instruments.listening import listening_in_a_thread
from hil_mock_device.bench_instruments.plain_instrument import (
    PlainConversation,
    PlainInstrument,
    number,
)
from hil_mock_device.conversation import Outgoing, Wait
from mock_bench import ServedBench, served_bench
from unruly_listener import Behaviour, Listener, babble, hang_up, keep_silent, say

TEMPERATURE = ScpiQuantity(
    spec=QuantitySpec(
        name="chamber.temperature",
        unit="degC",
        limits=Limits(-40.0, 85.0),
        readings=Limits(-45.0, 95.0),
        settle=Settle(tolerance=0.1, stable_s=60.0, timeout_s=3600.0, every_s=5.0),
        ramp=Ramp(per_s=0.5, step_s=5.0),
        safe=25.0,
    ),
    set_command="TEMP:SETP {value}",
    query="TEMP?",
)
VOLTAGE = ScpiQuantity(
    spec=QuantitySpec(
        name="supply.voltage",
        unit="V",
        limits=Limits(0.0, 0.5),
        settle=Settle(tolerance=0.002, stable_s=0.0, timeout_s=10.0),
        safe=0.0,
    ),
    set_command="VOLT {value}",
    query="MEAS:VOLT?",
)
CURRENT = ScpiQuantity(
    spec=QuantitySpec(name="supply.current", unit="A", readings=Limits(-0.001, 0.01)),
    query="MEAS:CURR?",
)
CHAMBER = ScpiInstrumentSpec(
    quantities={"temperature": TEMPERATURE}, identity="aimc-hil,mock-chamber,.*"
)
SUPPLY = ScpiInstrumentSpec(
    quantities={"voltage": VOLTAGE, "current": CURRENT},
    identity="aimc-hil,mock-supply,.*",
    start=("OUTP ON",),
    stop=("OUTP OFF",),
)


@pytest.fixture
def served() -> Iterator[ServedBench]:
    with served_bench() as served:
        yield served


@contextmanager
def opened(
    resource: str,
    spec: ScpiInstrumentSpec,
    served: ServedBench,
    choice: TransportChoice = TransportChoice.AUTO,
) -> Iterator[AdaptedInstrument]:
    transport = open_transport(resource, timeout_s=5.0, choice=choice)
    instrument = open_scpi_instrument(spec, transport, clock=served.time, sleep=served.time.sleep)
    try:
        yield instrument
    finally:
        instrument.close()


@pytest.mark.parametrize("choice", [TransportChoice.TCP, TransportChoice.VISA])
def test_chamber_is_ramped_and_settled_and_the_chip_follows(
    served: ServedBench, choice: TransportChoice
) -> None:
    with opened(served.chamber, CHAMBER, served, choice) as chamber:
        reached = chamber.quantities["temperature"].set(60.0)
    assert abs(reached - 60.0) <= 0.1
    # 35 K at 0.5 K/s are 70 s, and 60 s of rest at least.
    assert served.time() > 130.0
    assert abs(served.bench.chamber.chip_c() - 60.0) < 0.15
    assert served.chip.temperatures_c[-1] == served.bench.chamber.chip_c()


def test_supply_changes_the_read_voltage_of_the_chip(served: ServedBench) -> None:
    with opened(served.supply, SUPPLY, served) as supply:
        assert abs(supply.quantities["voltage"].set(0.3) - 0.3) < 0.002
        assert abs(supply.quantities["current"].read() - 0.003) < 1e-4
        supply.safe()
        supply.close()
    assert served.chip.fed_v == [0.3, 0.0]
    assert not served.bench.supply.is_on


def test_another_instrument_under_the_address_is_refused(served: ServedBench) -> None:
    with (
        pytest.raises(InstrumentError, match=r"'aimc-hil,mock-supply,0,1\.0': must match"),
        opened(served.supply, CHAMBER, served),
    ):
        pass


def test_error_of_the_instrument_is_raised_and_not_found_again_later(served: ServedBench) -> None:
    # The description allows what the chamber does not: 150 degrees is its end.
    spec = QuantitySpec(name="chamber.temperature", unit="degC", limits=Limits(0.0, 200.0))
    hot = ScpiInstrumentSpec(
        quantities={
            "temperature": ScpiQuantity(spec=spec, set_command="TEMP:SETP {value}", query="TEMP?")
        }
    )
    with opened(served.chamber, hot, served) as chamber:
        quantity = chamber.quantities["temperature"]
        with pytest.raises(DeviceError, match=r"-222.*180: must be -40 to 150.*TEMP:SETP 180") as e:
            quantity.set(180.0)
        assert e.value.code == -222
        assert quantity.set(30.0) == pytest.approx(25.0, abs=0.1)  # it has only begun to warm


def test_old_errors_of_somebody_else_are_not_ours(served: ServedBench) -> None:
    with opened(served.chamber, CHAMBER, served) as first:
        del first
        plain = open_transport(served.chamber, timeout_s=5.0)
        plain.send(b"NONSENSE\n*OPC?\n", timeout_s=5.0)
        plain.receive_into(memoryview(bytearray(16)), is_whole=False, timeout_s=5.0)
        plain.close()
    with opened(served.chamber, CHAMBER, served) as chamber:
        assert chamber.quantities["temperature"].set(26.0) == pytest.approx(26.0, abs=1.5)


def test_overcurrent_is_a_reading_out_of_range_and_safe_still_works(served: ServedBench) -> None:
    with opened(served.supply, SUPPLY, served) as supply:
        served.bench.supply.change_load(10.0)
        supply.quantities["voltage"].set(0.4)
        with pytest.raises(SafetyLimitError, match=r"supply\.current: reads 0\.0[34]"):
            supply.quantities["current"].read()
        supply.safe()
    assert served.bench.supply.output_v() == 0.0
    assert not served.bench.supply.is_on


class SlowOnce:
    """A conversation that waits before one of its answers."""

    def __init__(self, instrument: PlainInstrument, slow: dict[bytes, float]) -> None:
        self._inner = PlainConversation(instrument)
        self._slow = slow
        self.client = self._inner.client
        self.is_lost = False

    def answers(self, data: bytes) -> Iterator[Outgoing]:
        for line in data.splitlines(keepends=True):
            seconds = self._slow.pop(line, None)
            if seconds is not None:
                yield Wait(seconds)
            yield from self._inner.answers(line)

    def end_message(self) -> Iterator[Outgoing]:
        yield from self._inner.end_message()

    def clear(self) -> None:
        self._inner.clear()

    def leave(self) -> None:
        self._inner.leave()


READ_ONLY = ScpiInstrumentSpec(
    quantities={
        name: ScpiQuantity(spec=QuantitySpec(name=name, unit=""), query=f"{name.upper()}?")
        for name in ("first", "second")
    },
    timeout_s=0.2,
)


def two_numbers(identities: Iterator[str]) -> PlainInstrument:
    return PlainInstrument(
        "no,such,0,0",
        {"*IDN?": lambda _: next(identities), "FIRST?": lambda _: "1", "SECOND?": lambda _: "2"},
        reset=lambda: None,
    )


def always(identity: str) -> Iterator[str]:
    while True:
        yield identity


@pytest.mark.parametrize("choice", [TransportChoice.TCP, TransportChoice.VISA])
def test_late_answer_is_never_taken_for_the_next_one(choice: TransportChoice) -> None:
    instrument, slow = two_numbers(always("a,b,c,d")), {b"FIRST?\n": 0.4}
    with listening_in_a_thread({"two": lambda: SlowOnce(instrument, slow)}) as resources:
        transport = open_transport(resources["two"], timeout_s=5.0, choice=choice)
        opened = open_scpi_instrument(READ_ONLY, transport, clock=time.monotonic, sleep=time.sleep)
        with pytest.raises(TransportTimeoutError, match=r"no whole answer to FIRST\? within 0.2 s"):
            opened.quantities["first"].read()
        time.sleep(0.4)  # now the late answer is under way, or there
        assert opened.quantities["second"].read() == 2.0
        assert opened.quantities["first"].read() == 1.0
        opened.close()


def test_error_of_a_broken_exchange_is_not_taken_for_one_of_the_next() -> None:
    def set_voltage(parameters: list[str]) -> None:
        if number(parameters) > 1:
            raise DeviceError(-222, "Data out of range")

    instrument = PlainInstrument(
        "a,b,c,d", {"VOLTage": set_voltage, "VOLTage?": lambda _: "0.5"}, reset=lambda: None
    )
    voltage = ScpiQuantity(
        spec=QuantitySpec(name="slow.voltage", unit="V", limits=Limits(0.0, 5.0)),
        set_command="VOLT {value}",
        query="VOLT?",
    )
    spec = ScpiInstrumentSpec(quantities={"voltage": voltage}, timeout_s=0.2)
    slow: dict[bytes, float] = {}
    with listening_in_a_thread({"slow": lambda: SlowOnce(instrument, slow)}) as resources:
        transport = open_transport(resources["slow"], timeout_s=5.0)
        opened = open_scpi_instrument(spec, transport, clock=time.monotonic, sleep=time.sleep)
        slow[b"SYST:ERR?\n"] = 1.0
        with pytest.raises(TransportTimeoutError, match=r"no whole answer to SYST:ERR\?"):
            opened.quantities["voltage"].set(2.0)
        assert opened.quantities["voltage"].set(0.5) == 0.5
        opened.close()


def test_instrument_that_is_another_one_after_a_timeout_is_refused() -> None:
    instrument = two_numbers(iter(["a,b,c,1", "a,b,c,2", "a,b,c,1", "a,b,c,1"]))
    slow = {b"FIRST?\n": 0.4}
    with listening_in_a_thread({"two": lambda: SlowOnce(instrument, slow)}) as resources:
        transport = open_transport(resources["two"], timeout_s=5.0)
        opened = open_scpi_instrument(READ_ONLY, transport, clock=time.monotonic, sleep=time.sleep)
        with pytest.raises(TransportTimeoutError):
            opened.quantities["first"].read()
        with pytest.raises(
            InstrumentError, match="was 'a,b,c,1' and says now that it is 'a,b,c,2'"
        ):
            opened.quantities["second"].read()
        assert opened.quantities["second"].read() == 2.0  # the first one is back
        opened.close()


@contextmanager
def serving_in_turn(behaviour: Behaviour) -> Iterator[str]:
    """Serve one client after the other, for a host that connects again to clear its link."""
    is_over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            behaviour(self.request, is_over)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"TCPIP0::127.0.0.1::{server.server_address[1]}::SOCKET"
        server.shutdown()
        thread.join()


def meter(extra: Mapping[int, tuple[float, bytes, float]]) -> Behaviour:
    """Return a meter that counts its readings and says lines nobody asked for.

    `extra` is, by the number of the reading: seconds before the line, the line, seconds after it.
    """

    counts = itertools.count(1)

    def serve(client: socket.socket, is_over: threading.Event) -> None:
        for line in client.makefile():
            if line == "M?\n":
                count = next(counts)
                client.sendall(b"%d\n" % count)
                before_s, stale, after_s = extra.get(count, (0.0, b"", 0.0))
                time.sleep(before_s)
                client.sendall(stale)
                time.sleep(after_s)
            else:
                client.sendall(b"a,b,c,d\n" if line == "*IDN?\n" else b'0,"No error"\n')

    return serve


COUNTS = ScpiInstrumentSpec(
    quantities={"count": ScpiQuantity(spec=QuantitySpec(name="meter.count", unit=""), query="M?")},
    timeout_s=2.0,
)


@pytest.mark.parametrize(
    ("extra", "readings"),
    [
        # In the same packet, within the same read, behind the fence, and before a reading.
        ({1: (0.0, b"999\n", 0.05)}, [2.0, 3.0, 4.0]),
        ({1: (0.05, b"999\n", 0.0)}, [2.0, 3.0, 4.0]),
        ({2: (0.05, b"999\n", 0.0)}, [1.0, 3.0, 4.0]),
        ({2: (0.05, b"2\n2\n", 0.0)}, [1.0, 3.0, 4.0]),
    ],
)
def test_line_too_many_never_shifts_a_reading(
    extra: dict[int, tuple[float, bytes, float]], readings: list[float]
) -> None:
    with serving_in_turn(meter(extra)) as resource:
        transport = open_transport(resource, timeout_s=5.0)
        opened = open_scpi_instrument(COUNTS, transport, clock=time.monotonic, sleep=time.sleep)
        assert [opened.quantities["count"].read() for _ in readings] == readings
        opened.close()


def test_line_that_lies_there_before_a_request_is_found_and_dropped() -> None:
    def serve(client: socket.socket, is_over: threading.Event) -> None:
        for line in client.makefile():
            client.sendall({"*IDN?\n": b"a,b,c,d\n", "M?\n": b"5\n"}.get(line, b"0\n"))
            if line == "SYST:ERR?\n" and not is_over.is_set():
                is_over.set()
                time.sleep(0.05)
                client.sendall(b"999\n")

    with serving_in_turn(serve) as resource:
        transport = open_transport(resource, timeout_s=5.0)
        link = PlainScpi(transport, timeout_s=2.0, error_query="SYST:ERR?", clock=time.monotonic)
        assert link.take_errors() == []
        time.sleep(0.2)
        assert (link.ask("M?"), link.recoveries) == ("5", 1)
        link.close()


def test_instrument_that_is_never_in_step_is_a_named_error() -> None:
    always_two = dict.fromkeys(range(1, 9), (0.05, b"999\n", 0.0))
    with serving_in_turn(meter(always_two)) as resource:
        transport = open_transport(resource, timeout_s=5.0)
        opened = open_scpi_instrument(COUNTS, transport, clock=time.monotonic, sleep=time.sleep)
        with pytest.raises(ReadingError, match=r"answers are out of step, 3 times in a row"):
            opened.quantities["count"].read()
        opened.close()


def open_unruly(behaviour: Behaviour, *, timeout_s: float = 0.3) -> None:
    spec = ScpiInstrumentSpec(quantities={"current": CURRENT}, timeout_s=timeout_s)
    with Listener(behaviour) as listener:
        transport = open_transport(listener.resource, timeout_s=5.0)
        open_scpi_instrument(spec, transport, clock=time.monotonic, sleep=time.sleep)


@pytest.mark.parametrize(
    ("behaviour", "error", "words"),
    [
        (keep_silent, TransportTimeoutError, "no whole answer to \\*IDN\\?"),
        (hang_up, LinkLostError, "closed the connection"),
        (babble, ReadingError, "more than 4096 bytes"),
        (say(b"a,b,c,d\nmore\n", then_close=False), ReadingError, "more than one line"),
        (say(b"a,b,c", then_close=False), TransportTimeoutError, "no whole answer"),
    ],
    ids=["silence", "hang-up", "flood", "two lines", "no newline"],
)
def test_unruly_instrument_is_a_named_error_in_time(
    behaviour: Behaviour, error: type[Exception], words: str
) -> None:
    began = time.monotonic()
    with pytest.raises(error, match=words):
        open_unruly(behaviour)
    assert time.monotonic() - began < 5.0


def test_error_queue_that_never_empties_is_an_error() -> None:
    instrument = PlainInstrument(
        "a,b,c,d", {"SYSTem:ERRor[:NEXT]?": lambda _: '-100,"Command error"'}, reset=lambda: None
    )
    with listening_in_a_thread({"sick": lambda: PlainConversation(instrument)}) as resources:
        transport = open_transport(resources["sick"], timeout_s=5.0)
        with pytest.raises(InstrumentError, match="more than 64 errors, the last -100"):
            open_scpi_instrument(READ_ONLY, transport, clock=time.monotonic, sleep=time.sleep)


def test_error_queue_that_answers_rubbish_is_an_error() -> None:
    instrument = PlainInstrument(
        "a,b,c,d", {"SYSTem:ERRor[:NEXT]?": lambda _: "25.0"}, reset=lambda: None
    )
    with listening_in_a_thread({"sick": lambda: PlainConversation(instrument)}) as resources:
        transport = open_transport(resources["sick"], timeout_s=5.0)
        with pytest.raises(ReadingError, match=r"'25\.0' where an error number is due"):
            open_scpi_instrument(READ_ONLY, transport, clock=time.monotonic, sleep=time.sleep)


def test_everything_is_made_safe_though_a_part_of_it_fails(served: ServedBench) -> None:
    wrong = ScpiInstrumentSpec(
        quantities={
            "voltage": VOLTAGE,
            "wrong": ScpiQuantity(
                spec=QuantitySpec(name="supply.wrong", unit="", limits=Limits(0, 1), safe=0.0),
                set_command="WRONG {value}",
                query="MEAS:VOLT?",
            ),
        },
        stop=("OUTP OFF",),
    )
    with opened(served.supply, wrong, served) as supply:
        supply.quantities["voltage"].set(0.4)
        with pytest.raises(
            InstrumentError, match=r"may not be safe: device error -113.*WRONG 0\.0"
        ):
            supply.safe()
    assert served.bench.supply.voltage_v == 0.0
    assert not served.bench.supply.is_on


def test_value_is_sent_with_every_digit(served: ServedBench) -> None:
    with opened(served.supply, SUPPLY, served) as supply:
        supply.quantities["voltage"].set(0.1 + 0.2)
    assert served.bench.supply.voltage_v == 0.30000000000000004


@pytest.mark.parametrize(
    ("set_command", "read_back", "words"),
    [
        ("VOLT", None, "must hold {value} once"),
        ("VOLT {value},{value}", None, "must hold {value} once"),
        ("VOLT {value};OUTP ON", None, "give read_back"),
        ("VOLT {value}\nOUTP ON", "VOLT?", "one line of printable ASCII"),
        (None, None, "both a set command and limits"),
    ],
)
def test_senseless_set_commands_are_refused(
    set_command: str | None, read_back: str | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ScpiQuantity(
            spec=QuantitySpec(name="q", unit="", limits=Limits(0.0, 1.0)),
            query="MEAS:VOLT?",
            set_command=set_command,
            read_back=read_back,
        )


def test_absent_instrument_is_a_transport_error(served: ServedBench) -> None:
    with Listener(hang_up) as listener:
        nobody = listener.resource
    with pytest.raises(TransportError), opened(nobody, CHAMBER, served):
        pass
