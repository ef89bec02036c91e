"""A raw TCP socket as `Transport`: the fast path for bulk readouts."""

import socket

from hil.core.errors import LinkLostError, TransportError, TransportTimeoutError


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

    def __init__(self, host: str, port: int, *, resource: str, timeout_s: float) -> None:
        self.resource = resource
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
        except TimeoutError as error:
            raise TransportTimeoutError(
                f"{resource}: no connection within {timeout_s:g} s; check the address and the cable"
            ) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: no possible host name
            reason = getattr(error, "strerror", None) or error
            raise TransportError(
                f"{resource}: cannot connect: {reason}; "
                "check that the device is on and listens on this port"
            ) from error
        # Requests are small and wait for their answers: Nagle's algorithm would only delay them.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

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

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _lost(self, error: OSError) -> LinkLostError:
        return LinkLostError(f"{self.resource}: the link is lost: {error.strerror or error}")
