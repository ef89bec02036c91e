"""A real listening socket whose other end a test plays by hand."""

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Behaviour = Callable[[socket.socket, threading.Event], None]
"""What a device does with its client until the event is set, which is when the test is over."""


class Listener:
    """Listens on a free loopback port and gives the first client to `serve`, in a thread.

    The client is disconnected when `serve` returns. Leaving the block releases `is_over`, for which
    a `serve` that keeps silent waits.
    """

    def __init__(self, serve: Behaviour) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.resource = f"TCPIP0::127.0.0.1::{self.port}::SOCKET"
        self.is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_over.set()
        # Wakes an accept that nobody has come for; closing the socket alone does not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            client, _ = self._socket.accept()
        except OSError:
            return  # the test is over and nobody has come
        with client:
            self._serve(client, self.is_over)


def keep_silent(client: socket.socket, is_over: threading.Event) -> None:
    """Read nothing and say nothing."""
    is_over.wait(60)


def hang_up(client: socket.socket, is_over: threading.Event) -> None:
    """Wait for the first request, then disconnect without a word."""
    client.recv(65536)


def say(*pieces: bytes, then_close: bool = True) -> Behaviour:
    """Return a device that waits for a request, says the pieces, and hangs up or falls silent."""

    def serve(client: socket.socket, is_over: threading.Event) -> None:
        client.recv(65536)
        for piece in pieces:
            client.sendall(piece)
        if not then_close:
            is_over.wait(60)

    return serve


def dribble(start: bytes, piece: bytes, every_s: float) -> Behaviour:
    """Return a device that says `start` and then `piece` again and again, slowly."""

    def serve(client: socket.socket, is_over: threading.Event) -> None:
        client.recv(65536)
        try:
            client.sendall(start)
            while not is_over.wait(every_s):
                client.sendall(piece)
        except OSError:
            return  # the host has given up

    return serve


def babble(client: socket.socket, is_over: threading.Event) -> None:
    """Send text without a newline as fast as it is taken."""
    client.settimeout(0.1)
    while not is_over.is_set():
        try:
            client.sendall(b"bla " * 4096)
        except TimeoutError:
            continue
        except OSError:
            return


def unused_port() -> int:
    """Return a loopback port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
