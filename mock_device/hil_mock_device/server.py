"""The mock as a server process: TCP connections in front of one instrument."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from hil.core.errors import ConfigError, Problem
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware import Firmware
from hil_mock_device.silicon import Silicon

_CHUNK_BYTES = 1 << 18


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
        if not host or not port.isdigit() or int(port) > 65535:
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
        Called with the resource string once clients can connect.
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
        loop.add_reader(sys.stdin.fileno(), _stop_at_end_of_stdin, stop)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _talk(MockDevice(firmware), reader, writer)

    try:
        server = await asyncio.start_server(talk, address.host, address.port)
    except OSError as error:
        raise ConfigError(
            f"address {address.host}:{address.port}",
            [Problem("", f"cannot be listened on: {error.strerror or error}")],
        ) from error
    async with server:
        port = server.sockets[0].getsockname()[1]
        on_ready(TcpAddress(address.host, port).resource)
        await stop.wait()


async def _talk(
    device: MockDevice, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(device.receive(data))
            await writer.drain()
            if device.is_lost:
                break
    except (ConnectionError, asyncio.CancelledError):
        pass  # the client has gone, or the server stops
    finally:
        writer.close()


def _stop_at_end_of_stdin(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stop.set()
