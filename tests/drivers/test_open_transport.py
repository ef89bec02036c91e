"""Resource strings: which are none, and who carries which."""

import gc
import re
import socket
import warnings

import pytest
import pyvisa
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import TransportError
from hil_drivers.open_transport import TransportChoice, is_resource, open_transport
from hil_drivers.tcp import TcpTransport
from hil_drivers.visa import VisaTransport
from unruly_listener import Listener, hang_up


@pytest.mark.parametrize(
    "resource",
    [
        "TCPIP0::127.0.0.1::5025::SOCKET",
        "TCPIP::board.lab::5025::SOCKET",
        "tcpip3::board::1::socket",
        "TCPIP0::[::1]::5025::SOCKET",
        "TCPIP0::board::INSTR",
        "TCPIP0::board::hislip0::INSTR",
        "ASRL/dev/ttyUSB0::INSTR",
        "ASRL3::INSTR",
        "USB0::0x1234::0x5678::SN1::INSTR",
        "GPIB0::12::INSTR",
        "USB0::1::2::3::RAW",
    ],
)
def test_visa_resource_string_is_a_resource(resource: str) -> None:
    assert is_resource(resource)


NO_RESOURCES = [
    "",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "/dev/",
    "TCPIP0",
    "TCPIP0::127.0.0.1::5025",
    "TCPIP0::127.0.0.1::5025::SOCKET ",
    "TCPIP0::127.0.0.1::5025::SOCKET\n",
    "TCPIP0::127.0.0.1::http::SOCKET",
    "TCPIP0::127.0.0.1::-1::SOCKET",
    "USB0::1::2::SOCKET",
    "mock://quickstart",
    "::SOCKET",
]


@pytest.mark.parametrize("resource", NO_RESOURCES)
def test_other_string_is_refused_with_the_forms(resource: str) -> None:
    assert not is_resource(resource)
    with pytest.raises(TransportError, match=r"is no (resource|raw socket): .*TCPIP0::HOST"):
        open_transport(resource, timeout_s=1)


@pytest.mark.parametrize(
    ("resource", "meant"),
    [
        ("127.0.0.1:5025", "TCPIP0::127.0.0.1::5025::SOCKET"),
        ("tcp://127.0.0.1:5025", "TCPIP0::127.0.0.1::5025::SOCKET"),
        ("board.lab:5025", "TCPIP0::board.lab::5025::SOCKET"),
        ("tcp://[::1]:5025", "TCPIP0::[::1]::5025::SOCKET"),
        ("/dev/ttyUSB0", "serial:///dev/ttyUSB0"),
    ],
)
def test_address_as_written_elsewhere_is_refused_with_the_resource_meant(
    resource: str, meant: str
) -> None:
    assert is_resource(meant)
    with pytest.raises(TransportError, match=f"did you mean {re.escape(meant)}\\?$"):
        open_transport(resource, timeout_s=1)


@pytest.mark.parametrize(
    ("below", "message"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "refused, nobody listens there$"),
        (socket.gaierror(-2, "Name or service not known"), "unknown host: Name or service not"),
        (RuntimeError("else"), "VI_ERROR_RSRC_NFOUND"),
    ],
)
def test_reason_that_pyvisa_hides_is_told(
    below: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        try:
            raise below  # noqa: TRY301 - chained as pyvisa-py chains it
        except Exception as error:
            raise pyvisa.VisaIOError(
                pyvisa.constants.StatusCode.error_resource_not_found
            ) from error

    monkeypatch.setattr(pyvisa.ResourceManager, "open_resource", fail)
    with pytest.raises(TransportError, match=message):
        open_transport("TCPIP0::127.0.0.1::hislip0,4880::INSTR", timeout_s=1)


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_random_string_is_no_resource(resource: str) -> None:
    with pytest.raises(TransportError, match="is no resource"):
        open_transport(resource, timeout_s=1)


@pytest.mark.parametrize("port", ["0", "65536", "99999999"])
def test_impossible_port_is_refused(port: str) -> None:
    with pytest.raises(TransportError, match=f"::{port}::.*port 1 to 65535"):
        open_transport(f"TCPIP0::127.0.0.1::{port}::SOCKET", timeout_s=1)


@pytest.mark.parametrize("host", ["..", "a" * 64 + ".lab", "[::ffff:zz]"], ids=len)
def test_impossible_host_is_refused(host: str) -> None:
    with pytest.raises(TransportError, match="cannot connect"):
        open_transport(f"TCPIP0::{host}::5025::SOCKET", timeout_s=1)


def test_impossible_host_is_refused_through_visa() -> None:
    with warnings.catch_warnings():
        # pyvisa-py leaves the socket that it could not connect to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(TransportError, match="cannot be opened through pyvisa"):
            open_transport("TCPIP0::..::5025::SOCKET", timeout_s=1, choice=TransportChoice.VISA)
        gc.collect()


@pytest.mark.parametrize("resource", ["ASRL/dev/ttyUSB0::INSTR", "TCPIP0::board::INSTR"])
def test_raw_socket_cannot_carry_another_resource(resource: str) -> None:
    with pytest.raises(TransportError, match="is no raw socket"):
        open_transport(resource, timeout_s=1, choice=TransportChoice.TCP)


def test_missing_serial_port_is_a_transport_error() -> None:
    with pytest.raises(TransportError, match="cannot be opened through pyvisa"):
        open_transport("ASRL/dev/no_such_port::INSTR", timeout_s=1)


def test_missing_gpib_library_is_a_transport_error() -> None:
    with pytest.raises(TransportError, match="cannot be opened through pyvisa"):
        open_transport("GPIB0::12::INSTR", timeout_s=1)


@pytest.mark.parametrize(
    ("choice", "carrier"),
    [
        (TransportChoice.AUTO, TcpTransport),
        (TransportChoice.TCP, TcpTransport),
        (TransportChoice.VISA, VisaTransport),
    ],
)
def test_choice_says_who_carries_a_socket(choice: TransportChoice, carrier: type) -> None:
    with Listener(hang_up) as listener:
        transport = open_transport(listener.resource, timeout_s=5, choice=choice)
        assert isinstance(transport, carrier)
        assert transport.resource == listener.resource
        transport.close()


@pytest.mark.parametrize("choice", [TransportChoice.TCP, TransportChoice.VISA])
def test_serial_line_with_packets_is_carried_by_no_other_transport(choice: TransportChoice) -> None:
    with pytest.raises(TransportError, match=r"leave transport out.*name it ASRL"):
        open_transport("serial:///dev/ttyUSB0", timeout_s=1.0, choice=choice)


def test_serial_device_that_is_absent_is_named() -> None:
    assert is_resource("serial:///dev/no-such-port?baud=9600")
    with pytest.raises(TransportError, match="/dev/no-such-port"):
        open_transport("serial:///dev/no-such-port?baud=9600", timeout_s=1.0)
