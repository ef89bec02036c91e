"""A mock device at a serial line, served by a thread of the test process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.listener import MakeConversation
from hil_mock_device.listeners.pty import PtyListener
from small_profiles import lifelike_profile

WAIT_S = 20.0


@contextmanager
def served_line(
    path: Path, *, baud: int | None = None, make_conversation: MakeConversation | None = None
) -> Iterator[str]:
    """Serve at `path` and yield the resource string; `lifelike_profile` unless told otherwise."""
    make = make_conversation or conversations()
    loop = asyncio.new_event_loop()
    resource: list[str] = []
    is_ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        listener = PtyListener(path, baud=baud)
        try:
            resource.append(await listener.start(make))
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


def conversations() -> MakeConversation:
    """Return a maker of conversations with one instrument."""
    firmware = Firmware(ChipModel(lifelike_profile()))
    return lambda: MockDevice(firmware)
