"""Asking a device who it is, once, with a short deadline, and leaving it as it was."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hil.core.errors import HilError, LinkLostError, TransportError, TransportTimeoutError
from hil.core.legible import printable, quoted
from hil_drivers.discovery.found_device import State
from hil_drivers.open_transport import TransportChoice, open_transport
from hil_drivers.serial_address import SerialAddress
from hil_drivers.serial_port import SerialTransport
from hil_drivers.transport import Transport
from hil_drivers.visa import VisaTransport

_QUESTION = b"*IDN?\n"
_LONGEST_IDENTITY = 1024
"""IEEE 488.2-1992, 10.14.3 allows 72 characters; nobody keeps to that."""
_TAKEN = ("VI_ERROR_RSRC_BUSY", "VI_ERROR_RSRC_LOCKED", "VI_ERROR_NCIC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What asking a device has led to."""

    state: State
    """How it ended."""
    identity: str | None = None
    """Its answer."""
    detail: str = ""
    """Why there is none."""


def ask_network(resource: str, *, timeout_s: float, backend: str | None = None) -> Asked:
    """Ask a VISA resource.

    Parameters
    ----------
    resource
        A resource string of `open_transport`.
    timeout_s
        How long opening may take, and how long the answer.
    backend
        pyvisa's name of the library that found it; where None, `open_transport` chooses.
    """
    try:
        if backend is None or resource.upper().endswith("::SOCKET"):
            transport = open_transport(resource, timeout_s=timeout_s, choice=TransportChoice.AUTO)
        else:
            transport = VisaTransport(resource, timeout_s=timeout_s, backend=backend)
    except HilError as error:
        return _not_opened(error)
    try:
        return ask(transport, timeout_s=timeout_s)
    finally:
        with suppress(Exception):  # a vendor's library may object to closing what is gone
            transport.close()


def ask(transport: Transport, *, timeout_s: float) -> Asked:
    """Ask over an open link, in plain SCPI."""
    deadline = time.monotonic() + timeout_s
    heard = b""
    buffer = bytearray(_LONGEST_IDENTITY)
    try:
        transport.send(_QUESTION, timeout_s=timeout_s)
        while b"\n" not in heard and len(heard) < _LONGEST_IDENTITY:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            with memoryview(buffer) as view:
                room = view[: _LONGEST_IDENTITY - len(heard)]
                count = transport.receive_into(room, is_whole=False, timeout_s=left_s)
            heard += bytes(buffer[:count])
    except TransportTimeoutError:
        pass
    except LinkLostError:
        detail = "hung up without an answer; it may be serving another client"
        return Asked(state=State.BUSY, detail=detail)
    except HilError as error:
        return _not_opened(error)
    return judge(heard, timeout_s=timeout_s)


def judge(heard: bytes, *, timeout_s: float) -> Asked:
    r"""Tell what an answer to ``*IDN?`` is worth.

    Examples
    --------
    >>> judge(b"ACME,M1,7,1.0\r\n", timeout_s=1).identity
    'ACME,M1,7,1.0'
    >>> judge(b"login: ", timeout_s=1).state
    <State.STRANGE: 'no identity'>
    """
    if not heard:
        detail = f"no answer to *IDN? within {timeout_s:g} s; it may be busy, or no instrument"
        return Asked(state=State.SILENT, detail=detail)
    line, newline, _ = heard.partition(b"\n")
    text = line.decode("ascii", "replace").strip()
    if newline and text.count(",") == 3 and text.isprintable():
        return Asked(state=State.IDENTIFIED, identity=printable(text))
    shown = quoted(text)
    return Asked(state=State.STRANGE, detail=f"answered {shown} to *IDN?")


def ask_serial(path: str, *, baud: int, timeout_s: float) -> tuple[Asked, bool]:
    """Ask what is at a serial port, in plain SCPI and in packets; tell whether it speaks packets.

    Both are tried: plain SCPI first, because a plain device would take the bytes of a packet for
    the beginning of the question.
    """
    plain = _ask_plain_line(path, baud=baud, timeout_s=timeout_s)
    if plain.state in (State.UNREACHABLE, State.BUSY):
        return plain, False
    try:
        address = SerialAddress(path, baud)
        line = SerialTransport(address, resource=address.resource, timeout_s=timeout_s)
    except HilError:
        return plain, False
    try:
        packed = ask(line, timeout_s=timeout_s)
    finally:
        line.close()
    return (packed if packed.state is State.IDENTIFIED else plain), True


def _ask_plain_line(path: str, *, baud: int, timeout_s: float) -> Asked:
    import serial  # noqa: PLC0415 - 20 ms, for who asks serial ports only

    try:
        port: Any = serial.Serial(
            path, baud, timeout=timeout_s, write_timeout=timeout_s, exclusive=True
        )
    except (OSError, ValueError) as error:  # SerialException is an OSError
        return _port_not_opened(path, error)
    try:
        port.reset_input_buffer()
        port.write(_QUESTION)
        heard = bytes(port.read_until(b"\n", _LONGEST_IDENTITY))
    except OSError as error:
        return Asked(state=State.UNREACHABLE, detail=f"{path}: {error}")
    finally:
        port.close()
    return judge(heard, timeout_s=timeout_s)


def _port_not_opened(path: str, error: Exception) -> Asked:
    words = str(error)
    if "busy" in words.lower() or "exclusively lock" in words.lower():
        return Asked(state=State.BUSY, detail=f"{path} is in use by another program")
    return Asked(state=State.UNREACHABLE, detail=printable(words))


def _not_opened(error: Exception) -> Asked:
    words = printable(str(error))
    cause = f"{error} {error.__cause__}"
    taken = isinstance(error, TransportError) and any(word in cause for word in _TAKEN)
    return Asked(state=State.BUSY if taken else State.UNREACHABLE, detail=words)
