"""Whether numba is there and worth loading, and the error for when it is not there."""

import importlib.util
import sys


def is_installed() -> bool:
    """Say whether numba can be imported."""
    return importlib.util.find_spec("numba") is not None


def is_loaded() -> bool:
    """Say whether numba was imported already, so that using it costs no start-up time."""
    return sys.modules.get("numba") is not None


def require() -> None:
    """Raise ImportError naming the extra if numba is not installed."""
    if not is_installed():
        raise ImportError("the compiled kernels need numba: pip install 'aimc-hil[fast]'")


class LoadingChoice:
    """Decides when to load numba: once numpy has done about as much work as loading costs.

    Nobody knows how much work is still to come. This way a little work never pays for loading,
    and much work is late by no more than `worth`.
    """

    def __init__(self, worth: int) -> None:
        self._worth = worth
        self._done = 0

    def wants_numba(self, work: int) -> bool:
        """Say whether to do this work with numba; if not, it is counted as done by numpy."""
        if is_loaded():
            return True
        if self._done + work > self._worth and is_installed():
            return True
        self._done += work
        return False
