"""Libraries that only some work needs: imported when it is first done."""

import importlib
from typing import Any

from hil.core.errors import ConfigError, Problem


class MissingExtraError(ConfigError):
    """Something needs a library that is not installed; the message names the extra."""


def load_extra(module: str, *, purpose: str, library: str, extra: str) -> Any:
    """Return a module of an extra.

    Parameters
    ----------
    module
        Name that it is imported by.
    purpose
        What needs it, the first words of the error.
    library
        Name of the library, as people know it.
    extra
        The extra that brings it.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = f"needs {library}: pip install 'aimc-hil[{extra}]'"
        raise MissingExtraError(purpose, [Problem("", reason)]) from error
