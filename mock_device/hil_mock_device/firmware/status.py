"""What an instrument reports of itself (IEEE 488.2-1992, chapter 11; SCPI-99, volume 1, chapter 9).

Every error that enters the error queue also sets a bit of the event register; the two registers
and the queue are summed up, through their masks, in the status byte. The model belongs to the
instrument: all clients see the same, but for the bit that says whether an answer of theirs waits.
"""

from enum import IntFlag

from hil.core.errors import DeviceError
from hil_mock_device.firmware.error_queue import ErrorQueue


class StatusByte(IntFlag):
    """Bits of the status byte, ``*STB?`` and ``*SRE``."""

    ERROR_QUEUE = 4
    """Errors are queued."""
    MESSAGE_AVAILABLE = 16
    """An answer waits."""
    EVENT_STATUS = 32
    """The event register holds a bit that ``*ESE`` lets through."""
    MASTER_SUMMARY = 64
    """The status byte holds a bit that ``*SRE`` lets through."""


class EventStatus(IntFlag):
    """Bits of the event register, ``*ESR?`` and ``*ESE``."""

    OPERATION_COMPLETE = 1
    """``*OPC`` was sent, and all before it is finished."""
    QUERY_ERROR = 4
    """An error from -499 to -400."""
    DEVICE_DEPENDENT_ERROR = 8
    """An error from -399 to -300, or above 0."""
    EXECUTION_ERROR = 16
    """An error from -299 to -200."""
    COMMAND_ERROR = 32
    """An error from -199 to -100."""
    POWER_ON = 128
    """The instrument was switched on."""


class Status:
    """The status registers of one instrument.

    Parameters
    ----------
    errors
        The error queue, which one bit of the status byte sums up.
    """

    def __init__(self, errors: ErrorQueue) -> None:
        self._errors = errors
        self._events = EventStatus.POWER_ON
        self.event_mask = 0
        """Events that show in the status byte (``*ESE``), 0 to 255."""
        self._request_mask = 0

    @property
    def request_mask(self) -> int:
        """Bits of the status byte that make up its summary (``*SRE``); bit 6 is always 0."""
        return self._request_mask

    @request_mask.setter
    def request_mask(self, mask: int) -> None:
        self._request_mask = mask & ~int(StatusByte.MASTER_SUMMARY)

    def add_error(self, error: DeviceError) -> None:
        """Queue an error and note the event of its class."""
        has_room = self._errors.add(error)
        self._events |= _event_of(error.code)
        if not has_room:
            self._events |= EventStatus.DEVICE_DEPENDENT_ERROR

    def complete_operation(self) -> None:
        """Note that all before ``*OPC`` is finished."""
        self._events |= EventStatus.OPERATION_COMPLETE

    def take_events(self) -> int:
        """Return the event register and clear it."""
        events, self._events = self._events, EventStatus(0)
        return int(events)

    def clear(self) -> None:
        """Empty event register and error queue; the masks stay."""
        self._events = EventStatus(0)
        self._errors.clear()

    def byte(self, *, has_answer: bool) -> int:
        """Return the status byte.

        Parameters
        ----------
        has_answer
            Whether an answer waits for the client that asks.
        """
        byte = 0
        if self._errors:
            byte |= StatusByte.ERROR_QUEUE
        if has_answer:
            byte |= StatusByte.MESSAGE_AVAILABLE
        if self._events & self.event_mask:
            byte |= StatusByte.EVENT_STATUS
        if byte & self._request_mask:
            byte |= StatusByte.MASTER_SUMMARY
        return int(byte)


def _event_of(code: int) -> EventStatus:
    """Return the event of an error's class (SCPI-99, volume 2, chapter 21)."""
    classes = {
        -1: EventStatus.COMMAND_ERROR,
        -2: EventStatus.EXECUTION_ERROR,
        -4: EventStatus.QUERY_ERROR,
    }
    return classes.get(-(-code // 100), EventStatus.DEVICE_DEPENDENT_ERROR)
