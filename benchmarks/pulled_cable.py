"""A cable between a host and a device that can be pulled, and put back."""

import socket
import threading
from contextlib import suppress


class PulledCable:
    """Serves the device at a raw TCP resource under another one, for as long as it is plugged in.

    Parameters
    ----------
    resource
        Resource string of the device.
    """

    def __init__(self, resource: str) -> None:
        _, host, port, _ = resource.split("::")
        self._device = (host, int(port))
        self._port = 0
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.plug()

    @property
    def resource(self) -> str:
        """Resource string of its near end."""
        return f"TCPIP0::127.0.0.1::{self._port}::SOCKET"

    def plug(self) -> None:
        """Let hosts in."""
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def pull(self) -> None:
        """Cut off who is connected, and let nobody in."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                host, _ = listener.accept()
                board = socket.create_connection(self._device)
                with self._lock:
                    self._ends += [host, board]
                for source, sink in ((host, board), (board, host)):
                    threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way until either end is closed."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
