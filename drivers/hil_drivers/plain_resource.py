"""One spelling for all resource strings of one place, as far as that shows without opening it."""

import ipaddress
import os
import re
import socket

from hil.core.errors import TransportError
from hil_drivers.serial_address import SerialAddress, is_serial
from hil_drivers.transport_driver import is_url

_SERIAL = re.compile(r"ASRL(?P<path>/.+?)(::INSTR)?", re.IGNORECASE)
_NETWORK = re.compile(
    r"TCPIP\d*::(?P<host>\[[^\]]+\]|[^:\s]+)(?P<rest>(::[^:\s]+)*)", re.IGNORECASE
)
_OWN_HOST = "127.0.0.1"
_OWN_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
_HISLIP_PORT = ",4880"


def plain_resource(resource: str) -> str:
    """Return a resource in one spelling; two with the same lead to the same device.

    Device files are followed through their links, numbers of network interfaces and baud rates
    left out, and addresses written with dots. A host's name is not looked up.

    Examples
    --------
    >>> plain_resource("tcpip::localhost.::05025::socket")
    'TCPIP::127.0.0.1::5025::SOCKET'
    >>> plain_resource("TCPIP1::0x7f000001::inst0::INSTR")
    'TCPIP::127.0.0.1'
    """
    if is_serial(resource):
        try:
            return _device_file(SerialAddress.parse(resource).path)
        except TransportError:
            return resource
    if is_url(resource):
        return resource
    if serial := _SERIAL.fullmatch(resource):
        return _device_file(serial["path"])
    if network := _NETWORK.fullmatch(resource):
        rest = network["rest"].upper().split("::")[1:]
        return "::".join(("TCPIP", plain_host(network["host"]), *_plain_rest(rest)))
    interface, *rest = resource.upper().split("::")
    plain = [interface if interface[-1:].isdigit() else f"{interface}0", *rest]
    return "::".join(plain[:-1] if rest and rest[-1] == "INSTR" else plain)


def plain_host(host: str) -> str:
    """Return a host in one spelling.

    Examples
    --------
    >>> [plain_host(host) for host in ("127.1", "[::1]", "0x7F.1", "Bench.lab.", "[FE80:0::1]")]
    ['127.0.0.1', '127.0.0.1', '127.0.0.1', 'bench.lab', 'fe80::1']
    """
    name = host.strip("[]").rstrip(".").lower()
    if name in _OWN_NAMES or name.endswith(".localhost"):
        return _OWN_HOST
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv4Address(
            socket.inet_aton(name)
        )
    except OSError:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    # What has no address of its own, and version 6 of one's own, lead to the same host.
    is_own = address.is_unspecified or (address.version == 6 and address.is_loopback)
    return _OWN_HOST if is_own else str(address)


def _device_file(path: str) -> str:
    return f"ASRL{os.path.realpath(path)}"


def _plain_rest(rest: list[str]) -> list[str]:
    """Return what stands behind a host, without what VISA lets be left out."""
    if rest[-1:] == ["SOCKET"]:
        return [*(port.lstrip("0") for port in rest[:-1]), "SOCKET"]
    named = [name.removesuffix(_HISLIP_PORT) for name in rest if name != "INSTR"]
    return [] if named == ["INST0"] else named
