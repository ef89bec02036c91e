"""From a resource string to an open `Transport`."""

import re
from enum import StrEnum

from hil.core.errors import TransportError
from hil.core.legible import quoted
from hil_drivers.plugins import PluginError
from hil_drivers.serial_address import SERIAL_FORM
from hil_drivers.tcp import TcpTransport
from hil_drivers.transport import Transport
from hil_drivers.transport_driver import find_transport_driver, is_url, scheme_of
from hil_drivers.visa import VisaTransport

_SOCKET = re.compile(
    r"TCPIP\d*::(?P<host>[^:\s]+|\[[^\]]+\])::(?P<port>\d+)::SOCKET", re.IGNORECASE
)
_VISA = re.compile(r"(TCPIP|ASRL|USB|GPIB|VXI|PXI)\w*\S*::(INSTR|RAW)", re.IGNORECASE)

_ADDRESS = re.compile(
    r"(tcp://)?(?P<host>[\w.-]+|\[[^\]\s]+\]):(?P<port>[0-9]{1,5})/?", re.IGNORECASE
)
_DEVICE_FILE = re.compile(r"/dev/[^\s?]*[^\s?/]")

_HIGHEST_PORT = 65535

FORMS = (
    f"TCPIP0::HOST::PORT::SOCKET for a raw socket (port 1 to 65535), {SERIAL_FORM} for a serial "
    "line, a URL of another transport that is installed, or another VISA resource string ending in "
    "::INSTR or ::RAW"
)
"""What a resource string may look like."""


class TransportChoice(StrEnum):
    """Who carries the bytes."""

    AUTO = "auto"
    """What the resource asks for: a raw socket, the transport of a URL's scheme, else VISA."""
    TCP = "tcp"
    """A raw socket."""
    VISA = "visa"
    """pyvisa with the pyvisa-py backend."""


def check_resource(resource: str) -> None:
    """Raise ValueError if a string is no resource; opens nothing."""
    meant = _likely_meant(resource)
    if meant is not None:
        raise ValueError(f"{quoted(resource)} is no resource: did you mean {meant}?")
    if is_url(resource):
        try:
            find_transport_driver(scheme_of(resource)).check_resource(resource)
        except PluginError as error:
            raise ValueError(f"{quoted(resource)} is no resource: {error}; use {FORMS}") from error
    else:
        check_visa_resource(resource)


def check_visa_resource(resource: str) -> None:
    """Raise ValueError if a string is no VISA resource, a raw socket included."""
    raw = _SOCKET.fullmatch(resource)
    is_known = 1 <= int(raw["port"]) <= _HIGHEST_PORT if raw else _VISA.fullmatch(resource)
    if not is_known:
        raise ValueError(f"{quoted(resource)} is no resource: use {FORMS}")


def _likely_meant(resource: str) -> str | None:
    """Return the resource of an address or a device file that is written as elsewhere."""
    address = _ADDRESS.fullmatch(resource)
    if address and 1 <= int(address["port"]) <= _HIGHEST_PORT:
        return f"TCPIP0::{address['host']}::{address['port']}::SOCKET"
    return f"serial://{resource}" if _DEVICE_FILE.fullmatch(resource) else None


def is_resource(resource: str) -> bool:
    """Tell whether a string looks like a resource that can be opened."""
    try:
        check_resource(resource)
    except ValueError:
        return False
    return True


def open_transport(
    resource: str, *, timeout_s: float, choice: TransportChoice = TransportChoice.AUTO
) -> Transport:
    """Open the link to a device.

    Parameters
    ----------
    resource
        ``TCPIP0::HOST::PORT::SOCKET``, ``serial:///dev/NAME?baud=RATE`` or the URL of another
        transport that is installed, or another VISA resource string.
    timeout_s
        How long opening may take, in seconds.
    choice
        Who carries the bytes.

    Raises
    ------
    TransportError
        If the string is no resource, or the device cannot be reached.
    """
    try:
        check_resource(resource)
    except ValueError as error:
        raise TransportError(str(error)) from error
    if is_url(resource):
        return _open_url(resource, timeout_s=timeout_s, choice=choice)
    raw = _SOCKET.fullmatch(resource)
    if choice is TransportChoice.VISA or (choice is TransportChoice.AUTO and not raw):
        return VisaTransport(resource, timeout_s=timeout_s)
    if raw is None:
        raise TransportError(f"{resource!r} is no raw socket: use TCPIP0::HOST::PORT::SOCKET")
    return TcpTransport(
        raw["host"].strip("[]"), int(raw["port"]), resource=resource, timeout_s=timeout_s
    )


def _open_url(resource: str, *, timeout_s: float, choice: TransportChoice) -> Transport:
    if choice is not TransportChoice.AUTO:
        raise TransportError(
            f"{resource!r} has a transport of its own, which transport = {choice.value!r} is not: "
            "leave transport out; for a serial line in plain VISA name it ASRL/dev/NAME::INSTR"
        )
    return find_transport_driver(scheme_of(resource)).open_transport(resource, timeout_s=timeout_s)
