"""The commands that every instrument has (IEEE 488.2-1992, chapter 10; SCPI-99, SYSTem)."""

from hil_mock_device.firmware.call import Call, Handler, only_mask
from hil_mock_device.firmware.error_queue import ErrorQueue
from hil_mock_device.firmware.instrument_lock import InstrumentLock
from hil_mock_device.firmware.settings import Settings
from hil_mock_device.firmware.status import Status
from hil_mock_device.silicon import Silicon


class CommonCommands:
    """``*IDN?`` and its like.

    Parameters
    ----------
    silicon, settings, errors, status, lock
        What the commands work on.
    """

    def __init__(
        self,
        silicon: Silicon,
        settings: Settings,
        *,
        errors: ErrorQueue,
        status: Status,
        lock: InstrumentLock,
    ) -> None:
        self._silicon = silicon
        self._settings = settings
        self._errors = errors
        self._status = status
        self._lock = lock

    def handlers(self) -> dict[str, Handler]:
        """Return each command's pattern with its handler."""
        status, lock = self._status, self._lock
        return {
            "*IDN?": self._identify,
            "*RST": self._reset,
            "*CLS": lambda _: status.clear(),
            "*ESE": self._set_event_mask,
            "*ESE?": lambda _: str(status.event_mask),
            "*ESR?": lambda _: str(status.take_events()),
            "*OPC": lambda _: status.complete_operation(),
            "*OPC?": lambda _: "1",
            "*SRE": self._set_request_mask,
            "*SRE?": lambda _: str(status.request_mask),
            "*STB?": lambda call: str(status.byte(has_answer=call.has_answer)),
            "*TST?": lambda _: "0",
            "*WAI": _nothing,
            "SYSTem:ERRor[:NEXT]?": lambda _: self._errors.take(),
            "SYSTem:VERSion?": lambda _: "1999.0",
            "SYSTem:LOCK:REQuest?": lambda call: str(int(lock.request(call.client))),
            "SYSTem:LOCK:RELease": self._release_lock,
            "SYSTem:LOCK:OWNer?": lambda _: "NONE" if lock.owner is None else str(lock.owner),
        }

    def _identify(self, _: Call) -> str:
        identity = self._silicon.identity
        return ",".join((identity.manufacturer, identity.model, identity.serial, identity.firmware))

    def _reset(self, _: Call) -> None:
        self._silicon.reset()
        self._settings.reset()

    def _set_event_mask(self, call: Call) -> None:
        self._status.event_mask = only_mask(call)

    def _set_request_mask(self, call: Call) -> None:
        self._status.request_mask = only_mask(call)

    def _release_lock(self, call: Call) -> None:
        self._lock.release(call.client)


def _nothing(_: Call) -> None:
    """Do nothing: every command is finished when it is answered."""
