"""The serial transport: addresses, ports that cannot be opened, lines that are bad or go away."""

import errno
import os
import select
import time
from pathlib import Path

import numpy as np
import pytest
import serial

from hil.core.errors import LinkLostError, TransportError, TransportTimeoutError
from hil.core.readout import ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over
from hil_drivers.serial_address import SerialAddress, is_serial
from hil_drivers.serial_port import SerialTransport, open_serial
from lossy_line import KINDS, lossy_line
from served_line import served_line

WAIT_S = 10.0
IDENTITY = b"aimc-hil,mock-chip,lifelike-0,1.0\n"


def receive(transport: SerialTransport, size: int) -> bytes:
    data = bytearray(size)
    have = 0
    while have < size:
        with memoryview(data)[have:] as buffer:
            have += transport.receive_into(buffer, is_whole=False, timeout_s=WAIT_S)
    return bytes(data)


def open_lossy(path: Path) -> SerialTransport:
    """Open at 3 Mbaud: what the line may take is small against the patience."""
    address = SerialAddress(str(path), 3_000_000)
    return SerialTransport(address, resource=address.resource, timeout_s=WAIT_S, resend_s=0.02)


@pytest.mark.parametrize(
    ("resource", "address"),
    [
        ("serial:///dev/ttyUSB0", SerialAddress("/dev/ttyUSB0", 115_200)),
        ("serial:///dev/ttyACM1?baud=3000000", SerialAddress("/dev/ttyACM1", 3_000_000)),
        ("serial:///dev/a%3Fb?baud=300", SerialAddress("/dev/a?b", 300)),
    ],
)
def test_address_is_read(resource: str, address: SerialAddress) -> None:
    assert is_serial(resource)
    assert SerialAddress.parse(resource) == address


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("serial://ttyUSB0", "the path 'ttyUSB0' must be that of a device file, from the root"),
        ("serial:///dev/", "must be that of a device file"),
        ("serial:///dev/x?parity=even", "unknown option 'parity': there is only baud"),
        ("serial:///dev/x?baud=115200&x", "unknown option 'x'"),
        ("serial:///dev/x?baud=", "baud= must be a number of 300 to 12000000"),
        ("serial:///dev/x?baud=299", "baud=299 must be a number of 300 to 12000000"),
        ("serial:///dev/x?baud=12000001", "baud=12000001 must be"),
        ("serial:///dev/x?baud=fast", "baud=fast must be"),
        ("tcp://x", "is no serial resource: use serial:///dev/ttyUSB0"),
    ],
)
def test_address_that_is_wrong_is_explained(resource: str, message: str) -> None:
    with pytest.raises(TransportError) as caught:
        SerialAddress.parse(resource)
    assert message in str(caught.value)


def test_port_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"there is no .*; is the adapter plugged in"):
        open_serial(f"serial://{tmp_path}/tty", timeout_s=1)


def test_file_that_is_no_port_is_explained(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("")
    with pytest.raises(TransportError, match="notes is no serial port"):
        open_serial(f"serial://{tmp_path}/notes", timeout_s=1)


def test_port_without_permission_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:  # whoever runs the tests as root may open all
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(TransportError, match=r"no permission to open /dev/x; .*dialout"):
        open_serial("serial:///dev/x", timeout_s=1)


def test_port_in_use_is_explained(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty") as resource:
        first = open_serial(resource, timeout_s=WAIT_S)
        with pytest.raises(TransportError, match="is in use by another program"):
            open_serial(resource, timeout_s=1)
        first.close()


def test_device_without_packets_is_explained() -> None:
    master, slave = os.openpty()
    path = os.ttyname(slave)
    start = time.monotonic()
    with pytest.raises(TransportTimeoutError, match=f"plain SCPI is opened as ASRL{path}::INSTR"):
        open_serial(f"serial://{path}", timeout_s=0.3)
    assert time.monotonic() - start < 2
    os.close(master)
    os.close(slave)


def test_request_is_answered_over_the_line(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty") as resource:
        transport = open_serial(resource, timeout_s=WAIT_S)
        transport.send(b"*IDN?\n", timeout_s=WAIT_S)
        assert receive(transport, len(IDENTITY)) == IDENTITY
        assert transport.faults == {}
        transport.close()
        with pytest.raises(LinkLostError):
            transport.send(b"*IDN?\n", timeout_s=1)
        with pytest.raises(LinkLostError):
            transport.clear(timeout_s=1)


def test_after_clear_no_old_answer_and_no_half_request_is_left(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty") as resource:
        transport = open_serial(resource, timeout_s=WAIT_S)
        transport.send(b"@1 *OPC?\n@2 *ID", timeout_s=WAIT_S)
        transport.clear(timeout_s=WAIT_S)
        transport.send(b"@3 *IDN?\n", timeout_s=WAIT_S)
        assert receive(transport, 3 + len(IDENTITY)) == b"@3 " + IDENTITY
        transport.close()


def test_device_that_ends_the_conversation_is_a_lost_link_until_clear(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty") as resource:
        transport = open_serial(resource, timeout_s=WAIT_S)
        transport.send(b"#0\n", timeout_s=WAIT_S)
        assert receive(transport, 30).startswith(b'@0 !-160,"Block data error')
        with pytest.raises(LinkLostError, match="the device ended the conversation"):
            receive(transport, 1000)
        transport.clear(timeout_s=WAIT_S)
        transport.send(b"*IDN?\n", timeout_s=WAIT_S)
        assert receive(transport, len(IDENTITY)) == IDENTITY
        transport.close()


def test_line_that_went_away_is_opened_again_once_it_is_back(tmp_path: Path) -> None:
    with served_line(tmp_path / "one") as first, served_line(tmp_path / "two"):
        (tmp_path / "tty").symlink_to((tmp_path / "one").readlink())
        transport = open_serial(first.replace("one", "tty"), timeout_s=WAIT_S)
        (tmp_path / "tty").unlink()
        (tmp_path / "tty").symlink_to((tmp_path / "two").readlink())
    # Both are gone now, as if the cable had been pulled.
    with pytest.raises(LinkLostError):
        receive(transport, 1)
    with pytest.raises(TransportError, match="there is no"):
        transport.clear(timeout_s=0.2)
    with served_line(tmp_path / "two"):
        (tmp_path / "tty").unlink()
        (tmp_path / "tty").symlink_to((tmp_path / "two").readlink())
        transport.clear(timeout_s=WAIT_S)
        transport.send(b"*IDN?\n", timeout_s=WAIT_S)
        assert receive(transport, len(IDENTITY)) == IDENTITY
    transport.close()


def test_silence_is_a_timeout_and_no_byte_is_lost(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty") as resource:
        transport = open_serial(resource, timeout_s=WAIT_S)
        transport.send(b"*ID", timeout_s=WAIT_S)
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError), memoryview(bytearray(9)) as buffer:
            transport.receive_into(buffer, is_whole=False, timeout_s=0.1)
        assert 0.1 <= time.monotonic() - start < 2
        transport.send(b"N?\n", timeout_s=WAIT_S)
        assert receive(transport, len(IDENTITY)) == IDENTITY
        transport.close()


def run_requests(board: AimcBoard, count: int) -> list[bytes]:
    """Measure again and again; return all counts, in order."""
    geometry = board.geometry()
    weights = np.resize(np.arange(-127, 128, dtype=np.int8), (geometry.rows, geometry.columns))
    board.program(0, weights)
    inputs = np.resize(np.arange(-127, 128, dtype=np.int8), (40, geometry.rows))
    return [
        board.read_counts(0, ReadMode.ONE_PHASE, np.roll(inputs, turn, axis=0)).tobytes()
        for turn in range(count)
    ]


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_campaign_over_a_bad_line_measures_what_a_good_line_does(tmp_path: Path, kind: str) -> None:
    with served_line(tmp_path / "good"):
        good = board_over(open_lossy(tmp_path / "good"), WAIT_S)
        expected = run_requests(good, 20)
        good.close()
    kinds = KINDS if kind == "all" else (kind,)
    with (
        served_line(tmp_path / "bad"),
        lossy_line(tmp_path / "bad", seed=len(kind), chance=0.03, kinds=kinds) as line,
    ):
        transport = open_lossy(line.path)
        bad = board_over(transport, WAIT_S)
        assert run_requests(bad, 20) == expected
        bad.close()
    assert line.spoilt.total() > 5
    assert sum(transport.faults.values()) > 0


@pytest.mark.parametrize("added", [0, 1], ids=["garbage", "dripping"])
def test_line_that_is_always_readable_does_not_outlast_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: int
) -> None:
    with served_line(tmp_path / "tty") as resource:
        transport = open_serial(resource, timeout_s=WAIT_S)
        waiting = [1]

        def read() -> None:
            assert len(waiting) < 1000, "it goes on reading"
            waiting.append(added)
            time.sleep(0.001)

        monkeypatch.setattr(transport, "_poll", lambda _: select.POLLIN)
        monkeypatch.setattr(transport, "_read", read)
        monkeypatch.setattr(transport._end, "take_into", lambda _: waiting[-1])
        start = time.monotonic()
        with memoryview(bytearray(1 << 20)) as buffer:
            assert transport.receive_into(buffer, is_whole=False, timeout_s=0.2) >= 1
        assert time.monotonic() - start < 1
        monkeypatch.undo()
        transport.close()
