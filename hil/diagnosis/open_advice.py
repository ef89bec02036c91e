"""What to do about a link that does not open, by what stopped it."""

import errno
import socket
from collections.abc import Iterator

from hil.core.errors import TransportTimeoutError

_HINT = "; check that "
"""Behind this our errors say what to check; a finding says it in its advice."""
_LIBRARIES = {
    "pyusb": "pip install pyusb, and install libusb by the system's package manager",
    "gpib": "install linux-gpib, or pip install gpib-ctypes; or use another VISA library",
}
"""Word in pyvisa-py's message to what is missing."""
_BY_NUMBER = {
    errno.ECONNREFUSED: "the host is there, and nothing listens on that port: check the port, and "
    "that the device's server runs",
    errno.ENOENT: "see hil devices for the ports there are; is the adapter plugged in?",
    errno.EACCES: "add yourself to the group that owns the device file (dialout), and log in again",
    errno.EBUSY: "end the other program that has it open",
    errno.EHOSTUNREACH: "no network leads there: check the address, cable and this computer's "
    "network settings",
}
_BY_NUMBER[errno.ENETUNREACH] = _BY_NUMBER[errno.EHOSTUNREACH]
_BY_NUMBER[errno.EPERM] = _BY_NUMBER[errno.EACCES]


def open_advice(error: BaseException) -> str:
    """Return what to do about an error of opening a link."""
    for cause in _causes(error):
        words = str(cause).lower()
        if isinstance(cause, socket.gaierror | UnicodeError):
            return "check how the host's name is spelled, or give its IP address"
        if isinstance(cause, OSError) and cause.errno in _BY_NUMBER:
            return _BY_NUMBER[cause.errno]
        for library, remedy in _LIBRARIES.items():
            if "please install" in words and library in words:
                return remedy
    if isinstance(error, TransportTimeoutError):
        return (
            "check address, power and cable; a firewall may drop what is sent, and a longer "
            "--timeout helps a network that is slow"
        )
    return "see hil devices for what there is"


def without_hint(error: BaseException) -> str:
    """Return an error's message without what it says to check."""
    return str(error).partition(_HINT)[0]


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
