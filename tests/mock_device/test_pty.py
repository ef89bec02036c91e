"""The serial line of the mock, over real pseudo-terminals: text, packets, pauses and hang-ups."""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import pyvisa
import serial

from hil.core.errors import ConfigError, LinkLostError
from hil_drivers.serial_port import SerialTransport, open_serial
from hil_mock_device.conversation import Disconnect, Outgoing, Wait
from hil_mock_device.listeners.pty import PtyListener
from served_line import conversations, served_line

WAIT_S = 10.0
IDENTITY = b"aimc-hil,mock-chip,lifelike-0,1.0\n"


class Scripted:
    """A conversation that answers any bytes with the script, and tells when it is left."""

    is_lost = False

    def __init__(self, script: list[Outgoing], log: list[str] | None = None) -> None:
        self._script = script
        self._log = log if log is not None else []
        self.client = 1

    def answers(self, data: bytes) -> Iterator[Outgoing]:
        self._log.append(data.decode())
        yield from self._script

    def end_message(self) -> Iterator[Outgoing]:
        yield from ()

    def clear(self) -> None:
        self._log.append("clear")

    def leave(self) -> None:
        self._log.append("leave")


def open_plain(path: Path) -> serial.Serial:
    return serial.Serial(str(path), 115_200, timeout=WAIT_S)


def ask(port: serial.Serial, query: bytes) -> bytes:
    port.write(query)
    answer: bytes = port.read_until(b"\n")
    return answer


def receive(transport: SerialTransport, size: int) -> bytes:
    data = bytearray(size)
    have = 0
    while have < size:
        with memoryview(data)[have:] as buffer:
            have += transport.receive_into(buffer, is_whole=False, timeout_s=WAIT_S)
    return bytes(data)


def ask_in_packets(transport: SerialTransport, query: bytes, size: int) -> bytes:
    transport.send(query, timeout_s=WAIT_S)
    return receive(transport, size)


def wait_until_logged(log: list[str], word: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while word not in log:
        assert time.monotonic() < deadline, log
        time.sleep(0.01)


def test_plain_text_is_answered_in_plain_text(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty"), open_plain(tmp_path / "tty") as port:
        assert ask(port, b"*IDN?\n") == IDENTITY
        assert ask(port, b"*OPC?\r\n") == b"1\n"


def test_pyvisa_speaks_to_it_as_to_any_serial_instrument(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty"):
        manager = pyvisa.ResourceManager("@py")
        for termination in ("\n", "\r\n"):
            device = manager.open_resource(
                f"ASRL{tmp_path / 'tty'}::INSTR",
                read_termination="\n",
                write_termination=termination,
                timeout=WAIT_S * 1000,
            )
            assert isinstance(device, pyvisa.resources.SerialInstrument)
            assert device.query("*IDN?") == IDENTITY.decode().strip()
            device.write("CORE:SEL 9")
            assert device.query("SYST:ERR?").startswith("-222,")
            device.close()


def test_clients_in_text_and_in_packets_take_turns(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty") as resource:
        for _ in range(3):
            transport = open_serial(resource, timeout_s=WAIT_S)
            assert ask_in_packets(transport, b"*IDN?\n", len(IDENTITY)) == IDENTITY
            transport.close()
            with open_plain(tmp_path / "tty") as port:
                assert ask(port, b"*IDN?\n") == IDENTITY


def test_packets_begin_anew_in_the_middle_of_a_text(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty") as resource:
        with open_plain(tmp_path / "tty") as port:
            port.write(b"CORE:PROG #3288")
        transport = open_serial(resource, timeout_s=WAIT_S)
        assert ask_in_packets(transport, b"*IDN?\n", len(IDENTITY)) == IDENTITY
        transport.close()


def test_line_that_is_no_message_is_deaf_until_a_pause(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty"), open_plain(tmp_path / "tty") as port:
        assert ask(port, b"#0\n*OPC?\n").startswith(b'@0 !-160,"Block data error')
        port.write(b"*OPC?\n")
        time.sleep(0.3)
        assert port.in_waiting == 0
        assert ask(port, b"*IDN?\n") == IDENTITY


def test_conversation_is_left_when_the_client_goes(tmp_path: Path) -> None:
    log: list[str] = []
    with served_line(tmp_path / "tty", make_conversation=lambda: Scripted([b"yes\n"], log)) as line:
        with open_plain(tmp_path / "tty") as port:
            assert ask(port, b"plain\n") == b"yes\n"
        wait_until_logged(log, "leave")
        log.clear()
        transport = open_serial(line, timeout_s=WAIT_S)
        assert ask_in_packets(transport, b"packets\n", 4) == b"yes\n"
        transport.clear(timeout_s=WAIT_S)
        wait_until_logged(log, "leave")
        transport.close()
    assert log == ["packets\n", "leave", "leave"]


def test_lock_of_a_conversation_is_free_as_soon_as_the_next_one_begins(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty") as resource:
        transport = open_serial(resource, timeout_s=WAIT_S)
        for _ in range(20):
            assert ask_in_packets(transport, b"SYST:LOCK:REQ?\n", 2) == b"1\n"
            transport.clear(timeout_s=WAIT_S)
        transport.close()


@pytest.mark.parametrize("is_packets", [False, True])
def test_pause_is_kept(tmp_path: Path, is_packets: bool) -> None:
    script: list[Outgoing] = [b"a", Wait(0.3), b"b\n"]
    with served_line(tmp_path / "tty", make_conversation=lambda: Scripted(script)) as resource:
        start = time.monotonic()
        if is_packets:
            transport = open_serial(resource, timeout_s=WAIT_S)
            assert ask_in_packets(transport, b"?\n", 3) == b"ab\n"
            transport.close()
        else:
            with open_plain(tmp_path / "tty") as port:
                assert ask(port, b"?\n") == b"ab\n"
        assert 0.3 <= time.monotonic() - start < 3


def test_hang_up_loses_the_line_which_comes_back_under_the_same_path(tmp_path: Path) -> None:
    turns = count()

    def make() -> Scripted:
        return Scripted([b"half an an", Disconnect()] if next(turns) == 0 else [b"whole\n"])

    with served_line(tmp_path / "tty", make_conversation=make) as resource:
        transport = open_serial(resource, timeout_s=WAIT_S)
        assert ask_in_packets(transport, b"?\n", 10) == b"half an an"
        with pytest.raises(LinkLostError, match=r"hung up|link is lost"):
            receive(transport, 1)
        transport.clear(timeout_s=WAIT_S)
        assert ask_in_packets(transport, b"?\n", 6) == b"whole\n"
        transport.close()


def test_hang_up_in_plain_text_comes_behind_what_was_sent(tmp_path: Path) -> None:
    script: list[Outgoing] = [b"half an an", Disconnect(), b"swer\n"]
    with (
        served_line(tmp_path / "tty", make_conversation=lambda: Scripted(script)),
        open_plain(tmp_path / "tty") as port,
    ):
        port.write(b"?\n")
        assert port.read(10) == b"half an an"
        with pytest.raises(serial.SerialException):
            port.read(1)


@pytest.mark.parametrize("is_packets", [False, True])
def test_bytes_come_at_the_baud_rate(tmp_path: Path, is_packets: bool) -> None:
    answer = bytes(range(65, 91)) * 200 + b"\n"  # 5,201 bytes: 0.452 s at 11,520 bytes a second
    with served_line(
        tmp_path / "tty", baud=115_200, make_conversation=lambda: Scripted([answer])
    ) as resource:
        assert resource.endswith("tty?baud=115200")
        if is_packets:
            transport = open_serial(resource, timeout_s=WAIT_S)
            start = time.monotonic()
            assert ask_in_packets(transport, b"?\n", len(answer)) == answer
            seconds = time.monotonic() - start
            transport.close()
        else:
            with open_plain(tmp_path / "tty") as port:
                start = time.monotonic()
                assert ask(port, b"?\n") == answer
                seconds = time.monotonic() - start
    assert 0.452 <= seconds < 1.5


def test_listener_takes_its_link_away_and_replaces_a_stale_one(tmp_path: Path) -> None:
    (tmp_path / "tty").symlink_to("/dev/pts/does-not-exist")
    with served_line(tmp_path / "tty"):
        assert (tmp_path / "tty").is_char_device()
    assert not (tmp_path / "tty").is_symlink()


def test_link_of_a_listener_at_work_is_not_taken_over(tmp_path: Path) -> None:
    with served_line(tmp_path / "tty"):
        terminal = (tmp_path / "tty").readlink()
        with pytest.raises(ConfigError, match=f"leads to {terminal}, which is in use"):
            asyncio.run(PtyListener(tmp_path / "tty").start(conversations()))
        assert (tmp_path / "tty").readlink() == terminal
        with open_plain(tmp_path / "tty") as port:
            assert ask(port, b"*IDN?\n") == IDENTITY


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text(""), "exists already"),
        (lambda path: path.symlink_to("notes"), "is a link to something else than a terminal"),
    ],
)
def test_listener_spares_what_is_no_terminal(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "tty")
    with pytest.raises(ConfigError, match=message):
        asyncio.run(PtyListener(tmp_path / "tty").start(conversations()))
    with pytest.raises(ConfigError, match="cannot be made: No such file or directory"):
        asyncio.run(PtyListener(tmp_path / "no" / "tty").start(conversations()))
