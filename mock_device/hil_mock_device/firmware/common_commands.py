"""The commands that every instrument has (IEEE 488.2-1992, chapter 10; SCPI-99, SYSTem)."""

from hil_mock_device.firmware.call import Call, Handler
from hil_mock_device.firmware.error_queue import ErrorQueue
from hil_mock_device.firmware.settings import Settings
from hil_mock_device.silicon import Silicon


class CommonCommands:
    """``*IDN?`` and its like.

    Parameters
    ----------
    silicon, settings, errors
        What the commands work on.
    """

    def __init__(self, silicon: Silicon, settings: Settings, errors: ErrorQueue) -> None:
        self._silicon = silicon
        self._settings = settings
        self._errors = errors

    def handlers(self) -> dict[str, Handler]:
        """Return each command's pattern with its handler."""
        return {
            "*IDN?": self._identify,
            "*RST": self._reset,
            "*CLS": lambda _: self._errors.clear(),
            "*OPC": _nothing,
            "*OPC?": lambda _: "1",
            "*WAI": _nothing,
            "*TST?": lambda _: "0",
            "SYSTem:ERRor[:NEXT]?": lambda _: self._errors.take(),
            "SYSTem:VERSion?": lambda _: "1999.0",
        }

    def _identify(self, _: Call) -> str:
        identity = self._silicon.identity
        return ",".join((identity.manufacturer, identity.model, identity.serial, identity.firmware))

    def _reset(self, _: Call) -> None:
        self._silicon.reset()
        self._settings.reset()


def _nothing(_: Call) -> None:
    """Do nothing: every command is finished when it is answered."""
