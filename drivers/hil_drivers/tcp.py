"""A raw TCP socket as `Transport`: the fast path for bulk readouts."""

import socket
import time
from contextlib import suppress

from hil.core.errors import LinkLostError, TransportError, TransportTimeoutError

LONGEST_DRAIN_S = 0.5
"""How long a device may take to read what is left of a connection; healthy ones take a few ms."""
_SCRATCH_BYTES = 1 << 16


def drain(stream: socket.socket, *, timeout_s: float) -> bool:
    """Say that nothing more is sent, and throw away what comes until the device closes, too.

    A device that closes has read everything: none of it can be carried out later. Tells whether
    the device closed in time.
    """
    scratch = bytearray(_SCRATCH_BYTES)
    deadline = time.monotonic() + timeout_s
    with suppress(OSError):  # a connection that is lost, or a time that is up
        stream.shutdown(socket.SHUT_WR)
        while (left_s := deadline - time.monotonic()) > 0:
            stream.settimeout(left_s)
            if stream.recv_into(scratch) == 0:
                return True
    return False


class TcpTransport:
    """A connected socket.

    Parameters
    ----------
    host, port
        Where the device listens.
    resource
        The resource string this stands for, for messages.
    timeout_s
        How long connecting may take.

    Raises
    ------
    TransportError
        If nothing listens there, or the host is unknown.
    TransportTimeoutError
        If the host does not answer in time.
    """

    is_duplex = True

    def __init__(self, host: str, port: int, *, resource: str, timeout_s: float) -> None:
        self.resource = resource
        self._address = (host, port)
        self._is_closed = False
        self._socket = self._connect(timeout_s)

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Send all of `data`."""
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise TransportTimeoutError(
                f"{self.resource}: the device took none of {len(data)} bytes for {timeout_s:g} s"
            ) from error
        except OSError as error:
            raise self._lost(error) from error

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        """Receive what is there, at least one byte."""
        try:
            self._socket.settimeout(timeout_s)
            count = self._socket.recv_into(buffer)
        except TimeoutError as error:
            raise TransportTimeoutError(
                f"{self.resource}: no answer within {timeout_s:g} s"
            ) from error
        except OSError as error:
            raise self._lost(error) from error
        if count == 0:
            raise LinkLostError(f"{self.resource}: the device closed the connection")
        return count

    def clear(self, *, timeout_s: float) -> None:
        """Connect again, after the device has read the old connection to its end if it can."""
        if self._is_closed:
            raise LinkLostError(f"{self.resource}: the link is closed")
        deadline = time.monotonic() + timeout_s
        drain(self._socket, timeout_s=min(LONGEST_DRAIN_S, timeout_s / 4))
        self._socket.close()
        self._socket = self._connect(max(0.001, deadline - time.monotonic()))

    def close(self) -> None:
        """Close the socket."""
        self._is_closed = True
        self._socket.close()

    def _connect(self, timeout_s: float) -> socket.socket:
        try:
            connected = socket.create_connection(self._address, timeout=timeout_s)
        except TimeoutError as error:
            raise TransportTimeoutError(
                f"{self.resource}: no connection within {timeout_s:g} s; check the address and the "
                "cable"
            ) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: no possible host name
            reason = getattr(error, "strerror", None) or error
            raise TransportError(
                f"{self.resource}: cannot connect: {reason}; "
                "check that the device is on and listens on this port"
            ) from error
        # Requests are small and wait for their answers: Nagle's algorithm would only delay them.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def _lost(self, error: OSError) -> LinkLostError:
        return LinkLostError(f"{self.resource}: the link is lost: {error.strerror or error}")
