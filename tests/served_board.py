"""A mock device behind a real listener, served by a thread of the test process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hil_mock_device.listeners.listener import Listener, MakeConversation

WAIT_S = 20.0


@contextmanager
def served_board(listener: Listener, make_conversation: MakeConversation) -> Iterator[str]:
    """Serve, and yield the resource string."""
    loop = asyncio.new_event_loop()
    resource: list[str] = []
    is_ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        try:
            resource.append(await listener.start(make_conversation))
            is_ready.set()
            await stop.wait()
        finally:
            await listener.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert is_ready.wait(WAIT_S)
    try:
        yield resource[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT_S)
        assert not thread.is_alive()
        loop.close()
