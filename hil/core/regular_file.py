"""Opening a file of the user's: a FIFO without a writer must not be waited for."""

import stat
from pathlib import Path
from typing import BinaryIO

from hil.core.errors import ConfigError, Problem


def open_regular_file(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises
    ------
    ConfigError
        If it is missing or unreadable, or no regular file.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
        reason = "is a folder" if stat.S_ISDIR(mode) else "is no regular file"
    except FileNotFoundError:
        reason = "no such file"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:  # a NUL in the path
        reason = str(error)
    raise ConfigError(str(path), [Problem("", reason)])
