"""The error queue of plain SCPI (SCPI-99, volume 2, chapter 21)."""

from collections import deque

from hil.core.errors import DeviceError
from hil_drivers.scpi import ScpiError

_LENGTH = 16
"""Errors kept; SCPI-99 wants at least two."""
_LONGEST_WORDS = 255
"""Most characters of an error's words (SCPI-99, volume 2, chapter 21, SYSTem:ERRor)."""


class ErrorQueue:
    """The errors that nobody has asked for yet."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque()

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._errors)

    def add(self, error: DeviceError) -> bool:
        """Add an error; return False where it is full, and its youngest becomes an overflow."""
        if len(self._errors) == _LENGTH:
            code = ScpiError.QUEUE_OVERFLOW
            self._errors[-1] = f'{code.value},"{code.words}"'
            return False
        self._errors.append(spelled(error))
        return True

    def take(self) -> str:
        """Remove and return the oldest."""
        return self._errors.popleft() if self._errors else '0,"No error"'

    def clear(self) -> None:
        """Forget them all."""
        self._errors.clear()


def spelled(error: DeviceError) -> str:
    """Return an error as it goes over the wire: its number, then its words in quotes, one line."""
    words = " ".join(error.words.replace('"', "'").split())
    return f'{int(error.code)},"{words[:_LONGEST_WORDS]}"'
