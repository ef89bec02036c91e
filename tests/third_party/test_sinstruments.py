"""Our TCP transport and handshake against an instrument served by sinstruments."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.core.errors import FrameError
from hil_drivers.connect import connect_chip
from hil_drivers.open_transport import open_transport

SERVER = Path(sys.executable).with_name("sinstruments-server")
pytestmark = pytest.mark.skipif(not SERVER.exists(), reason="sinstruments is not installed")

WAIT_S = 30.0
METER = """\
from sinstruments.simulator import BaseDevice

class Meter(BaseDevice):
    def handle_message(self, line):
        if line.strip() == b"*IDN?":
            return b"Somebody,Meter,1,0.1\\n"
        return b"NO\\n" if line.strip().endswith(b"?") else None
"""
CONFIGURATION = """\
devices:
  - name: meter
    class: Meter
    package: meter
    transports:
      - type: tcp
        url: 127.0.0.1:{port}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the meter; return its resource string."""
    port = free_port()
    folder = tmp_path_factory.mktemp("sinstruments")
    (folder / "meter.py").write_text(METER, "utf-8")
    (folder / "devices.yml").write_text(CONFIGURATION.format(port=port), "utf-8")
    server = subprocess.Popen(
        [str(SERVER), "-c", "devices.yml"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            assert server.poll() is None, "sinstruments-server has ended"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "sinstruments-server does not listen"
                time.sleep(0.05)
        yield f"TCPIP0::127.0.0.1::{port}::SOCKET"
    finally:
        server.kill()
        server.wait()


def test_strange_instrument_is_heard_through_the_transport(meter: str) -> None:
    transport = open_transport(meter, timeout_s=5)
    transport.send(b"*IDN?\n", timeout_s=5)
    heard = b""
    while not heard.endswith(b"\n"):
        with memoryview(bytearray(100)) as buffer:
            count = transport.receive_into(buffer, is_whole=False, timeout_s=5)
            heard += bytes(buffer[:count])
    assert heard == b"Somebody,Meter,1,0.1\n"
    transport.close()


def test_strange_instrument_is_no_board_and_the_message_says_so(meter: str) -> None:
    with pytest.raises(FrameError, match=r"answered 'NO' .*does not speak this protocol"):
        connect_chip(meter, timeout_s=5)
