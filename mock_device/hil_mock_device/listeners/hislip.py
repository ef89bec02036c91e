"""HiSLIP: an instrument for VISA clients, with device clear, status byte and locks (IVI-6.1).

A client opens two connections to one port. The first message on each says which of the two it is;
`HislipSession` takes over from there.
"""

import asyncio

from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.hislip_messages import (
    PROTOCOL_VERSION,
    FatalErrorCode,
    HislipMessage,
    MessageType,
)
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.byte_streams import StreamServer
from hil_mock_device.listeners.hislip_channel import ChannelClosedError, HislipChannel
from hil_mock_device.listeners.hislip_session import HislipSession
from hil_mock_device.listeners.listener import MakeConversation

_SUB_ADDRESSES = (b"", b"hislip0")
_MOST_CLIENTS = 32
_HIGHEST_SESSION_ID = 0xFFFF
_ESTABLISH_S = 5.0
"""How long a client may take for each of its two connections; then it is cut off."""
_VENDOR_ID = int.from_bytes(b"AH", "big")
"""Two letters that no vendor has registered (VPP-9)."""


class HislipListener:
    """Clients of a HiSLIP port.

    Parameters
    ----------
    address
        Where to listen; the registered port is 4880. A port that is any free one is chosen at the
        first start.
    firmware
        The instrument, whose status byte and lock go over the asynchronous channel.
    """

    def __init__(self, address: TcpAddress, firmware: Firmware) -> None:
        self._address = address
        self._firmware = firmware
        self._sessions: dict[int, HislipSession] = {}
        self._last_id = 0
        self._server: StreamServer | None = None

    async def start(self, make_conversation: MakeConversation) -> str:
        """Listen; return the resource string."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._talk(HislipChannel(reader, writer), make_conversation)

        self._server = StreamServer(self._address, talk)
        # Started again, it stands at the same address.
        self._address = await self._server.start()
        return self._address.hislip_resource

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            await self._server.close()

    async def _talk(self, channel: HislipChannel, make_conversation: MakeConversation) -> None:
        try:
            async with asyncio.timeout(_ESTABLISH_S):
                first = await channel.next_message()
            if not isinstance(first, HislipMessage):
                await self._refuse(channel, "must begin with Initialize")
            elif first.type == MessageType.INITIALIZE:
                await self._serve_synchronous(channel, first, make_conversation)
            elif first.type == MessageType.ASYNC_INITIALIZE:
                await self._serve_asynchronous(channel, first)
            else:
                await self._refuse(channel, f"begins with type {first.type}, not with Initialize")
        except (ChannelClosedError, TimeoutError):
            pass

    async def _serve_synchronous(
        self, channel: HislipChannel, first: HislipMessage, make_conversation: MakeConversation
    ) -> None:
        if first.payload.lower() not in _SUB_ADDRESSES:
            await self._refuse(channel, f"no instrument {first.payload[:40]!r} here, only hislip0")
            return
        if len(self._sessions) >= _MOST_CLIENTS:
            code = FatalErrorCode.TOO_MANY_CLIENTS
            await channel.end(code, f"{_MOST_CLIENTS} clients are connected: no more are served")
            return
        session_id = self._new_id()
        conversation = make_conversation()
        session = HislipSession(channel, conversation, self._firmware)
        self._sessions[session_id] = session
        patience = asyncio.get_running_loop().call_later(_ESTABLISH_S, session.give_up)
        try:
            # Control code 0: synchronized mode, whatever the client would like.
            answer = MessageType.INITIALIZE_RESPONSE
            await channel.send(answer, parameter=PROTOCOL_VERSION << 16 | session_id)
            await session.serve_synchronous()
        finally:
            patience.cancel()
            del self._sessions[session_id]
            session.close()
            conversation.leave()

    async def _serve_asynchronous(self, channel: HislipChannel, first: HislipMessage) -> None:
        session = self._sessions.get(first.parameter)
        if session is None or session.has_both_channels:
            await self._refuse(channel, f"no session {first.parameter} waits for this channel")
            return
        await session.serve_asynchronous(
            channel,
            lambda: channel.send(MessageType.ASYNC_INITIALIZE_RESPONSE, parameter=_VENDOR_ID),
        )

    async def _refuse(self, channel: HislipChannel, words: str) -> None:
        await channel.end(FatalErrorCode.INVALID_INITIALIZATION, words)

    def _new_id(self) -> int:
        while True:
            self._last_id = self._last_id % _HIGHEST_SESSION_ID + 1
            if self._last_id not in self._sessions:
                return self._last_id
