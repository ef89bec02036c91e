"""A wire that counts: between a host and a device, every byte that goes through it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass
class CountedWire:
    """What has gone over the wire so far."""

    resource: str
    sent: int = 0
    received: int = 0


@contextmanager
def counted_wire(resource: str) -> Iterator[CountedWire]:
    """Serve the device at a raw TCP resource under another one, and count."""
    _, host, port, _ = resource.split("::")
    listener = socket.create_server(("127.0.0.1", 0))
    wire = CountedWire(f"TCPIP0::127.0.0.1::{listener.getsockname()[1]}::SOCKET")
    accepting = threading.Thread(
        target=_accept, args=(listener, (host, int(port)), wire), daemon=True
    )
    accepting.start()
    try:
        yield wire
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(20)


def _accept(listener: socket.socket, device: tuple[str, int], wire: CountedWire) -> None:
    with suppress(OSError):
        while True:
            host, _ = listener.accept()
            _carry(host, socket.create_connection(device), wire)


def _carry(host: socket.socket, board: socket.socket, wire: CountedWire) -> None:
    """Carry one connection to its end: a device is asked by one host after the other."""
    with host, board:
        pumps = [
            threading.Thread(target=_pump, args=(host, board, wire, "sent"), daemon=True),
            threading.Thread(target=_pump, args=(board, host, wire, "received"), daemon=True),
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()


def _pump(source: socket.socket, sink: socket.socket, wire: CountedWire, way: str) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            setattr(wire, way, getattr(wire, way) + len(data))
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
