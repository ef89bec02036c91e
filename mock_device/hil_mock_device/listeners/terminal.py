"""A pseudo-terminal as the far end of a serial cable: a device file under a path that stays."""

import array
import asyncio
import fcntl
import os
import select
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hil.core.errors import ConfigError, LinkLostError, Problem

_READ_BYTES = 1 << 16
_LOOK_S = 0.02
"""How often to look whether somebody has opened the terminal: nothing else tells."""


class Terminal:
    """A pseudo-terminal that clients open through a symbolic link.

    Parameters
    ----------
    path
        Where to put the link. One that is left over, to a terminal that has gone, is replaced.

    Raises
    ------
    ConfigError
        If the link cannot be made there, or leads to a terminal that is still in use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.is_symlink():
            if not str(path.readlink()).startswith("/dev/"):
                raise _refused(path, "is a link to something else than a terminal")
            if path.exists():  # a pseudo-terminal is there only as long as somebody serves it
                raise _refused(
                    path,
                    f"leads to {path.readlink()}, which is in use: end the mock that serves it, "
                    "or use another path",
                )
        elif path.exists():
            raise _refused(path, "exists already")
        self._plug_in()

    def hang_up(self) -> None:
        """Pull the plug and put it in again: a new terminal under the same path."""
        os.close(self._number)
        self._plug_in()

    def close(self) -> None:
        """Take the terminal away."""
        os.close(self._number)
        with suppress(OSError):
            if str(self._path.readlink()) == self._name:
                self._path.unlink()

    async def wait_for_client(self) -> None:
        """Return once somebody has the terminal open."""
        # What the last one left, settings and unread answers, is none of the next one's business.
        termios.tcflush(self._number, termios.TCOFLUSH)
        tty.setraw(self._number, termios.TCSANOW)
        poll = select.poll()
        poll.register(self._number, 0)
        while poll.poll(0):
            await asyncio.sleep(_LOOK_S)

    async def read(self, most: int = _READ_BYTES) -> bytes:
        """Return what has come, at least one byte.

        Raises
        ------
        LinkLostError
            If the client has closed the terminal.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._number, min(most, _READ_BYTES))
            except BlockingIOError:
                await _until(loop.add_reader, loop.remove_reader, self._number)
            except OSError as error:  # EIO
                raise LinkLostError(f"{self._path}: the client has gone") from error

    async def write(self, data: bytes) -> None:
        """Write all bytes, as fast as the client reads them."""
        loop = asyncio.get_running_loop()
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._number, rest) :]
            except BlockingIOError:
                await _until(loop.add_writer, loop.remove_writer, self._number)
            except OSError as error:
                raise LinkLostError(f"{self._path}: the client has gone") from error

    async def drain(self, *, wait_s: float) -> None:
        """Wait until the client has read everything, but no longer than `wait_s`."""
        number = os.open(self._name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        waiting = array.array("i", [1])
        try:
            async with asyncio.timeout(wait_s):
                while waiting[0]:
                    await asyncio.sleep(_LOOK_S)
                    fcntl.ioctl(number, termios.FIONREAD, waiting)
        except TimeoutError:
            pass
        finally:
            os.close(number)

    def _plug_in(self) -> None:
        self._number, client = os.openpty()
        self._name = os.ttyname(client)
        tty.setraw(client)
        os.set_blocking(self._number, False)
        os.close(client)  # from now on its absence shows
        # Renaming replaces the old link at once: nobody finds none.
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            beside.symlink_to(self._name)
            beside.replace(self._path)
        except OSError as error:
            os.close(self._number)
            raise _refused(self._path, f"cannot be made: {error.strerror}") from error


async def _until(add: Callable[..., None], remove: Callable[[int], bool], number: int) -> None:
    ready = asyncio.Event()
    add(number, ready.set)
    try:
        await ready.wait()
    finally:
        remove(number)


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(f"serial line {path}", [Problem("", why)])
