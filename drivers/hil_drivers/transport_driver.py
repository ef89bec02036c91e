"""Transports as plug-ins: what an entry point of the group ``hil.transports`` leads to.

A transport's name is the scheme of its resources: ``NAME://...``. VISA resource strings have none;
those of a raw socket are carried by ``tcp``, all others by ``visa``.
"""

import re
from typing import Protocol, cast

from hil_drivers.plugins import PluginGroup, load_plugin
from hil_drivers.transport import Transport

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


class TransportDriver(Protocol):
    """What opens links of a kind."""

    @property
    def api_version(self) -> int:
        """Version of this interface that it was written for."""
        ...

    @property
    def summary(self) -> str:
        """One line on what it carries bytes over."""
        ...

    @property
    def resource_form(self) -> str:
        """What a resource string of it looks like."""
        ...

    def check_resource(self, resource: str) -> None:
        """Raise ValueError if a string is no resource of it; opens nothing."""
        ...

    def open_transport(self, resource: str, *, timeout_s: float) -> Transport:
        """Open a link.

        Raises
        ------
        TransportError
            If the device cannot be reached within the timeout.
        """
        ...


def is_url(resource: str) -> bool:
    """Tell whether a resource names its transport: ``NAME://...``."""
    return _SCHEME.match(resource) is not None


def scheme_of(resource: str) -> str:
    """Return the name of the transport that carries a resource.

    Examples
    --------
    >>> scheme_of("serial:///dev/ttyUSB0"), scheme_of("TCPIP::10.0.0.2::5025::SOCKET")
    ('serial', 'tcp')
    >>> scheme_of("TCPIP::10.0.0.2::hislip0::INSTR")
    'visa'
    """
    scheme = _SCHEME.match(resource)
    if scheme is not None:
        return scheme[1].lower()
    return "tcp" if resource.upper().endswith("::SOCKET") else "visa"


def find_transport_driver(name: str) -> TransportDriver:
    """Return the transport of a name.

    Raises
    ------
    PluginError
        If there is none, or it cannot be used.
    """
    return cast("TransportDriver", load_plugin(PluginGroup.TRANSPORTS, name))
