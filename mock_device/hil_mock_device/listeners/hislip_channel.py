"""One of the two connections of a HiSLIP client."""

import asyncio
from collections import deque

from hil.core.errors import FrameError
from hil_mock_device.hislip_messages import (
    ErrorCode,
    FatalErrorCode,
    HislipMessage,
    HislipReader,
    MessageType,
    OversizeMessage,
    code_for_unrecognized,
    encode_message,
)
from hil_mock_device.listeners.byte_streams import CHUNK_BYTES, take_leave

LARGEST_PAYLOAD = 1 << 20
"""Most bytes taken in one message, 1 MiB; a program message may be spread over several."""


class ChannelClosedError(Exception):
    """The client has closed the connection, or it was ended."""


class HislipChannel:
    """Messages over a connection.

    Parameters
    ----------
    reader, writer
        The connection.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = reader
        self._writer = writer
        self._reader = HislipReader(LARGEST_PAYLOAD)
        self._arrived: deque[HislipMessage | OversizeMessage] = deque()

    async def next_message(self) -> HislipMessage | OversizeMessage:
        """Return the next message of the client.

        Raises
        ------
        ChannelClosedError
            If there will be none. Where the client's bytes were no message, it has been told.
        """
        while not self._arrived:
            if self._reader.failure is not None:
                await self.end(FatalErrorCode.POORLY_FORMED_HEADER, str(self._reader.failure))
                raise ChannelClosedError
            data = await self._stream.read(CHUNK_BYTES)
            if not data:
                raise ChannelClosedError
            try:
                self._arrived.extend(self._reader.receive(data))
            except FrameError:
                continue  # the reader keeps the reason
        return self._arrived.popleft()

    async def send(
        self,
        message_type: MessageType,
        *,
        control: int = 0,
        parameter: int = 0,
        payload: bytes = b"",
    ) -> None:
        """Send a message; return when there is room for the next."""
        self.put(message_type, control=control, parameter=parameter, payload=payload)
        await self._writer.drain()

    def put(
        self,
        message_type: MessageType,
        *,
        control: int = 0,
        parameter: int = 0,
        payload: bytes = b"",
    ) -> None:
        """Send a message without waiting for room: for those of a few bytes."""
        message = HislipMessage(
            type=message_type, control=control, parameter=parameter, payload=payload
        )
        self._writer.write(encode_message(message))

    async def refuse(self, message: HislipMessage | OversizeMessage) -> None:
        """Tell the client that a message means nothing here, or was too large."""
        if isinstance(message, OversizeMessage):
            words = f"{message.length} bytes: at most {LARGEST_PAYLOAD} are taken in one message"
            await self.report(ErrorCode.MESSAGE_TOO_LARGE, words)
        else:
            words = f"message type {message.type} is not known on this channel"
            await self.report(code_for_unrecognized(message.type), words)

    async def report(self, code: ErrorCode, words: str) -> None:
        """Tell the client of an error that ends nothing."""
        await self.send(MessageType.ERROR, control=code, payload=words.encode("ascii", "replace"))

    async def end(self, code: FatalErrorCode, words: str) -> None:
        """Tell the client why this ends, and let it read that."""
        payload = words.encode("ascii", "replace")
        await self.send(MessageType.FATAL_ERROR, control=code, payload=payload)
        await take_leave(self._stream, self._writer)

    def cut(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()
