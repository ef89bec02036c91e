"""What the listeners on TCP ports have in common."""

import asyncio
from collections.abc import Awaitable, Callable

from hil.core.errors import ConfigError, Problem
from hil_mock_device.listeners.address import TcpAddress

CHUNK_BYTES = 1 << 18
"""Most bytes taken from a client at once."""
_LAST_WORDS_S = 1.0
"""How long a client that lost its way may take to read why; then it is cut off."""

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection until its end."""


class StreamServer:
    """A TCP port, and a task for each connection to it.

    Parameters
    ----------
    address
        Where to listen.
    talk
        Serves one connection. What it has written by the end is still delivered.
    """

    def __init__(self, address: TcpAddress, talk: Talk) -> None:
        self._address = address
        self._talk = talk
        self._talks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> TcpAddress:
        """Listen; return where.

        Raises
        ------
        ConfigError
            If the address cannot be listened on.
        """
        try:
            server = await asyncio.start_server(self._greet, self._address.host, self._address.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that can be no name
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"address {self._address.host}:{self._address.port}",
                [Problem("", f"cannot be listened on: {reason}")],
            ) from error
        self._server = server
        return self._address.with_port(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the port, then every connection."""
        if self._server is not None:
            # Not wait_closed: from Python 3.12 on it waits until every client has gone by itself.
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass  # the client has gone
        finally:
            # Where the server stops, what a client has not read is lost: it may never read it.
            writer.transport.abort()


async def take_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the client read the last words: closing on bytes it still sends would discard them."""
    writer.write_eof()
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            while await reader.read(CHUNK_BYTES):
                pass
    except TimeoutError:
        pass
