"""Our VISA transport and handshake against an instrument simulated by pyvisa-sim."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.core.errors import FrameError, TransportTimeoutError
from hil_drivers.connect import board_over
from hil_drivers.visa import VisaTransport

pytest.importorskip("pyvisa_sim", reason="pyvisa-sim is not installed")

INSTRUMENTS = """\
spec: "1.0"
devices:
  meter:
    eom:
      ASRL INSTR: {q: "\\n", r: "\\n"}
      USB INSTR: {q: "\\n", r: "\\n"}
      TCPIP INSTR: {q: "\\n", r: "\\n"}
      GPIB INSTR: {q: "\\n", r: "\\n"}
    error: "NO"
    dialogues:
      - {q: "*IDN?", r: "Somebody,Meter,1,0.1"}
      - {q: "*RST"}
resources:
  ASRL1::INSTR: {device: meter}
  USB0::0x1111::0x2222::0x1::INSTR: {device: meter}
  TCPIP0::localhost::inst0::INSTR: {device: meter}
  GPIB0::8::INSTR: {device: meter}
"""
RESOURCES = [
    "ASRL1::INSTR",
    "USB0::0x1111::0x2222::0x1::INSTR",
    "TCPIP0::localhost::inst0::INSTR",
    "GPIB0::8::INSTR",
]


@pytest.fixture(params=RESOURCES, ids=lambda resource: resource.split("::")[0])
def meter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VisaTransport]:
    path = tmp_path / "instruments.yaml"
    path.write_text(INSTRUMENTS, "utf-8")
    transport = VisaTransport(request.param, timeout_s=5, backend=f"{path}@sim")
    yield transport
    transport.close()


def line(transport: VisaTransport) -> bytes:
    heard = bytearray(100)
    have = 0
    while not heard[:have].endswith(b"\n"):
        with memoryview(heard)[have:] as buffer:
            have += transport.receive_into(buffer, is_whole=False, timeout_s=5)
    return bytes(heard[:have])


def test_strange_instrument_is_heard_through_the_transport(meter: VisaTransport) -> None:
    meter.send(b"*IDN?\n", timeout_s=5)
    assert line(meter) == b"Somebody,Meter,1,0.1\n"


def test_strange_instrument_that_is_silent_is_a_timeout(meter: VisaTransport) -> None:
    meter.send(b"*RST\n", timeout_s=5)
    with memoryview(bytearray(10)) as buffer, pytest.raises(TransportTimeoutError):
        meter.receive_into(buffer, is_whole=False, timeout_s=0.1)


def test_strange_instrument_is_no_board_and_the_message_says_so(meter: VisaTransport) -> None:
    with pytest.raises(FrameError, match=r"answered 'NO' .*does not speak this protocol"):
        board_over(meter, timeout_s=5)
