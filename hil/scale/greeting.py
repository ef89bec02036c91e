"""What a Dask scheduler says first to whoever connects, heard with a deadline.

The library waits for it without one, and takes whatever another server says for the size of a
message that it makes room for. So it is told of an address only when a scheduler has greeted there.
"""

import socket
import time
from urllib.parse import urlsplit

from hil.core.errors import HilError

_SIZE_BYTES = 8
"""A message begins with its size, unsigned, lowest byte first: distributed/comm/tcp.py."""
_LONGEST_BYTES = 1 << 20
"""A greeting names versions and ways of compression, in some hundred bytes."""


class NoSchedulerError(HilError):
    """Nobody answers at an address, or somebody else than a scheduler."""


def check_greeting(address: str, *, within_s: float) -> None:
    """Raise `NoSchedulerError` unless a scheduler greets at ``tcp://HOST:PORT`` in time.

    Of an address with another protocol nothing is known before its own greeting, and nothing said.
    """
    place = urlsplit(address)
    if place.scheme != "tcp":
        return
    deadline_s = time.monotonic() + within_s
    try:
        with socket.create_connection((place.hostname, place.port), within_s) as link:
            size = int.from_bytes(_received(link, _SIZE_BYTES, deadline_s), "little")
            if 0 < size <= _LONGEST_BYTES:
                _received(link, size, deadline_s)
                return
    except TimeoutError as error:
        raise NoSchedulerError(
            f"nobody greeted within {within_s:g} s: no Dask scheduler listens there, or it hangs"
        ) from error
    except (OSError, ValueError, OverflowError) as error:  # the others: no port, or no host name
        reason = getattr(error, "strerror", None) or error
        raise NoSchedulerError(f"no scheduler answers there ({reason})") from error
    raise NoSchedulerError("somebody answers there who is no Dask scheduler")


def _received(link: socket.socket, size: int, deadline_s: float) -> bytes:
    content = b""
    while len(content) < size:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        link.settimeout(left_s)
        piece = link.recv(size - len(content))
        if not piece:
            raise ConnectionError("it hung up without a greeting")
        content += piece
    return content
