"""From a header, however it is spelled, to its command."""

from collections.abc import Mapping
from dataclasses import dataclass

from hil_drivers.scpi import ScpiError, spellings
from hil_mock_device.firmware.call import Handler, refusal

_OPEN_TO_ALL = frozenset({"*OPC", "*WAI", "SAFE", "SYSTem:LOCK:RELease"})
"""Commands that whoever is locked out may send: SAFE must succeed in every state."""
_CHANGING_QUERIES = frozenset({"READ?", "STReam:FETCh?"})
"""Queries that change the instrument: a multiplication takes the place of the latched counts, and
a stream may go on when a frame is asked for."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the instrument."""

    handler: Handler
    """What carries it out."""
    is_protected: bool
    """Whether only those may send it whom the lock does not shut out."""


class CommandTable:
    """All commands, by every spelling of their headers.

    Parameters
    ----------
    handlers
        Each command's pattern with its handler.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._commands = {
            spelling: Command(handler, _is_protected(pattern))
            for pattern, handler in handlers.items()
            for spelling in spellings(pattern)
        }

    def find(self, header: str, path: str = "") -> tuple[Command, str]:
        """Return the command of a header, and the path for the next one in its message.

        Parameters
        ----------
        header
            As it was sent.
        path
            Where the last command of the same message stood, empty at the root (SCPI-99, volume
            1, 6.2.4). A header that is none below the path is looked for at the root as well,
            which the standard does not ask for and many clients expect.

        Raises
        ------
        DeviceError
            If there is no such command (-113).
        """
        name = header.upper()
        if path and name[:1] not in (":", "*"):
            below = f"{path}:{name}"
            command = self._commands.get(below)
            if command is not None:
                return command, below.rpartition(":")[0]
        name = name.removeprefix(":")
        command = self._commands.get(name)
        if command is None:
            raise refusal(ScpiError.UNDEFINED_HEADER, header[:40])
        return command, path if name.startswith("*") else name.rpartition(":")[0]


def _is_protected(pattern: str) -> bool:
    if pattern.endswith("?"):
        return pattern in _CHANGING_QUERIES
    return pattern not in _OPEN_TO_ALL
