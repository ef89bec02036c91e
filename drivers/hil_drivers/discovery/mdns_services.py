"""Looking for instruments that announce themselves on the network (RFC 6762 and 6763).

LXI devices announce each way in as a service of its own: ``_hislip._tcp`` and ``_scpi-raw._tcp``
can be opened; ``_lxi._tcp`` is a web page, told where nothing else of its host is announced. Their
text records say who the device is.
"""

import ipaddress
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hil.core.legible import cut_short, printable
from hil_drivers.discovery.found_device import Finds, FoundDevice, Outcome, Search

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

MDNS_SEARCH = "mDNS"
_HISLIP, _RAW, _LXI = "_hislip._tcp.local.", "_scpi-raw._tcp.local.", "_lxi._tcp.local."
_SERVICES = (_HISLIP, _RAW, _LXI)
_LONGEST_ANSWER_S = 1.0
"""How long details of a service are waited for; its announcement nearly always brings them."""
_TEXT_NAMES = ("Manufacturer", "Model", "SerialNumber", "FirmwareVersion")


def find_announced(*, listen_s: float, interfaces: Sequence[str] | None = None) -> Finds:
    """Listen for announcements; questions go out by multicast, devices are not connected to.

    Parameters
    ----------
    listen_s
        How long to listen.
    interfaces
        Addresses of the network interfaces to listen on; all where None.
    """
    try:
        import zeroconf  # noqa: PLC0415 - an extra
    except ImportError:
        detail = "pip install 'aimc-hil[discovery]' to find what announces itself on the network"
        return _without(Outcome.MISSING, detail)
    choice = zeroconf.InterfaceChoice.All if interfaces is None else list(interfaces)
    try:
        listener = zeroconf.Zeroconf(interfaces=choice)
    except OSError as error:
        return _without(Outcome.FAILED, f"no multicast on this network: {error.strerror or error}")
    try:
        services = _listen(listener, listen_s)
    finally:
        listener.close()
    devices = [device for kind, info in services if (device := _device(kind, info)) is not None]
    return Finds(
        search=Search(name=MDNS_SEARCH, outcome=Outcome.DONE),
        devices=tuple(_without_web_pages(devices)),
    )


def _without(outcome: Outcome, detail: str) -> Finds:
    return Finds(search=Search(name=MDNS_SEARCH, outcome=outcome, detail=detail))


def _listen(listener: "Zeroconf", listen_s: float) -> list[tuple[str, "ServiceInfo"]]:
    from zeroconf import ServiceBrowser, ServiceStateChange  # noqa: PLC0415 - an extra

    names: dict[tuple[str, str], None] = {}
    guard = threading.Lock()

    def heard(
        zeroconf: object,  # the library names its arguments
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        with guard:
            if state_change is ServiceStateChange.Removed:
                names.pop((service_type, name), None)
            else:
                names[service_type, name] = None

    browser = ServiceBrowser(listener, list(_SERVICES), handlers=[heard])
    time.sleep(listen_s)
    browser.cancel()
    with guard:
        found = sorted(names)
    deadline = time.monotonic() + _LONGEST_ANSWER_S
    services = []
    for kind, name in found:
        left_ms = max(1.0, 1e3 * (deadline - time.monotonic()))
        info = listener.get_service_info(kind, name, timeout=int(left_ms))
        if info is not None:
            services.append((kind, info))
    return services


def _device(kind: str, info: "ServiceInfo") -> FoundDevice | None:
    host = _host(info.parsed_scoped_addresses())
    if host is None or not info.port:
        return None
    instance = printable(info.name.removesuffix(f".{kind}"))
    server = printable((info.server or "").rstrip("."))
    words = announced_identity(info.properties)
    parts = [f"announced as {cut_short(instance)}", server, words]
    return FoundDevice(
        resource=_resource(kind, host, info.port),
        found_by=(MDNS_SEARCH,),
        description=", ".join(filter(None, parts)),
        detail=f"web page http://{host}:{info.port}/ names its addresses" if kind == _LXI else "",
    )


def announced_identity(texts: Mapping[bytes, bytes | None]) -> str:
    """Return who a text record says the device is, empty where it says nothing.

    Examples
    --------
    >>> announced_identity({b"Manufacturer": b"ACME", b"model": b"M1"})
    'ACME M1'
    """
    by_name = {name.decode("ascii", "replace").lower(): value for name, value in texts.items()}
    values = (by_name.get(name.lower()) or b"" for name in _TEXT_NAMES)
    return cut_short(
        printable(" ".join(filter(None, (v.decode("utf-8", "replace") for v in values))))
    )


def _host(addresses: Sequence[str]) -> str | None:
    """Return the address to connect to: IPv4 where there is one."""
    for address in sorted(addresses, key=lambda text: ":" in text):
        try:
            number = ipaddress.ip_address(address.split("%")[0])
        except ValueError:
            continue
        if not number.is_unspecified:
            return f"[{address}]" if number.version == 6 else address
    return None


def _resource(kind: str, host: str, port: int) -> str:
    if kind == _HISLIP:
        return f"TCPIP0::{host}::hislip0,{port}::INSTR"
    return f"TCPIP0::{host}::{port}::SOCKET" if kind == _RAW else ""


def _without_web_pages(devices: Sequence[FoundDevice]) -> list[FoundDevice]:
    """Leave out the web pages of devices that are found by a way in."""
    hosts = {device.resource.split("::")[1] for device in devices if device.resource}
    return [
        device
        for device in devices
        if device.resource or device.detail.split("/")[2].rsplit(":", 1)[0] not in hosts
    ]
