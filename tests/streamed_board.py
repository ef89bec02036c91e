"""Streams to be tested: carriers, what is due, and lines that spoil the frames on their way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.open_transport import TransportChoice, open_transport
from hil_drivers.serial_port import open_serial
from hil_drivers.stream import CountStream
from hil_drivers.transport import Transport
from hil_mock_device.conversation import Conversation, Disconnect, Outgoing
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.address import TcpAddress
from hil_mock_device.listeners.hislip import HislipListener
from hil_mock_device.listeners.listener import Listener
from hil_mock_device.listeners.pty import PtyListener
from hil_mock_device.listeners.tcp import TcpListener
from hil_mock_device.loopback import LoopbackTransport
from served_board import served_board
from unruly_board import CountingChip

ONE = ReadMode.ONE_PHASE
ANY_PORT = TcpAddress.parse("127.0.0.1:0")
TIMEOUT_S = 0.5
"""Of links on which something is lost."""
CARRIERS = ("loopback", "tcp", "visa", "serial", "hislip")


def weights() -> npt.NDArray[np.int8]:
    return np.random.default_rng(3).integers(-127, 128, (32, 8), dtype=np.int8)


def inputs(vectors: int = 7) -> npt.NDArray[np.int8]:
    return np.random.default_rng(5).integers(-127, 128, (vectors, 32), dtype=np.int8)


def expected(
    vectors: int, frame_vectors: int, given: npt.NDArray[np.int8]
) -> npt.NDArray[np.uint16]:
    """Return what a chip of its own counts, frame by frame, for the inputs round and round."""
    chip = CountingChip()
    chip.program(0, weights())
    frames = [
        chip.convert(
            0, ONE, given[np.arange(first, min(first + frame_vectors, vectors)) % len(given)]
        )
        for first in range(0, vectors, frame_vectors)
    ]
    return np.concatenate(frames)


def collect(stream: CountStream) -> npt.NDArray[np.uint16]:
    """Return copies of all counts; every block begins where the last one ended."""
    blocks: list[npt.NDArray[np.uint16]] = []
    for block in stream:
        assert block.first_vector == sum(map(len, blocks))
        blocks.append(block.counts.copy())
    return np.concatenate(blocks)


def consume(board: AimcBoard, at_block: int, act: Callable[[], object]) -> None:
    """Stream on and on; do something after block `at_block`."""
    with board.stream_counts(0, ONE, inputs(), vectors=10**8, frame_vectors=10, window=2) as stream:
        for number, _ in enumerate(stream):
            if number == at_block:
                act()


# --- carriers ------------------------------------------------------------------------------------


@contextmanager
def linked(
    carrier: str, firmware: Firmware, tmp_path: Path, converse: Callable[[], Conversation]
) -> Iterator[Transport]:
    """Open a link over a carrier to a mock device."""
    if carrier == "loopback":
        transport: Transport = LoopbackTransport(converse(), resource=carrier, connect=converse)
        yield transport
        transport.close()
        return
    listeners: dict[str, Listener] = {
        "serial": PtyListener(tmp_path / "line"),
        "hislip": HislipListener(ANY_PORT, firmware),
    }
    with served_board(listeners.get(carrier, TcpListener(ANY_PORT)), converse) as resource:
        if carrier == "serial":
            transport = open_serial(resource, timeout_s=5)
        else:
            choice = TransportChoice.VISA if carrier == "visa" else TransportChoice.AUTO
            transport = open_transport(resource, timeout_s=5, choice=choice)
        try:
            yield transport
        finally:
            transport.close()


@dataclass
class Spoiler:
    """Changes the frames that a device pushes, by number from 0, each once.

    A change makes of a frame's message what is sent; `HANG_UP` cuts the link in its middle.
    """

    firmware: Firmware
    changes: dict[int, Callable[[bytes], list[Outgoing]]]
    pushed: int = 0
    held: list[bytes] = field(default_factory=list)

    def converse(self) -> "SpoiltConversation":
        return SpoiltConversation(self)


class SpoiltConversation(MockDevice):
    """A conversation whose pushed frames are spoilt."""

    def __init__(self, spoiler: Spoiler) -> None:
        super().__init__(spoiler.firmware)
        self._spoiler = spoiler

    def answers(self, data: bytes) -> Iterator[Outgoing]:  # type: ignore[override]
        spoiler = self._spoiler
        for item in super().answers(data):
            stream = spoiler.firmware.settings.stream
            if stream is None or not item.startswith(b"@%d #" % stream.tag):
                yield item
                continue
            number, spoiler.pushed = spoiler.pushed, spoiler.pushed + 1
            held, spoiler.held = spoiler.held, []
            change = spoiler.changes.get(number)
            yield from [item] if change is None else change(item)
            yield from held


def flip(item: bytes) -> list[Outgoing]:
    return [item[:-20] + bytes([item[-20] ^ 8]) + item[-19:]]


def cut(item: bytes) -> list[Outgoing]:
    return [item[: len(item) // 2], Disconnect()]


def truncate(item: bytes) -> list[Outgoing]:
    return [item[: len(item) // 2]]


def swap(spoiler: Spoiler) -> Callable[[bytes], list[Outgoing]]:
    """Send a frame after the next one."""

    def hold(item: bytes) -> list[Outgoing]:
        spoiler.held.append(item)
        return []

    return hold
