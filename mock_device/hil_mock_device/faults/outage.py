"""A way in that goes away for a while: refused reconnects."""

import asyncio
from collections.abc import Iterable

from hil_mock_device.faults.injector import FaultInjector
from hil_mock_device.listeners.listener import Listener, MakeConversation


class InterruptedListener:
    """A listener that disconnects everybody and lets nobody in while there is an outage.

    Parameters
    ----------
    listener
        What lets clients in.
    injector
        What tells of outages.
    """

    def __init__(self, listener: Listener, injector: FaultInjector) -> None:
        self._listener = listener
        self._injector = injector
        self._outage: asyncio.Task[None] | None = None
        self._until_s = 0.0

    async def start(self, make_conversation: MakeConversation) -> str:
        """Let clients in from now on; return the resource string that they open."""
        loop = asyncio.get_running_loop()
        others = self._injector.on_outage

        def begin(seconds: float) -> None:
            others(seconds)
            self._until_s = max(self._until_s, loop.time() + seconds)
            if self._outage is None or self._outage.done():
                self._outage = loop.create_task(self._be_away(make_conversation))

        resource = await self._listener.start(make_conversation)
        self._injector.on_outage = begin
        return resource

    async def close(self) -> None:
        """Let nobody in any more and disconnect every client."""
        if self._outage is not None:
            self._outage.cancel()
            await asyncio.gather(self._outage, return_exceptions=True)
        await self._listener.close()

    async def _be_away(self, make_conversation: MakeConversation) -> None:
        await self._listener.close()
        loop = asyncio.get_running_loop()
        while (left_s := self._until_s - loop.time()) > 0:
            await asyncio.sleep(left_s)
        await self._listener.start(make_conversation)


class ControlListener:
    """A raw TCP port that leads to the control channel, whatever else the server serves.

    Parameters
    ----------
    listener
        The way in.
    make_control
        Begins a conversation on the control channel.
    """

    def __init__(self, listener: Listener, make_control: MakeConversation) -> None:
        self._listener = listener
        self._make_control = make_control

    async def start(self, make_conversation: MakeConversation) -> str:
        """Let clients in to the control channel."""
        return await self._listener.start(self._make_control)

    async def close(self) -> None:
        """Let nobody in any more."""
        await self._listener.close()


def interrupted(listeners: Iterable[Listener], injector: FaultInjector) -> list[Listener]:
    """Return listeners that go away together when there is an outage."""
    return [InterruptedListener(listener, injector) for listener in listeners]
