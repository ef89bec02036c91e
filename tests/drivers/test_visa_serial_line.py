"""VISA on a serial line: what a slow device still says after a clear is not taken for an answer."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil.core.errors import TransportTimeoutError
from hil_drivers.visa import VisaTransport
from served_line import served_line

WAIT_S = 10.0
IDENTITY = b"aimc-hil,mock-chip,lifelike-0,1.0\n"


@contextmanager
def slow_line(folder: Path) -> Iterator[VisaTransport]:
    """Open a line of 9600 baud, whose device does not notice that the port is opened again."""
    path = folder / "tty"
    with served_line(path, baud=9600):
        holder = os.open(path, os.O_RDWR | os.O_NOCTTY)
        line = VisaTransport(f"ASRL{path}::INSTR", timeout_s=WAIT_S)
        try:
            yield line
        finally:
            line.close()
            os.close(holder)


def receive(line: VisaTransport, size: int) -> bytes:
    buffer = bytearray(size)
    count = line.receive_into(memoryview(buffer), is_whole=False, timeout_s=WAIT_S)
    return bytes(buffer[:count])


def ask_at_length(line: VisaTransport) -> None:
    """Ask for 1,360 bytes, 1.4 s at 9600 baud; hear the first of them."""
    line.send(b"*IDN?\n" * 40, timeout_s=WAIT_S)
    assert receive(line, 100) == IDENTITY


def test_rest_of_a_long_answer_is_waited_for(tmp_path: Path) -> None:
    with slow_line(tmp_path) as line:
        ask_at_length(line)
        line.clear(timeout_s=WAIT_S)
        line.send(b"*OPC?\n", timeout_s=WAIT_S)
        assert receive(line, 100) == b"1\n"


def test_line_that_is_not_quiet_in_time_is_a_timeout_until_it_is(tmp_path: Path) -> None:
    with slow_line(tmp_path) as line:
        ask_at_length(line)
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError, match="has not stopped talking in time"):
            line.clear(timeout_s=0.3)
        assert time.monotonic() - start < 1
        line.clear(timeout_s=WAIT_S)
        line.send(b"*OPC?\n", timeout_s=WAIT_S)
        assert receive(line, 100) == b"1\n"


def test_quiet_line_is_cleared_at_once(tmp_path: Path) -> None:
    with slow_line(tmp_path) as line:
        start = time.monotonic()
        line.clear(timeout_s=WAIT_S)
        assert time.monotonic() - start < 1
