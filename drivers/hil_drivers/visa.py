"""Any VISA resource as `Transport`, through pyvisa.

VISA carries control well and bulk data slowly: pyvisa-py reads a serial line one byte at a time.
Prefer the raw socket where there is one.

What pyvisa-py does with a socket shapes this module:

- Opening a port on which nobody listens succeeds; the first request finds out.
- A read moves 4096 bytes at a time, drops the bytes it has when its time is up, and its time is
  never up while bytes dribble in. So the socket below is read, and nothing else ever reads it.
- A write waits for ever for a device that does not read. So it is done in pieces, each when there
  is room for it.
- A peer that closes looks like one that is silent.

The other kinds of resource are left to VISA: after a timeout half an answer may be lost, and the
link only says so. A serial line has no device clear: the rest of an answer comes whatever is done,
and is waited for.
"""

import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hil.core.errors import LinkLostError, TransportError, TransportTimeoutError
from hil_drivers.tcp import LONGEST_DRAIN_S, drain

if TYPE_CHECKING:
    from pyvisa.resources import MessageBasedResource, SerialInstrument

_NEWLINE = ord("\n")
_PIECE_BYTES = 4096
"""What pyvisa-py moves at once through a socket."""
_QUIET_S = 0.1
"""A serial line that says nothing for so long has said everything: at 300 baud, the slowest in use,
three bytes come in that time."""


class VisaTransport:
    """An open VISA resource.

    Parameters
    ----------
    resource
        VISA resource string, such as ``TCPIP0::127.0.0.1::5025::SOCKET``.
    timeout_s
        How long opening may take.
    backend
        pyvisa's name of the VISA library: ``@py`` is pyvisa-py.

    Raises
    ------
    TransportError
        If the resource cannot be opened by this backend.
    """

    def __init__(self, resource: str, *, timeout_s: float, backend: str = "@py") -> None:
        import pyvisa  # noqa: PLC0415 - 250 ms that only VISA users shall pay

        self.resource = resource
        self._visa = pyvisa
        self._backend = backend
        self._is_closed = False
        self._device: MessageBasedResource
        self._open(timeout_s)

    @property
    def is_duplex(self) -> bool:
        """Whether the device may speak without being asked: on a socket it may."""
        return self._socket is not None

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Send all of `data`."""
        if self._may_have_lost_bytes:
            raise LinkLostError(
                f"{self.resource}: half an answer may have been lost with the last timeout; "
                "connect again"
            )
        try:
            self._device.timeout = _milliseconds(timeout_s)
            if self._socket is None:
                self._device.write_raw(data)
            else:
                self._send_pieces(self._socket, data, timeout_s)
        except TransportError:
            raise
        except Exception as error:  # a lost socket comes as OSError, all else as VisaIOError
            raise self._named(error, timeout_s) from error

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        """Receive what is there, or all of `buffer`, or up to a newline; at least one byte."""
        try:
            if self._socket is not None:
                return self._read_what_is_there(self._socket, buffer, timeout_s)
            data = self._read_message(len(buffer), is_whole=is_whole, timeout_s=timeout_s)
        except TransportError:
            raise
        except Exception as error:
            named = self._named(error, timeout_s)
            self._may_have_lost_bytes = self._socket is None
            raise named from error
        if not data:
            # pyvisa-py gives nothing, at once, behind the end of a message, until the next request.
            raise TransportTimeoutError(f"{self.resource}: the device has nothing more to say")
        buffer[: len(data)] = data
        return len(data)

    def clear(self, *, timeout_s: float) -> None:
        """Clear the device; where that is not possible, and for a socket, open it again.

        Raises
        ------
        TransportTimeoutError
            If a serial line is not quiet by then: a long answer at a low rate takes its time.
        """
        if self._is_closed:
            raise LinkLostError(f"{self.resource}: the link is closed")
        deadline = time.monotonic() + timeout_s
        if self._socket is not None:
            drain(self._socket, timeout_s=min(LONGEST_DRAIN_S, timeout_s / 4))
        # A half of the time, so that the other is left for a device that has gone away.
        if self._socket is not None or not self._clear_device(timeout_s / 2):
            self._close_device()
            self._open(max(0.001, deadline - time.monotonic()))
        if isinstance(self._device, self._visa.resources.SerialInstrument):
            self._await_quiet(self._device, deadline)

    def close(self) -> None:
        """Close the resource."""
        self._is_closed = True
        self._close_device()

    def _open(self, timeout_s: float) -> None:
        try:
            # Never closed: the whole process shares it, and closing it closes every link.
            manager = self._visa.ResourceManager(self._backend)
            opened: Any = manager.open_resource(
                self.resource, open_timeout=_milliseconds(timeout_s)
            )
        except Exception as error:  # pyvisa-py raises bare Exception for what it cannot open
            raise TransportError(
                f"{self.resource}: cannot be opened through pyvisa ({self._backend}): "
                f"{_why_not_opened(error)}"
            ) from error
        self._device = opened
        self._socket = _socket_of(opened)
        self._may_have_lost_bytes = False

    def _clear_device(self, timeout_s: float) -> bool:
        with suppress(Exception):  # pyvisa-py raises whatever its protocols do
            self._device.timeout = _milliseconds(timeout_s)
            self._device.clear()
            self._may_have_lost_bytes = False
            return True
        return False

    def _await_quiet(self, line: "SerialInstrument", deadline: float) -> None:
        """Drop what still comes, until nothing does."""
        quiet_s = min(_QUIET_S, (deadline - time.monotonic()) / 2)
        line.timeout = _milliseconds(quiet_s)
        while time.monotonic() + quiet_s <= deadline:
            try:
                self._read(max(1, line.bytes_in_buffer))
            except Exception as error:
                named = self._named(error, quiet_s)
                if isinstance(named, TransportTimeoutError):
                    return
                raise named from error
        raise TransportTimeoutError(f"{self.resource}: the device has not stopped talking in time")

    def _close_device(self) -> None:
        # Where the link is gone already, there is nothing left to close.
        with suppress(OSError, self._visa.Error):
            self._device.close()

    def _send_pieces(self, stream: socket.socket, data: bytes, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        for start in range(0, len(data), _PIECE_BYTES):
            left_s = max(0.0, deadline - time.monotonic())
            _, has_room, _ = select.select([], [stream], [], left_s)
            if not has_room:
                raise TransportTimeoutError(
                    f"{self.resource}: the device took {start} of {len(data)} bytes in "
                    f"{timeout_s:g} s"
                )
            self._device.write_raw(data[start : start + _PIECE_BYTES])

    def _read_what_is_there(
        self, stream: socket.socket, buffer: memoryview, timeout_s: float
    ) -> int:
        stream.settimeout(timeout_s)
        try:
            count = stream.recv_into(buffer)
        except TimeoutError as error:
            raise TransportTimeoutError(
                f"{self.resource}: no answer within {timeout_s:g} s"
            ) from error
        finally:
            stream.settimeout(0)  # as pyvisa-py had it
        if count == 0:
            raise LinkLostError(f"{self.resource}: the device closed the connection")
        return count

    def _read_message(self, count: int, *, is_whole: bool, timeout_s: float) -> bytes:
        self._device.timeout = _milliseconds(timeout_s)
        attribute = self._visa.constants.ResourceAttribute
        self._device.set_visa_attribute(attribute.termchar, _NEWLINE)
        self._device.set_visa_attribute(attribute.termchar_enabled, not is_whole)
        return self._read(count)

    def _read(self, count: int) -> bytes:
        with self._device.ignore_warning(self._visa.constants.StatusCode.success_max_count_read):
            data, _ = self._device.visalib.read(self._device.session, count)
        return data

    def _named(self, error: Exception, timeout_s: float) -> TransportError:
        code: Any = getattr(error, "error_code", None)
        if code == self._visa.constants.StatusCode.error_timeout:
            return TransportTimeoutError(
                f"{self.resource}: no answer within {timeout_s:g} s "
                "(through VISA a closed connection looks the same)"
            )
        return LinkLostError(f"{self.resource}: the link is lost: {error}")


def _socket_of(opened: Any) -> socket.socket | None:
    """Return the socket below a ``::SOCKET`` resource of pyvisa-py, None for all else."""
    sessions = getattr(opened.visalib, "sessions", {})
    interface = getattr(sessions.get(opened.session), "interface", None)
    return interface if isinstance(interface, socket.socket) else None


def _why_not_opened(error: Exception) -> str:
    """Return the reason that pyvisa hides below its own, where there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused, nobody listens there"
        if isinstance(cause, socket.gaierror):
            return f"unknown host: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return str(error)


def _milliseconds(timeout_s: float) -> int:
    return max(1, int(timeout_s * 1000))
