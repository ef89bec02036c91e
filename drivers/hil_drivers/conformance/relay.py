"""A TCP relay between a driver and its device, which does to the link what a check wants.

Threads, not asyncio: the driver under test blocks, and the relay must go on meanwhile. Every wait
is bounded by `_TICK_S`, so that closing it ends all of them.
"""

import re
import socket
import threading
from contextlib import suppress
from itertools import repeat
from types import TracebackType
from typing import Self

_TICK_S = 0.05
_CONNECT_S = 5.0
_READ_BYTES = 1 << 16
_FLOOD = bytes(range(256)) * 64

_ADDRESS = re.compile(
    r"(?P<before>(?:TCPIP\d*::|[a-z][a-z0-9+.-]*://))(?P<host>\[[^\]]+\]|[^:/\s]+)"
    r"(?P<between>::hislip\d+,|::|:)(?P<port>\d+)",
    re.IGNORECASE,
)


def tcp_address(resource: str) -> tuple[str, int] | None:
    """Return host and port that a resource string names; None if it names none.

    Examples
    --------
    >>> tcp_address("TCPIP0::10.0.0.2::5025::SOCKET"), tcp_address("toy://[::1]:7000")
    (('10.0.0.2', 5025), ('::1', 7000))
    >>> tcp_address("ASRL/dev/ttyUSB0::INSTR")
    """
    found = _ADDRESS.match(resource)
    return None if found is None else (found["host"].strip("[]"), int(found["port"]))


class Relay:
    """A relay in front of a device, on a free loopback port.

    Parameters
    ----------
    resource
        The device's resource string, with a TCP address in it.

    Raises
    ------
    ValueError
        If it has none.
    """

    def __init__(self, resource: str) -> None:
        found = _ADDRESS.match(resource)
        address = tcp_address(resource)
        if found is None or address is None:
            raise ValueError(f"{resource!r} names no host and port")
        self._device = address
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_TICK_S)
        port = self._listener.getsockname()[1]
        rest = resource[found.end() :]
        self.resource = f"{found['before']}127.0.0.1{found['between']}{port}{rest}"
        """Resource string that leads through the relay."""
        self._is_closed = threading.Event()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._piece = 0
        self._left_to_answer: int | None = None
        self._rubbish: bytes | None = None
        self._is_flooding = False
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Keep back what the device answers."""
        self._may_answer.clear()

    def release(self) -> None:
        """Hand out what was kept back, and what comes."""
        self._may_answer.set()

    def split(self, piece: int) -> None:
        """Hand out answers in pieces of so many bytes."""
        self._piece = piece

    def cut(self) -> None:
        """Break every connection."""
        with self._lock:
            for pair in self._pairs:
                _break(*pair)
            self._pairs.clear()

    def cut_after(self, size: int) -> None:
        """Break the connection after so many bytes of answers from now on; once."""
        with self._lock:
            self._left_to_answer = size

    def answer_rubbish(self, rubbish: bytes | None, *, floods: bool = False) -> None:
        """Answer with these bytes in place of the device's, None for its own; or without an end."""
        with self._lock:
            self._rubbish = rubbish
            self._is_flooding = floods

    def close(self) -> None:
        """Break every connection and listen no more."""
        self._is_closed.set()
        self._may_answer.set()
        self._listener.close()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                host, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                device = socket.create_connection(self._device, timeout=_CONNECT_S)
            except OSError:
                host.close()
                continue
            for end in (host, device):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((host, device))
            for pump in (self._ask, self._answer):
                threading.Thread(target=pump, args=(host, device), daemon=True).start()

    def _ask(self, host: socket.socket, device: socket.socket) -> None:
        with suppress(OSError):
            while data := host.recv(_READ_BYTES):
                device.sendall(data)
        _break(host, device)

    def _answer(self, host: socket.socket, device: socket.socket) -> None:
        with suppress(OSError):
            while data := device.recv(_READ_BYTES):
                while not self._may_answer.wait(_TICK_S):
                    pass
                if not self._hand_out(host, data):
                    break
        _break(host, device)

    def _hand_out(self, host: socket.socket, data: bytes) -> bool:
        """Hand out an answer, or what it is to become; tell whether the connection goes on."""
        with self._lock:
            rubbish, floods = self._rubbish, self._is_flooding
            left = self._left_to_answer
            if left is not None:
                data = data[:left]
                self._left_to_answer = None if len(data) == left else left - len(data)
        if floods:
            for flood in repeat(_FLOOD):
                if self._is_closed.is_set() or not self._is_flooding:
                    return False
                host.sendall(flood)
        data = data if rubbish is None else rubbish
        piece = self._piece or len(data) or 1
        for first in range(0, len(data), piece):
            host.sendall(data[first : first + piece])
        return left is None or self._left_to_answer is not None


def _break(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
