"""From a resource string to an open `Transport`."""

import re
from enum import StrEnum

from hil.core.errors import TransportError
from hil_drivers.serial_address import SERIAL_FORM, is_serial
from hil_drivers.tcp import TcpTransport
from hil_drivers.transport import Transport
from hil_drivers.visa import VisaTransport

_SOCKET = re.compile(
    r"TCPIP\d*::(?P<host>[^:\s]+|\[[^\]]+\])::(?P<port>\d+)::SOCKET", re.IGNORECASE
)
_VISA = re.compile(r"(TCPIP|ASRL|USB|GPIB|VXI|PXI)\w*\S*::(INSTR|RAW)", re.IGNORECASE)

_HIGHEST_PORT = 65535

FORMS = (
    f"TCPIP0::HOST::PORT::SOCKET for a raw socket (port 1 to 65535), {SERIAL_FORM} for a serial "
    "line, or another VISA resource string ending in ::INSTR or ::RAW"
)
"""What a resource string may look like."""


class TransportChoice(StrEnum):
    """Who carries the bytes."""

    AUTO = "auto"
    """A raw socket or a serial line where the resource is one, else VISA."""
    TCP = "tcp"
    """A raw socket."""
    VISA = "visa"
    """pyvisa with the pyvisa-py backend."""


def is_resource(resource: str) -> bool:
    """Tell whether a string looks like a resource that can be opened."""
    socket_resource = _SOCKET.fullmatch(resource)
    if socket_resource is not None:
        return 1 <= int(socket_resource["port"]) <= _HIGHEST_PORT
    return is_serial(resource) or _VISA.fullmatch(resource) is not None


def open_transport(
    resource: str, *, timeout_s: float, choice: TransportChoice = TransportChoice.AUTO
) -> Transport:
    """Open the link to a device.

    Parameters
    ----------
    resource
        ``TCPIP0::HOST::PORT::SOCKET``, ``serial:///dev/NAME?baud=RATE``, or another VISA resource
        string.
    timeout_s
        How long opening may take, in seconds.
    choice
        Who carries the bytes.

    Raises
    ------
    TransportError
        If the string is no resource, or the device cannot be reached.
    """
    socket_resource = _SOCKET.fullmatch(resource)
    if not is_resource(resource):
        raise TransportError(f"{resource!r} is no resource: use {FORMS}")
    if is_serial(resource):
        return _open_serial(resource, timeout_s=timeout_s, choice=choice)
    if choice is TransportChoice.VISA or (choice is TransportChoice.AUTO and not socket_resource):
        return VisaTransport(resource, timeout_s=timeout_s)
    if socket_resource is None:
        raise TransportError(f"{resource!r} is no raw socket: use TCPIP0::HOST::PORT::SOCKET")
    return TcpTransport(
        socket_resource["host"].strip("[]"),
        int(socket_resource["port"]),
        resource=resource,
        timeout_s=timeout_s,
    )


def _open_serial(resource: str, *, timeout_s: float, choice: TransportChoice) -> Transport:
    if choice is not TransportChoice.AUTO:
        raise TransportError(
            f"{resource!r} is a serial line with packets, which transport = {choice.value!r} does "
            "not carry: leave transport out, or name the line ASRL/dev/NAME::INSTR for plain VISA"
        )
    from hil_drivers.serial_port import open_serial  # noqa: PLC0415 - pyserial, for its users only

    return open_serial(resource, timeout_s=timeout_s)
