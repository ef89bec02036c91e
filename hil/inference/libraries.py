"""Libraries of the extra ``inference``: imported when a network is first needed."""

from typing import Any

from hil.core.extras import load_extra


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
    MissingExtraError
        If it is not installed.
    """
    return load_extra(module, purpose=purpose, library=package, extra="inference")


def load_torch(*, purpose: str = "hil evaluate") -> Any:
    """Return torch.

    Parameters
    ----------
    purpose
        What needs it, the first words of the error.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    return load_library("torch", purpose=purpose, package="torch")
