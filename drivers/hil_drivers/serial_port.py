"""A serial line as `Transport`: reliable packets over a port that pyserial opens.

The line may lose, change, double or delay bytes: `packet_end` mends that. Devices that speak plain
SCPI on their serial line are opened through VISA instead, as ``ASRL/dev/ttyUSB0::INSTR``.

Once the port is open, its file descriptor is read and written here: pyserial's ``read`` waits for
all bytes asked for or for a time that cannot be changed without setting the port up again.
"""

import errno
import math
import os
import secrets
import select
import time
from contextlib import suppress
from typing import Any

from hil.core.errors import LinkLostError, TransportError, TransportTimeoutError
from hil_drivers.packet_end import VERSION, PacketEnd
from hil_drivers.packet_streams import LARGEST_WINDOW
from hil_drivers.serial_address import SerialAddress

_BITS_PER_BYTE = 10
"""A start bit, eight data bits, a stop bit."""
_READ_BYTES = 1 << 16
_REOPEN_S = 0.05
"""How often to look whether a port that went away is back."""
_BUSY = {errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK}
_ABSENT = {errno.ENOENT, errno.ENODEV, errno.ENXIO}


def open_serial(resource: str, *, timeout_s: float) -> "SerialTransport":
    """Open a ``serial://`` resource.

    Raises
    ------
    TransportError
        If the string is wrong, or the port cannot be opened.
    TransportTimeoutError
        If the device does not answer in packets.
    """
    return SerialTransport(SerialAddress.parse(resource), resource=resource, timeout_s=timeout_s)


class SerialTransport:
    """An open line, and a conversation in packets over it.

    Parameters
    ----------
    address
        The port.
    resource
        The resource string this stands for, for messages.
    timeout_s
        How long opening may take, the device's answer to the first reset included.
    resend_s
        See `PacketEnd`.

    Raises
    ------
    TransportError
        If the port is absent, busy, or may not be opened.
    TransportTimeoutError
        If the device does not answer in packets.
    """

    is_duplex = True

    def __init__(
        self, address: SerialAddress, *, resource: str, timeout_s: float, resend_s: float = 0.1
    ) -> None:
        self.resource = resource
        self._address = address
        self._end = PacketEnd(
            window=LARGEST_WINDOW,
            resend_s=resend_s,
            bytes_per_s=address.baud / _BITS_PER_BYTE,
        )
        self._unsent = b""
        self._is_closed = False
        self._port: Any = None
        self._why_closed = ""
        # Not select, which takes no more than 1,024 open files.
        self._for_reading = self._for_both = select.poll()
        self._open_port()
        try:
            self.clear(timeout_s=timeout_s)
        except BaseException:
            self.close()
            raise

    @property
    def faults(self) -> dict[str, int]:
        """How often each fault of the line was seen, since it was opened."""
        return {str(fault): count for fault, count in self._end.faults.items()}

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Send all of `data`, as far as the device gives leave; its arrival is seen to later."""
        deadline = time.monotonic() + timeout_s
        rest = memoryview(data)
        while True:
            self._check_conversation()
            rest = rest[self._end.offer(rest) :]
            self._write()
            if not rest and not self._unsent:
                return
            if not self._exchange(deadline):
                raise TransportTimeoutError(
                    f"{self.resource}: the device took {len(data) - len(rest)} of {len(data)} "
                    f"bytes in {timeout_s:g} s"
                )

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        """Receive what is there, at least one byte."""
        deadline = time.monotonic() + timeout_s
        while True:
            count = self._take_what_waits(buffer, deadline)
            if count:
                return count
            self._check_conversation()
            if self._end.has_ended:
                self._write()
                raise LinkLostError(f"{self.resource}: the device ended the conversation")
            if not self._exchange(deadline):
                raise TransportTimeoutError(f"{self.resource}: no answer within {timeout_s:g} s")

    def clear(self, *, timeout_s: float) -> None:
        """Begin a new conversation: nothing sent or received before has any effect on it.

        A port that has gone is opened again, as soon as it is back.
        """
        if self._is_closed:
            raise LinkLostError(f"{self.resource}: the link is closed")
        deadline = time.monotonic() + timeout_s
        self._unsent = b""
        self._end.reset(secrets.randbits(32), time.monotonic())
        while not self._end.is_open:
            try:
                if self._port is None:
                    self._open_port()
                has_time = self._exchange(deadline)
            except LinkLostError:
                self._unsent = b""
                has_time = time.monotonic() < deadline
                time.sleep(_REOPEN_S)
            except TransportError:  # not back yet
                if time.monotonic() >= deadline:
                    raise
                has_time = True
                time.sleep(_REOPEN_S)
            self._check_version()
            if not has_time:
                raise TransportTimeoutError(
                    f"{self.resource}: no packets from the device within {timeout_s:g} s; a "
                    f"device that speaks plain SCPI is opened as ASRL{self._address.path}::INSTR"
                )
        self._write()

    def close(self) -> None:
        """End the conversation and close the port."""
        if self._port is not None and self._end.is_open:
            with suppress(TransportError):
                self._end.finish()
                self._write()
        self._is_closed = True
        self._close_port()

    def _take_what_waits(self, buffer: memoryview, deadline: float) -> int:
        """Fill `buffer` as far as there are bytes, and say what has arrived.

        Not after each piece of a long answer: that would cost more than reading it. A line may be
        readable for ever without carrying an answer: only reads that add to it are followed by one
        more, and none after the deadline.
        """
        count = self._end.take_into(buffer)
        with suppress(LinkLostError):  # what was taken comes first; the next call raises it
            while count:
                has_more = self._poll(0) & select.POLLIN
                if self._end.is_ack_urgent or not has_more:
                    self._write()
                if not has_more or count == len(buffer) or time.monotonic() >= deadline:
                    break
                self._read()
                added = self._end.take_into(buffer[count:])
                count += added
                if not added:
                    break
        return count

    def _exchange(self, deadline: float) -> bool:
        """Write what is due, wait for the line, read it; return whether there was time left."""
        self._write()
        now_s = time.monotonic()
        if now_s >= deadline:
            return False
        due_s = self._end.due_s
        until = deadline if due_s is None else min(deadline, due_s)
        happened = self._poll(math.ceil(1e3 * max(0.0, until - now_s)))
        if happened and happened != select.POLLOUT:
            self._read()
        return True

    def _poll(self, milliseconds: int) -> int:
        """Wait until the line can be read or, where something is unsent, written."""
        self._check_port()
        poll = self._for_both if self._unsent else self._for_reading
        happened = poll.poll(milliseconds)
        return happened[0][1] if happened else 0

    def _read(self) -> None:
        try:
            data = os.read(self._fileno(), _READ_BYTES)
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            self._close_port("the line was hung up; is the cable still in?")
            self._check_port()
        self._end.receive(data, time.monotonic())

    def _write(self) -> None:
        """Write what is due, as far as the port takes it at once."""
        while True:
            self._unsent = self._unsent or self._end.to_send(time.monotonic())
            if not self._unsent:
                return
            try:
                count = os.write(self._fileno(), self._unsent)
            except BlockingIOError:
                return
            except OSError as error:
                raise self._lost(error) from error
            self._unsent = self._unsent[count:]
            if self._unsent:
                return

    def _check_conversation(self) -> None:
        self._check_port()
        if self._end.is_forgotten:
            raise LinkLostError(
                f"{self.resource}: the device knows nothing of this conversation: it has "
                "restarted, or another program uses the line"
            )

    def _check_port(self) -> None:
        if self._port is None:
            raise LinkLostError(f"{self.resource}: {self._why_closed}")

    def _check_version(self) -> None:
        if self._end.other_version is not None:
            raise TransportError(
                f"{self.resource}: the device speaks version {self._end.other_version} of the "
                f"packets: this driver speaks {VERSION}"
            )

    def _fileno(self) -> int:
        self._check_port()
        number: int = self._port.fileno()
        return number

    def _open_port(self) -> None:
        import serial  # noqa: PLC0415 - 20 ms that only users of serial lines shall pay

        path, baud = self._address.path, self._address.baud
        try:
            self._port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise TransportError(f"{self.resource}: {_why_not(error, path, baud)}") from error
        self._for_reading, self._for_both = select.poll(), select.poll()
        self._for_reading.register(self._port, select.POLLIN)
        self._for_both.register(self._port, select.POLLIN | select.POLLOUT)

    def _close_port(self, why: str = "the link is closed") -> None:
        port, self._port, self._why_closed = self._port, None, why
        if port is not None:
            with suppress(OSError):
                port.close()

    def _lost(self, error: Exception) -> LinkLostError:
        self._close_port(f"the link is lost: {getattr(error, 'strerror', None) or error}")
        return LinkLostError(f"{self.resource}: {self._why_closed}")


def _why_not(error: Exception, path: str, baud: int) -> str:
    number = getattr(error, "errno", None)
    if number in _ABSENT:
        return f"there is no {path}; is the adapter plugged in and its driver loaded?"
    if number in (errno.EACCES, errno.EPERM):
        return f"no permission to open {path}; add yourself to the group that owns it (dialout)"
    if number in _BUSY:
        return f"{path} is in use by another program"
    if number == errno.EISDIR or "Inappropriate ioctl" in str(error):
        return f"{path} is no serial port"
    return f"{path} cannot be opened at {baud} baud: {getattr(error, 'strerror', None) or error}"
