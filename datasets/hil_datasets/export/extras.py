"""Libraries that only some formats need: imported when such a format is written or read."""

import importlib
from typing import Any

from hil.core.errors import ConfigError, Problem


class MissingExtraError(ConfigError):
    """A format needs a library that is not installed; the message names the extra."""


def load_extra(module: str, *, format_name: str, library: str) -> Any:
    """Return a module of the extra ``exporters``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = f"needs {library}: pip install 'aimc-hil[exporters]'"
        raise MissingExtraError(f"format {format_name}", [Problem("", reason)]) from error
