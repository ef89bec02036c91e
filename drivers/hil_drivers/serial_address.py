"""``serial://`` resource strings."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from hil.core.errors import TransportError
from hil.core.legible import quoted

SERIAL_FORM = "serial:///dev/ttyUSB0?baud=115200"
"""What a serial resource looks like."""

DEFAULT_BAUD = 115_200
LOWEST_BAUD, HIGHEST_BAUD = 300, 12_000_000
"""The highest is USB full speed."""

_SCHEME = "serial://"


@dataclass(frozen=True, slots=True)
class SerialAddress:
    """Which port, and how fast."""

    path: str
    """Device file, or a link to one."""
    baud: int = DEFAULT_BAUD
    """Bits per second, 300 to 12,000,000."""

    @classmethod
    def parse(cls, resource: str) -> "SerialAddress":
        """Read ``serial:///dev/ttyUSB0?baud=115200``.

        Raises
        ------
        TransportError
            If it is none; the message names what is wrong.

        Examples
        --------
        >>> SerialAddress.parse("serial:///dev/ttyUSB0")
        SerialAddress(path='/dev/ttyUSB0', baud=115200)
        """
        if not resource.startswith(_SCHEME):
            raise TransportError(f"{quoted(resource)} is no serial resource: use {SERIAL_FORM}")
        path, _, query = resource.removeprefix(_SCHEME).partition("?")
        path = unquote(path)
        if not path.startswith("/") or path.endswith("/") or "\0" in path:
            raise TransportError(
                f"{quoted(resource)}: the path {quoted(path)} must be that of a device file, from "
                f"the root, as in {SERIAL_FORM}"
            )
        baud = DEFAULT_BAUD
        for option in query.split("&") if query else []:
            name, _, value = option.partition("=")
            if name != "baud":
                raise TransportError(
                    f"{quoted(resource)}: unknown option {quoted(name)}: there is only baud, as "
                    f"in {SERIAL_FORM}"
                )
            baud = _read_baud(resource, value)
        return cls(path, baud)

    @property
    def resource(self) -> str:
        """The resource string of this port."""
        return f"{_SCHEME}{self.path}?baud={self.baud}"


def is_serial(resource: str) -> bool:
    """Tell whether a string means to be a serial resource, whatever is wrong with it."""
    return resource.startswith(_SCHEME)


def _read_baud(resource: str, value: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", value) or not LOWEST_BAUD <= int(value) <= HIGHEST_BAUD:
        raise TransportError(
            f"{quoted(resource)}: baud={value} must be a number of {LOWEST_BAUD} to {HIGHEST_BAUD}"
        )
    return int(value)
