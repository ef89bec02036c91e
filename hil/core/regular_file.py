"""Opening a file of the user's: neither a FIFO nor an endless file must be waited for."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from hil.core.errors import ConfigError, Problem

_PIECE_BYTES = 1 << 20
"""Of what is read at a time from a file that does not say how large it is."""


def open_regular_file(path: Path) -> BinaryIO:
    """Open a file for reading, so that no read of it waits.

    Raises
    ------
    ConfigError
        If it is missing or unreadable, or no regular file.
    """
    try:
        # Before it is opened: opening some devices does something.
        reason = _why_irregular(path.stat().st_mode)
        if not reason:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            reason = _why_irregular(os.fstat(descriptor).st_mode)
            if not reason:
                return os.fdopen(descriptor, "rb")
            os.close(descriptor)
    except FileNotFoundError:
        reason = "no such file"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:  # a NUL in the path
        reason = str(error)
    raise ConfigError(str(path), [Problem("", reason)])


def read_regular_file(path: Path, *, largest: int) -> bytes:
    """Return the content of a file of at most `largest` bytes.

    Raises
    ------
    ConfigError
        If it is missing or unreadable, no regular file, or larger.
    """
    content = bytearray()
    with open_regular_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            # Unbuffered, and not as long as it says: the kernel's own files say 0.
            while size <= largest and len(content) <= largest:
                room = min(largest + 1 - len(content), max(size, _PIECE_BYTES))
                piece = os.read(stream.fileno(), room)
                if not piece:
                    return bytes(content)
                content += piece
        except BlockingIOError as error:
            problem = Problem("", "is no regular file: it has no end")
            raise ConfigError(str(path), [problem]) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(str(path), [Problem("", reason)]) from error
    raise ConfigError(str(path), [Problem("", too_large(max(size, len(content)), largest))])


def too_large(size: int, largest: int) -> str:
    """Return what is wrong with a file of so many bytes, or more."""
    return f"has {size} bytes or more: must be at most {largest}"


def _why_irregular(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    return "is a folder" if stat.S_ISDIR(mode) else "is no regular file"
