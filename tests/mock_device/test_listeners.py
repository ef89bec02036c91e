"""What a listener does with what a conversation yields, and with the end of either side."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pyvisa

from faulty_device import device
from hil.core.errors import ConfigError
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.conversation import Disconnect, Outgoing, Piece, Wait
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.choice import choose_listeners
from hil_mock_device.listeners.hislip import HislipListener
from hil_mock_device.listeners.listener import Listener
from hil_mock_device.listeners.pty import PtyListener
from hil_mock_device.listeners.tcp import TcpListener
from hislip_client import RawChannel, RawClient
from small_profiles import ideal_profile

ANYWHERE = TcpAddress("127.0.0.1", 0)
WAIT_S = 10.0

Result = TypeVar("Result")


class Scripted:
    """A conversation that yields the same to whatever comes."""

    def __init__(self, *script: Outgoing) -> None:
        self._script = script
        self.is_lost = False
        self.client = 7
        self.has_left = asyncio.Event()
        self.done = 0

    def answers(self, data: bytes) -> Iterator[Outgoing]:
        for item in self._script:
            yield item
            self.done += 1

    def end_message(self) -> Iterator[Outgoing]:
        yield b""

    def clear(self) -> None:
        self.done = -1

    def leave(self) -> None:
        self.has_left.set()


def new_firmware() -> Firmware:
    return Firmware(ChipModel(ideal_profile()))


def port_of(resource: str) -> int:
    words = resource.split("::")
    return int(words[2].removeprefix("hislip0,"))


def served(listener: Listener, conversation: Scripted, client: Callable[[int], Result]) -> Result:
    """Serve, run `client` in a thread with the port, and close."""

    async def serve() -> Result:
        port = port_of(await listener.start(lambda: conversation))
        try:
            heard = await asyncio.wait_for(asyncio.to_thread(client, port), WAIT_S)
            await asyncio.wait_for(conversation.has_left.wait(), WAIT_S)
        finally:
            await listener.close()
        return heard

    return asyncio.run(serve())


def hear_all(port: int) -> tuple[bytes, float]:
    """Send a byte; return what comes until the end, and how long that took."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as client:
        client.sendall(b"?")
        heard = b"".join(iter(lambda: client.recv(100), b""))
    return heard, time.monotonic() - start


def test_tcp_client_gets_the_bytes_before_it_is_cut_off_and_none_after() -> None:
    conversation = Scripted(b"half an ans", Disconnect(), b"wer")
    assert served(TcpListener(ANYWHERE), conversation, hear_all)[0] == b"half an ans"
    assert conversation.done == 1


def test_tcp_client_waits_where_the_conversation_does() -> None:
    conversation = Scripted(b"a", Wait(0.2), b"b", Disconnect())
    heard, seconds = served(TcpListener(ANYWHERE), conversation, hear_all)
    assert heard == b"ab"
    assert seconds >= 0.2


def test_hislip_client_gets_the_messages_before_it_is_cut_off_and_none_after() -> None:
    conversation = Scripted(b"whole", Wait(0.1), Disconnect(), b"never")

    def client(port: int) -> tuple[bytes, bool]:
        with RawClient(port) as raw:
            return raw.query(b"?", 2), raw.sync.is_closed()

    listener = HislipListener(ANYWHERE, new_firmware())
    assert served(listener, conversation, client) == (b"whole", True)
    assert conversation.done == 2


def test_hislip_answer_in_pieces_is_one_message_and_the_next_answer_another() -> None:
    pieces = (Piece(b"#15a\n"), Wait(0.05), Piece(b"b"), b"cd\n")

    def client(port: int) -> list[tuple[int, bytes]]:
        with RawClient(port) as raw:
            raw.sync.send(7, 1, 2, b"?")
            return [(heard.kind, heard.payload) for heard in (raw.sync.hear() for _ in range(4))]

    listener = HislipListener(ANYWHERE, new_firmware())
    heard = served(listener, Scripted(*pieces, b"next\n"), client)
    assert heard == [(6, b"#15a\n"), (6, b"b"), (7, b"cd\n"), (7, b"next\n")]


@pytest.mark.parametrize(("script", "last"), [((), 7), ((Disconnect(),), None)])
def test_hislip_answer_whose_rest_is_lost_ends_with_its_request_or_is_cut(
    script: tuple[Outgoing, ...], last: int | None
) -> None:
    def client(port: int) -> tuple[int, int | None]:
        with RawClient(port) as raw:
            first = raw.sync.ask(7, 1, 2, b"?").kind
            return first, None if last is None and raw.sync.is_closed() else raw.sync.hear().kind

    listener = HislipListener(ANYWHERE, new_firmware())
    assert served(listener, Scripted(Piece(b"half an ans"), *script), client) == (6, last)


@pytest.mark.parametrize(
    "rule",
    [
        "kind=bandwidth,every=1,bytes_per_s=1000",
        "kind=stall,every=1,byte=20,seconds=0.2",
    ],
    ids=["slow", "stalling"],
)
def test_slow_hislip_answer_is_one_message_to_pyvisa(rule: str) -> None:
    faulty = device(rule)

    async def serve() -> str:
        listener = HislipListener(ANYWHERE, faulty.firmware)
        resource = await listener.start(faulty.converse)
        try:
            return await asyncio.wait_for(asyncio.to_thread(ask, resource), WAIT_S)
        finally:
            await listener.close()

    def ask(resource: str) -> str:
        opened: Any = pyvisa.ResourceManager("@py").open_resource(resource, timeout=WAIT_S * 1000)
        try:
            return str(opened.query("*IDN?"))
        finally:
            opened.close()

    assert asyncio.run(serve()) == "aimc-hil,mock-chip,ideal-0,1.0\n"


@pytest.mark.parametrize("kind", ["tcp", "hislip", "pty"])
def test_listener_that_is_started_again_is_at_the_same_address(kind: str, tmp_path: Path) -> None:
    listeners: dict[str, Callable[[], Listener]] = {
        "tcp": lambda: TcpListener(ANYWHERE),
        "hislip": lambda: HislipListener(ANYWHERE, new_firmware()),
        "pty": lambda: PtyListener(tmp_path / "tty"),
    }
    listener = listeners[kind]()

    async def start_twice() -> set[str]:
        resources = set()
        for _ in range(2):
            resources.add(await listener.start(Scripted))
            await listener.close()
        return resources

    assert len(asyncio.run(start_twice())) == 1


@pytest.mark.parametrize("kind", ["tcp", "hislip"])
def test_bytes_before_a_cut_arrive_however_slowly_they_are_read(kind: str) -> None:
    conversation = Scripted(bytes(3_000_000), Disconnect())

    def client(port: int) -> int:
        if kind == "tcp":
            return len(hear_all(port)[0])
        with RawClient(port) as raw:
            raw.sync.send(7, 1, 2, b"?")
            time.sleep(0.1)
            return sum(len(raw.sync.hear().payload) for _ in range(3))

    listener: Listener = (
        TcpListener(ANYWHERE) if kind == "tcp" else HislipListener(ANYWHERE, new_firmware())
    )
    assert served(listener, conversation, client) == 3_000_000


def test_hislip_device_clear_ends_a_wait() -> None:
    conversation = Scripted(Wait(3600.0), b"late")

    def client(port: int) -> tuple[int, int]:
        with RawClient(port) as raw:
            raw.sync.send(7, 1, 2, b"?")
            assert raw.sync.hears_nothing()
            return raw.asynch.ask(19).kind, raw.sync.ask(8).kind

    listener = HislipListener(ANYWHERE, new_firmware())
    assert served(listener, conversation, client) == (23, 9)
    assert conversation.done == -1


def test_hislip_status_is_told_while_the_instrument_is_busy() -> None:
    def client(port: int) -> int:
        with RawClient(port) as raw:
            raw.sync.send(7, 1, 2, b"?")
            assert raw.sync.hears_nothing()
            return raw.asynch.ask(21).kind

    listener = HislipListener(ANYWHERE, new_firmware())
    assert served(listener, Scripted(Wait(3600.0)), client) == 22


@pytest.mark.parametrize("kind", ["tcp", "hislip"])
def test_listener_closes_while_a_client_waits(kind: str) -> None:
    conversation = Scripted(Wait(3600.0))
    listener: Listener = (
        TcpListener(ANYWHERE) if kind == "tcp" else HislipListener(ANYWHERE, new_firmware())
    )

    async def close_in_the_middle() -> None:
        port = port_of(await listener.start(lambda: conversation))
        raw: RawClient | RawChannel
        if kind == "hislip":
            raw = await asyncio.to_thread(RawClient, port)
            raw.sync.send(7, 1, 2, b"?")
        else:
            raw = await asyncio.to_thread(RawChannel, port)
            raw.send_raw(b"?")
        await asyncio.sleep(0.05)
        await listener.close()
        assert conversation.has_left.is_set()
        raw.close()

    asyncio.run(asyncio.wait_for(close_in_the_middle(), WAIT_S))


def test_listener_that_was_never_started_closes_and_can_be_started_then() -> None:
    async def close_and_start(listener: Listener) -> str:
        await listener.close()
        resource = await listener.start(Scripted)
        await listener.close()
        return resource

    assert asyncio.run(close_and_start(TcpListener(ANYWHERE))).endswith("::SOCKET")
    hislip = asyncio.run(close_and_start(HislipListener(ANYWHERE, new_firmware())))
    assert "::hislip0," in hislip


# --- which listeners -----------------------------------------------------------------------------


def kinds(**options: str) -> list[str]:
    listeners = choose_listeners(new_firmware(), default=ANYWHERE, **options)  # type: ignore[arg-type]
    return [type(listener).__name__ for listener in listeners]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["TcpListener"]),
        ({"tcp": "h:1"}, ["TcpListener"]),
        ({"hislip": "h:1"}, ["HislipListener"]),
        ({"pty": "line"}, ["PtyListener"]),
        (
            {"hislip": "h:1", "tcp": "h:2", "pty": "line"},
            ["TcpListener", "HislipListener", "PtyListener"],
        ),
    ],
    ids=["none", "tcp", "hislip", "pty", "all"],
)
def test_what_is_named_is_listened_on(options: dict[str, str], expected: list[str]) -> None:
    assert kinds(**options) == expected


def test_rate_without_a_serial_line_is_refused() -> None:
    with pytest.raises(ConfigError, match="--baud: is the rate of a serial line: add --pty LINK"):
        choose_listeners(new_firmware(), default=ANYWHERE, baud=9600)


def test_address_of_either_kind_is_checked() -> None:
    for options in ({"tcp": "nowhere"}, {"hislip": "nowhere"}):
        with pytest.raises(ConfigError, match="must be HOST:PORT"):
            kinds(**options)


@pytest.mark.parametrize(
    ("host", "resource"),
    [
        ("127.0.0.1", "TCPIP0::127.0.0.1::hislip0,4880::INSTR"),
        ("::1", "TCPIP0::[::1]::hislip0,4880::INSTR"),
    ],
)
def test_hislip_address_becomes_a_resource(host: str, resource: str) -> None:
    assert TcpAddress(host, 4880).hislip_resource == resource


def test_hislip_lock_is_not_given_to_a_client_whose_other_channel_has_closed() -> None:
    firmware = new_firmware()

    async def serve() -> int:
        listener = HislipListener(ANYWHERE, firmware)
        conversation = Scripted()
        port = port_of(await listener.start(lambda: conversation))
        try:
            client = await asyncio.to_thread(RawClient, port)
            # Both are there when the server looks next.
            client.sync.close()
            client.asynch.send(4, 1)
            await asyncio.wait_for(conversation.has_left.wait(), WAIT_S)
            await asyncio.sleep(0.1)
            client.asynch.close()
        finally:
            await listener.close()
        return firmware.lock.holders

    assert asyncio.run(serve()) == 0


def test_hislip_client_that_opens_no_second_channel_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hil_mock_device.listeners.hislip._ESTABLISH_S", 0.3)

    def client(port: int) -> None:
        silent, half = RawChannel(port), RawChannel(port)
        with RawClient(port) as whole:
            assert half.ask(0, 0, 0x0100_7878, b"hislip0").kind == 1
            assert half.hear()[:2] == (2, 2)
            assert half.is_closed()
            assert silent.is_closed()
            assert whole.sync.hears_nothing(0.5), "a client with both stays"
            assert whole.query(b"?", 2) == b"here"
        silent.close()
        half.close()

    served(HislipListener(ANYWHERE, new_firmware()), Scripted(b"here"), client)
