"""Libraries of the extra ``inference``: imported when a network is first needed."""

import importlib
from typing import Any

from hil.core.errors import ConfigError, Problem


def load_library(module: str, *, purpose: str, package: str) -> Any:
    """Return a module of the extra ``inference``.

    Parameters
    ----------
    module
        Name that it is imported by.
    purpose
        What needs it, the first words of the error.
    package
        Name of the library, as people know it.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = f"needs {package}: pip install 'aimc-hil[inference]'"
        raise ConfigError(purpose, [Problem("", reason)]) from error


def load_torch(*, purpose: str = "hil evaluate") -> Any:
    """Return torch.

    Parameters
    ----------
    purpose
        What needs it, the first words of the error.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    return load_library("torch", purpose=purpose, package="torch")
