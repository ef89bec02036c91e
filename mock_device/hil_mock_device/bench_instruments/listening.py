"""Letting clients in to the bench instruments: in the mock's own server, or in a thread."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.listener import Listener, MakeConversation
from hil_mock_device.listeners.tcp import TcpListener

_LOOPBACK = "127.0.0.1"


class InstrumentListener:
    """A listener that leads to an instrument of its own, whatever else the server serves.

    Parameters
    ----------
    listener
        The way in.
    make_conversation
        Begins a conversation with the instrument.
    """

    def __init__(self, listener: Listener, make_conversation: MakeConversation) -> None:
        self._listener = listener
        self._make_conversation = make_conversation

    async def start(self, make_conversation: MakeConversation) -> str:
        """Let clients in to the instrument, not to what the server serves elsewhere."""
        return await self._listener.start(self._make_conversation)

    async def close(self) -> None:
        """Let nobody in any more."""
        await self._listener.close()


def instrument_listeners(
    conversations: Mapping[str, MakeConversation], addresses: Mapping[str, TcpAddress]
) -> list[Listener]:
    """Return what a server listens with, beside its chip's listeners, in the order of `addresses`.

    Parameters
    ----------
    conversations
        As `MockBench.conversations` returns.
    addresses
        Instrument to where it listens.
    """
    return [
        InstrumentListener(TcpListener(address), conversations[name])
        for name, address in addresses.items()
    ]


@contextmanager
def listening_in_a_thread(
    conversations: Mapping[str, MakeConversation],
) -> Iterator[Mapping[str, str]]:
    """Serve instruments on free loopback ports for the length of a ``with`` block.

    Parameters
    ----------
    conversations
        Instrument to what begins a conversation with it, as `MockBench.conversations` returns.

    Yields
    ------
    Instrument to resource string.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mock bench", daemon=True)
    thread.start()
    listeners = {name: TcpListener(TcpAddress(_LOOPBACK, 0)) for name in conversations}

    async def start() -> dict[str, str]:
        return {name: await listeners[name].start(make) for name, make in conversations.items()}

    async def close() -> None:
        await asyncio.gather(*(listener.close() for listener in listeners.values()))

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
