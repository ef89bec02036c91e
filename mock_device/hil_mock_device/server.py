"""The mock as a server process: TCP connections in front of one instrument."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from hil.core.errors import ConfigError, Problem
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.silicon import Silicon

_CHUNK_BYTES = 1 << 18
_LAST_WORDS_S = 1.0
"""How long a client that lost its way may take to read why; then it is cut off."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where to listen."""

    host: str
    """Name or address; loopback unless somebody says otherwise."""
    port: int
    """Port, 0 for any free one."""

    @classmethod
    def parse(cls, text: str) -> "TcpAddress":
        """Read ``HOST:PORT``.

        Raises
        ------
        ConfigError
            If it is none.
        """
        host, _, port = text.rpartition(":")
        if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise ConfigError(
                f"address {text!r}", [Problem("", "must be HOST:PORT, with a port of 0 to 65535")]
            )
        return cls(host.strip("[]"), int(port))

    @property
    def resource(self) -> str:
        """The VISA resource string a client opens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"TCPIP0::{host}::{self.port}::SOCKET"


def serve(
    silicon: Silicon,
    address: TcpAddress,
    *,
    on_ready: Callable[[str], None],
    stops_with_stdin: bool = False,
) -> None:
    """Serve an instrument until SIGINT or SIGTERM.

    Parameters
    ----------
    silicon
        The chip.
    address
        Where to listen.
    on_ready
        Called with the resource string once clients can connect, and before any is answered; what
        it raises ends the server.
    stops_with_stdin
        Whether to stop at the end of standard input too: a server that must not outlive the
        process that started it, even if that one is killed.

    Raises
    ------
    ConfigError
        If the address cannot be listened on.
    """
    asyncio.run(_serve(Firmware(silicon), address, on_ready, stops_with_stdin))


async def _serve(
    firmware: Firmware,
    address: TcpAddress,
    on_ready: Callable[[str], None],
    stops_with_stdin: bool,  # noqa: FBT001 - private
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    if stops_with_stdin:
        _watch_stdin(loop, stop)
    talks: set[asyncio.Task[None]] = set()

    def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = loop.create_task(_talk(MockDevice(firmware), reader, writer))
        talks.add(talk)
        talk.add_done_callback(talks.discard)

    try:
        server = await asyncio.start_server(greet, address.host, address.port)
    except (OSError, UnicodeError) as error:  # UnicodeError: a host that can be no name
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"address {address.host}:{address.port}",
            [Problem("", f"cannot be listened on: {reason}")],
        ) from error
    try:
        on_ready(TcpAddress(address.host, server.sockets[0].getsockname()[1]).resource)
        await stop.wait()
    finally:
        # Not wait_closed: from Python 3.12 on it waits until every client has gone by itself.
        server.close()
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def _talk(
    device: MockDevice, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        while not device.is_lost and (data := await reader.read(_CHUNK_BYTES)):
            for answer in device.answers(data):
                writer.write(answer)
                await writer.drain()  # a client that does not read its answers waits for itself
                await asyncio.sleep(0)  # and leaves room for the others
        if device.is_lost:
            await _take_leave(reader, writer)
        writer.close()
        await writer.wait_closed()
    except OSError:
        pass  # the client has gone
    finally:
        # Where the server stops, what a client has not read is lost: it may never read it.
        writer.transport.abort()


async def _take_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the client read the last words: closing on bytes it still sends would discard them."""
    writer.write_eof()
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            while await reader.read(_CHUNK_BYTES):
                pass
    except TimeoutError:
        pass


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def read() -> None:
        if not os.read(stdin, 1024):
            loop.remove_reader(stdin)
            stop.set()

    try:
        stdin = sys.stdin.fileno()
        loop.add_reader(stdin, read)
    except (OSError, AttributeError) as error:  # a file, /dev/null, or closed altogether
        raise ConfigError(
            "standard input",
            [Problem("", "must be a pipe or a terminal: its end stops the server")],
        ) from error
