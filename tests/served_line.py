"""A mock device at a serial line, served by a thread of the test process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.listener import MakeConversation
from hil_mock_device.listeners.pty import PtyListener
from served_board import served_board
from small_profiles import lifelike_profile


@contextmanager
def served_line(
    path: Path, *, baud: int | None = None, make_conversation: MakeConversation | None = None
) -> Iterator[str]:
    """Serve at `path` and yield the resource string; `lifelike_profile` unless told otherwise."""
    listener = PtyListener(path, baud=baud)
    with served_board(listener, make_conversation or conversations()) as resource:
        yield resource


def conversations() -> MakeConversation:
    """Return a maker of conversations with one instrument."""
    firmware = Firmware(ChipModel(lifelike_profile()))
    return lambda: MockDevice(firmware)
