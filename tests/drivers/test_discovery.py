"""What is found, how it is asked, and that nothing else is touched."""

import os
import socket
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hil_drivers.discovery.discover import Plan, discover, merge
from hil_drivers.discovery.found_device import FoundDevice, Outcome, State
from hil_drivers.discovery.identify import ask_network, ask_serial
from hil_drivers.discovery.mdns_services import find_announced
from hil_drivers.discovery.serial_ports import describe_port
from hil_drivers.discovery.visa_resources import find_visa
from hil_mock_device.launch import MockProcess
from served_line import served_line
from unruly_listener import Listener, babble, dribble, hang_up, keep_silent, say, unused_port

LOOPBACK = ("127.0.0.1",)
TYPES = ["_hislip._tcp.local.", "_scpi-raw._tcp.local.", "_lxi._tcp.local."]
HISLIP, RAW, LXI = TYPES


@contextmanager
def announced(*services: tuple[str, int], name: str = "Board", **texts: str) -> Iterator[None]:
    """Announce services at loopback, as an instrument does."""
    zeroconf = pytest.importorskip("zeroconf", reason="zeroconf is not installed")
    try:
        announcer = zeroconf.Zeroconf(interfaces=list(LOOPBACK))
    except OSError as error:
        pytest.skip(f"no multicast here: {error}")
    infos = [
        zeroconf.ServiceInfo(
            kind,
            f"{name}.{kind}",
            addresses=[socket.inet_aton("127.0.0.1")],
            port=port,
            properties={"txtvers": "1", **texts},
            server=f"{name.lower().replace(' ', '-')}.local.",
        )
        for kind, port in services
    ]
    try:
        for info in infos:
            # Nobody else is at loopback to be asked whether the name is free, for 1.5 s each.
            announcer.register_service(info, cooperating_responders=True)
        if not zeroconf_hears(zeroconf, infos[0]):
            pytest.skip("multicast sent at loopback is not heard here")
        yield
    finally:
        announcer.close()


def zeroconf_hears(zeroconf: object, info: object) -> bool:
    listener = zeroconf.Zeroconf(interfaces=list(LOOPBACK))  # type: ignore[attr-defined]
    try:
        return (
            listener.get_service_info(info.type, info.name, timeout=3000)  # type: ignore[attr-defined]
            is not None
        )
    finally:
        listener.close()


def found(resource: str, search: str, **more: object) -> FoundDevice:
    values = {"description": "", **more}
    return FoundDevice(resource=resource, found_by=(search,), **values)  # type: ignore[arg-type]


class Recorder:
    """A device that answers every line with an identity and keeps what it was sent."""

    def __init__(self, answer: bytes = b"ACME,M1,7,1.0\n") -> None:
        self.heard = b""
        self.ended_in_order = False
        self._answer = answer

    def __call__(self, client: socket.socket, is_over: threading.Event) -> None:
        client.settimeout(10)
        try:
            while data := client.recv(4096):
                self.heard += data
                if data.endswith(b"\n"):
                    client.sendall(self._answer)
            self.ended_in_order = True
        except OSError:
            return


# What is announced on the network


def test_announced_device_is_found_with_its_resource_string_and_identified() -> None:
    ways = ["--tcp", "127.0.0.1:0", "--hislip", "127.0.0.1:0"]
    with MockProcess(["--profile", "quickstart", "--seed", "3", *ways]) as mock:
        tcp, hislip = mock.resources
        ports = [int(hislip.split(",")[1].split("::")[0]), int(tcp.split("::")[2])]
        with announced((HISLIP, ports[0]), (RAW, ports[1]), (LXI, 80)):
            plan = Plan(timeout_s=1.0, backends=(), interfaces=LOOPBACK)
            devices = {device.resource: device for device in discover(plan).devices}
    for resource in (f"TCPIP0::127.0.0.1::hislip0,{ports[0]}::INSTR", tcp):
        assert devices[resource].state is State.IDENTIFIED, devices[resource].detail
        assert devices[resource].identity == "aimc-hil,mock-chip,quickstart-3,1.0"
        assert devices[resource].found_by == ("mDNS",)
    assert "" not in devices  # the web page of a host with a way in is no row of its own


def test_announced_texts_are_shown_without_asking() -> None:
    recorder = Recorder()
    with Listener(recorder) as device:
        texts = {"Manufacturer": "ACME", "Model": "M1\x1b[2J", "SerialNumber": "7"}
        with announced((RAW, device.port), name="Lab supply", **texts):
            plan = Plan(timeout_s=0.7, identifies=False, backends=(), interfaces=LOOPBACK)
            (row,) = [each for each in discover(plan).devices if each.resource == device.resource]
    assert row.state is State.NOT_ASKED
    assert row.description == "announced as Lab supply, lab-supply.local, ACME M1?[2J 7"
    assert recorder.heard == b""


def test_lone_web_page_is_told_with_its_address() -> None:
    with announced((LXI, 8080)):
        (row,) = find_announced(listen_s=0.7, interfaces=LOOPBACK).devices
    assert row.resource == ""
    assert "http://127.0.0.1:8080/" in row.detail


def test_without_zeroconf_the_search_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    search = find_announced(listen_s=0.1).search
    assert search.outcome is Outcome.MISSING
    assert "pip install 'aimc-hil[discovery]'" in search.detail


# Asking


def test_device_is_asked_once_and_left_in_order() -> None:
    recorder = Recorder()
    with Listener(recorder) as device:
        asked = ask_network(device.resource, timeout_s=5)
    assert asked.identity == "ACME,M1,7,1.0"
    assert recorder.heard == b"*IDN?\n"
    assert recorder.ended_in_order


@pytest.mark.parametrize(
    ("behaviour", "state", "words"),
    [
        (keep_silent, State.SILENT, "no answer to \\*IDN\\? within 0.5 s"),
        (hang_up, State.BUSY, "may be serving another client"),
        (babble, State.STRANGE, "bla bla"),
        (dribble(b"AC", b"M", 0.02), State.STRANGE, "ACM"),
        (say(b"login: "), State.BUSY, "hung up"),
        (say(b"\xff\xfe\x00\n"), State.STRANGE, "answered"),
        (say(b"one,two\n"), State.STRANGE, "'one,two'"),
    ],
    ids=["silent", "hangs up", "babbles", "dribbles", "hangs up half way", "binary", "two fields"],
)
def test_unruly_device_is_shown_as_what_it_is_in_time(
    behaviour: object, state: State, words: str
) -> None:
    with Listener(behaviour) as device:  # type: ignore[arg-type]
        start = time.monotonic()
        asked = ask_network(device.resource, timeout_s=0.5)
        took_s = time.monotonic() - start
    assert asked.state is state
    assert asked.identity is None
    assert pytest.raises(AssertionError, match=words).matches(AssertionError(asked.detail))
    assert took_s < 2.0


def test_device_that_refuses_connections_is_unreachable() -> None:
    asked = ask_network(f"TCPIP0::127.0.0.1::{unused_port()}::SOCKET", timeout_s=1)
    assert asked.state is State.UNREACHABLE
    assert "check that the device is on" in asked.detail


def test_silent_devices_are_waited_for_at_the_same_time_as_others() -> None:
    with Listener(keep_silent) as silent, announced((RAW, silent.port)):
        start = time.monotonic()
        plan = Plan(timeout_s=1.0, backends=(), interfaces=LOOPBACK)
        rows = [each for each in discover(plan).devices if each.resource == silent.resource]
        took_s = time.monotonic() - start
    assert [row.state for row in rows] == [State.SILENT]
    assert took_s < 5.0


# Serial ports


@contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """Make a terminal pair; give the device's end and the path of the host's."""
    device, host = os.openpty()
    tty.setraw(host)
    path = os.ttyname(host)
    os.close(host)
    try:
        yield device, path
    finally:
        os.close(device)


def test_serial_port_that_is_not_named_is_not_opened() -> None:
    plan = Plan(timeout_s=0.5, backends=(), interfaces=LOOPBACK)
    rows = [row for row in discover(plan).devices if row.found_by == ("serial ports",)]
    assert all(row.state is not State.IDENTIFIED for row in rows)
    with terminal() as (_, path):
        row = describe_port(path, "adapter", baud=9600)
    assert row.state is State.NOT_ASKED
    assert row.resource == f"serial://{path}?baud=9600"
    assert row.also == (f"ASRL{path}::INSTR",)
    assert f"--identify-serial {path}" in row.detail


def test_port_that_a_program_has_open_is_busy_and_names_it() -> None:
    with terminal() as (_, path):
        held = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            row = describe_port(path, "", baud=9600)
        finally:
            os.close(held)
    assert row.state is State.BUSY
    assert f"process {os.getpid()}" in row.detail


def test_named_port_with_a_board_behind_is_identified_and_opened_in_packets(tmp_path: Path) -> None:
    with served_line(tmp_path / "line"):
        path = str(tmp_path / "line")
        plan = Plan(timeout_s=1.0, backends=(), interfaces=LOOPBACK, serial_to_ask=(path,))
        (row,) = [each for each in discover(plan).devices if path in each.resource]
    assert row.state is State.IDENTIFIED, row.detail
    assert row.identity == "aimc-hil,mock-chip,lifelike-0,1.0"
    assert row.resource == f"serial://{path}?baud=115200"


def test_named_port_with_a_plain_instrument_is_opened_through_visa() -> None:
    is_over = threading.Event()

    def answer(device: int) -> None:
        heard = b""
        while not heard.endswith(b"*IDN?\n") and not is_over.wait(0.01):
            with suppress(OSError):  # the host's end is not open yet
                heard += os.read(device, 100)
        os.write(device, b"ACME,M1,7,1.0\r\n")

    with terminal() as (device, path):
        thread = threading.Thread(target=answer, args=(device,), daemon=True)
        thread.start()
        plan = Plan(timeout_s=1.0, backends=(), interfaces=LOOPBACK, serial_to_ask=(path,))
        (row,) = [each for each in discover(plan).devices if path in each.resource]
        is_over.set()
        thread.join(5)
    assert (row.state, row.identity) == (State.IDENTIFIED, "ACME,M1,7,1.0")
    assert row.resource == f"ASRL{path}::INSTR"


def test_silent_serial_port_is_shown_as_such_in_time() -> None:
    with terminal() as (_, path):
        start = time.monotonic()
        asked, speaks_packets = ask_serial(path, baud=9600, timeout_s=0.4)
        took_s = time.monotonic() - start
    assert (asked.state, speaks_packets) == (State.SILENT, False)
    assert took_s < 2.0


def test_absent_serial_port_is_unreachable(tmp_path: Path) -> None:
    asked, _ = ask_serial(str(tmp_path / "none"), baud=9600, timeout_s=0.4)
    assert asked.state is State.UNREACHABLE


# VISA libraries

INSTRUMENTS = """\
spec: "1.0"
devices:
  meter:
    eom:
      ASRL INSTR: {q: "\\n", r: "\\n"}
      USB INSTR: {q: "\\n", r: "\\n"}
      GPIB INSTR: {q: "\\n", r: "\\n"}
    error: "NO"
    dialogues:
      - {q: "*IDN?", r: "Somebody,Meter,1,0.1"}
resources:
  ASRL1::INSTR: {device: meter}
  USB0::0x1111::0x2222::0x1::0::INSTR: {device: meter}
  GPIB0::8::INSTR: {device: meter}
"""


def test_devices_of_another_visa_library_are_asked_through_it(tmp_path: Path) -> None:
    pytest.importorskip("pyvisa_sim", reason="pyvisa-sim is not installed")
    path = tmp_path / "instruments.yaml"
    path.write_text(INSTRUMENTS, "utf-8")
    plan = Plan(timeout_s=2.0, backends=(f"{path}@sim",), interfaces=LOOPBACK)
    devices = {device.resource: device for device in discover(plan).devices}
    for resource in ("USB0::0x1111::0x2222::0x1::0::INSTR", "GPIB0::8::INSTR"):
        assert devices[resource].identity == "Somebody,Meter,1,0.1"
    assert devices["ASRL1::INSTR"].state is State.NOT_ASKED


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("import time; time.sleep(60)", Outcome.LATE),
        ("import os; os._exit(7)", Outcome.FAILED),
        ("raise RuntimeError('no licence')", Outcome.FAILED),
    ],
    ids=["hangs", "crashes", "raises"],
)
def test_unruly_visa_library_does_not_stop_the_search(
    body: str, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyvisa_unruly.py").write_text(body, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start = time.monotonic()
    finds = find_visa("@unruly", limit_s=2.0)
    assert finds.search.outcome is outcome
    assert finds.search.detail
    assert time.monotonic() - start < 5.0


# Each once


def test_serial_port_that_two_searches_find_is_one_row() -> None:
    (row,) = merge(
        [
            found("ASRL/dev/ttyUSB0::INSTR", "VISA (@py)"),
            found(
                "serial:///dev/ttyUSB0?baud=115200",
                "serial ports",
                description="FTDI FT232R, USB 0403:6001",
                also=("ASRL/dev/ttyUSB0::INSTR",),
            ),
        ]
    )
    assert row.resource == "serial:///dev/ttyUSB0?baud=115200"
    assert row.also == ("ASRL/dev/ttyUSB0::INSTR",)
    assert row.found_by == ("serial ports", "VISA (@py)")
    assert row.description == "FTDI FT232R, USB 0403:6001"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TCPIP::10.0.0.5::inst0::INSTR", "TCPIP0::10.0.0.5::inst0::INSTR"),
        ("TCPIP0::10.0.0.5::hislip0,4880::INSTR", "TCPIP0::10.0.0.5::hislip0::INSTR"),
        ("USB0::0x0957::0x1755::MY1::INSTR", "usb0::0x0957::0x1755::my1::instr"),
    ],
)
def test_one_device_in_two_spellings_is_one_row(one: str, other: str) -> None:
    assert len(merge([found(one, "VISA (@py)"), found(other, "VISA (@ivi)")])) == 1


def test_port_that_pyvisa_py_guessed_gives_way_to_the_announced_one() -> None:
    rows = merge(
        [
            found("TCPIP::10.0.0.5::hislip0,4880::INSTR", "VISA (@py)"),
            found("TCPIP0::10.0.0.5::hislip0,5880::INSTR", "mDNS"),
        ]
    )
    assert [row.resource for row in rows] == ["TCPIP0::10.0.0.5::hislip0,5880::INSTR"]
