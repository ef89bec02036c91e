"""A mock board behind real sockets that does to its answers what a test says."""

import socket
import threading
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_drivers.message_bytes import Checksum, checksum_of, split_tag, with_tag
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.silicon import Silicon
from small_profiles import lifelike_profile

HANG_UP = None
"""An item of a plan: close the connection."""

Plan = Callable[[bytes, bytes], Iterable[bytes | float | None]]
"""From a request and its answer to what is done: send bytes, wait so many seconds, `HANG_UP`."""


def retold(message: bytes, rest: bytes) -> bytes:
    """Return the tag of a tagged message with another text or block, and a checksum if it had one.

    `rest` ends in its newline.
    """
    tag, _ = split_tag(message)
    assert tag is not None
    text = b"" if rest.startswith(b"#") else rest.removesuffix(b"\n")
    has_checksum = checksum_of(message) is not Checksum.NONE
    return with_tag(tag, text, has_checksum=has_checksum) + rest[len(text) :]


class CountingChip(ChipModel):
    """A lifelike chip, always the same one, that counts what wears and what draws noise."""

    def __init__(self) -> None:
        super().__init__(lifelike_profile(seed=7))
        self.conversions = 0
        self.programmings = 0

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        self.programmings += 1
        super().program(core, weights)

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        self.conversions += 1
        return super().convert(core, read_mode, inputs)


class UnrulyBoard:
    """Listens on a free loopback port; every client talks to the same firmware.

    Parameters
    ----------
    silicon
        The chip.
    plan
        What becomes of each answer.
    """

    def __init__(self, silicon: Silicon, plan: Plan) -> None:
        self.firmware = Firmware(silicon)
        self._plan = plan
        self._busy = threading.Lock()
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.resource = f"TCPIP0::127.0.0.1::{self._socket.getsockname()[1]}::SOCKET"
        self.connections = 0
        self._refusal_s = 0.0

    def refuse_for(self, seconds: float) -> None:
        """Refuse connections for so long, from the next hang-up on."""
        self._refusal_s = seconds

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._socket.close()

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return  # the test is over
            self.connections += 1
            self._start(partial(self._serve, client))

    def _refuse(self) -> None:
        if not self._refusal_s:
            return
        address = self._socket.getsockname()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

        def listen_again() -> None:
            self._is_over.wait(self._refusal_s)
            self._socket = socket.create_server(address)
            self._accept()

        self._start(listen_again)

    def _serve(self, client: socket.socket) -> None:
        device = MockDevice(self.firmware)
        client.settimeout(0.05)
        with client:
            while not self._is_over.is_set() and not device.is_lost:
                try:
                    data = client.recv(1 << 18)
                    if not data or not self._answer(client, device, data):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break  # the client has gone
        device.leave()

    def _answer(self, client: socket.socket, device: MockDevice, data: bytes) -> bool:
        with self._busy:
            answer = device.receive(data)
        for item in self._plan(data, answer):
            if item is HANG_UP:
                self._refuse()
                return False
            if isinstance(item, float):
                self._is_over.wait(item)
            else:
                client.settimeout(5)
                client.sendall(item)
                client.settimeout(0.05)
        return True


def once(header: bytes, *items: Callable[[bytes], bytes] | float | None) -> Plan:
    """Return a plan: the first answer to a request with `header` becomes `items`, all others pass.

    A function among the items makes bytes of the answer.
    """
    is_done = threading.Event()

    def plan(request: bytes, answer: bytes) -> Iterable[bytes | float | None]:
        if is_done.is_set() or b" " + header not in request[:60]:
            return [answer]
        is_done.set()
        return [item(answer) if callable(item) else item for item in items]

    return plan
