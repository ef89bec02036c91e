"""A raw TCP port: bytes in, bytes out."""

import asyncio

from hil_mock_device.conversation import Conversation, Disconnect, Wait
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.byte_streams import CHUNK_BYTES, StreamServer, take_leave
from hil_mock_device.listeners.listener import MakeConversation


class TcpListener:
    """Clients of a raw TCP port, a conversation for each connection.

    Parameters
    ----------
    address
        Where to listen; a port that is any free one is chosen at the first start.
    """

    def __init__(self, address: TcpAddress) -> None:
        self._address = address
        self._server: StreamServer | None = None

    async def start(self, make_conversation: MakeConversation) -> str:
        """Listen; return the resource string."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            conversation = make_conversation()
            try:
                await _talk(conversation, reader, writer)
            finally:
                conversation.leave()

        self._server = StreamServer(self._address, talk)
        # Started again, it stands at the same address.
        self._address = await self._server.start()
        return self._address.resource

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            await self._server.close()


async def _talk(
    conversation: Conversation, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while not conversation.is_lost and (data := await reader.read(CHUNK_BYTES)):
        for position, item in enumerate(conversation.answers(data)):
            if position:
                await asyncio.sleep(0)  # one who sends much at once leaves room for the others
            if isinstance(item, Wait):
                await asyncio.sleep(item.seconds)
            elif isinstance(item, Disconnect):
                return
            elif item:
                writer.write(item)
                await writer.drain()  # a client that does not read its answers waits for itself
    if conversation.is_lost:
        await take_leave(reader, writer)
