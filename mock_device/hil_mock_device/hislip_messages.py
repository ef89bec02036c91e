"""The messages of HiSLIP, sans-IO (IVI-6.1, High-Speed LAN Instrument Protocol, revision 1.1).

A message is a header of 16 bytes, big-endian, and a payload::

    "HS"  type u8  control code u8  message parameter u32  payload length u64

Rules
-----
1. However the byte stream is split, the messages are the same.
2. Buffers are bounded: of a message whose payload is larger than the limit, the payload is thrown
   away as it arrives, and what comes out is an `OversizeMessage`.
3. A header that does not begin with "HS" ends the conversation: the messages before it are still
   returned, `failure` holds the `FrameError`, and every later call raises it. It is raised at once
   where there is no message to return.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from hil.core.errors import FrameError

PROTOCOL_VERSION = 0x0100
"""Version 1.0: major, minor."""
HEADER_BYTES = 16

_HEADER = struct.Struct(">2sBBIQ")
_PROLOGUE = b"HS"
_FIRST_VENDOR_TYPE = 128


class MessageType(IntEnum):
    """What a message is (IVI-6.1, table 4)."""

    INITIALIZE = 0
    INITIALIZE_RESPONSE = 1
    FATAL_ERROR = 2
    ERROR = 3
    ASYNC_LOCK = 4
    ASYNC_LOCK_RESPONSE = 5
    DATA = 6
    DATA_END = 7
    DEVICE_CLEAR_COMPLETE = 8
    DEVICE_CLEAR_ACKNOWLEDGE = 9
    ASYNC_REMOTE_LOCAL_CONTROL = 10
    ASYNC_REMOTE_LOCAL_RESPONSE = 11
    TRIGGER = 12
    INTERRUPTED = 13
    ASYNC_INTERRUPTED = 14
    ASYNC_MAXIMUM_MESSAGE_SIZE = 15
    ASYNC_MAXIMUM_MESSAGE_SIZE_RESPONSE = 16
    ASYNC_INITIALIZE = 17
    ASYNC_INITIALIZE_RESPONSE = 18
    ASYNC_DEVICE_CLEAR = 19
    ASYNC_SERVICE_REQUEST = 20
    ASYNC_STATUS_QUERY = 21
    ASYNC_STATUS_RESPONSE = 22
    ASYNC_DEVICE_CLEAR_ACKNOWLEDGE = 23
    ASYNC_LOCK_INFO = 24
    ASYNC_LOCK_INFO_RESPONSE = 25


class FatalErrorCode(IntEnum):
    """Why a connection ends (IVI-6.1, FatalError)."""

    UNIDENTIFIED = 0
    POORLY_FORMED_HEADER = 1
    CHANNELS_NOT_ESTABLISHED = 2
    INVALID_INITIALIZATION = 3
    TOO_MANY_CLIENTS = 4


class ErrorCode(IntEnum):
    """Why a message is not carried out (IVI-6.1, Error)."""

    UNIDENTIFIED = 0
    UNRECOGNIZED_MESSAGE_TYPE = 1
    UNRECOGNIZED_CONTROL_CODE = 2
    UNRECOGNIZED_VENDOR_MESSAGE = 3
    MESSAGE_TOO_LARGE = 4


class LockResponse(IntEnum):
    """How a request for the lock, or its release, ended (IVI-6.1, AsyncLockResponse)."""

    FAILURE = 0
    SUCCESS = 1
    SUCCESS_SHARED = 2
    ERROR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HislipMessage:
    """One message."""

    type: int
    """A `MessageType`, or a number that is none."""
    control: int = 0
    """Control code, 0 to 255; what it means depends on the type."""
    parameter: int = 0
    """Message parameter, 32 bits; in data messages the message id."""
    payload: bytes = b""
    """What it carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OversizeMessage:
    """A message whose payload was larger than what is taken, and has been thrown away."""

    type: int
    """A `MessageType`, or a number that is none."""
    length: int
    """Length of the payload, in bytes, as its header says."""


def encode_message(message: HislipMessage) -> bytes:
    r"""Return the bytes of a message.

    Examples
    --------
    >>> encode_message(HislipMessage(type=MessageType.DATA_END, parameter=0xFFFFFF00, payload=b"!"))
    b'HS\x07\x00\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x01!'
    """
    header = _HEADER.pack(
        _PROLOGUE, message.type, message.control, message.parameter, len(message.payload)
    )
    return header + message.payload


def code_for_unrecognized(message_type: int) -> ErrorCode:
    """Return the error for a message type that means nothing here."""
    if message_type >= _FIRST_VENDOR_TYPE:
        return ErrorCode.UNRECOGNIZED_VENDOR_MESSAGE
    return ErrorCode.UNRECOGNIZED_MESSAGE_TYPE


class HislipReader:
    """Collects the messages of one channel.

    Parameters
    ----------
    largest_payload
        Most bytes a payload may have.
    """

    def __init__(self, largest_payload: int) -> None:
        self._largest_payload = largest_payload
        self._buffer = bytearray()
        self._oversize: OversizeMessage | None = None
        self._to_skip = 0
        self.failure: FrameError | None = None
        """Why nothing that arrives can be understood any more."""

    def receive(self, data: bytes) -> list[HislipMessage | OversizeMessage]:
        """Take bytes; return the messages now complete.

        Raises
        ------
        FrameError
            If a header does not begin with "HS".
        """
        if self.failure is not None:
            raise self.failure
        self._buffer += data
        messages: list[HislipMessage | OversizeMessage] = []
        try:
            while (message := self._next_message()) is not None:
                messages.append(message)
        except FrameError as error:
            self.failure = error
            if not messages:
                raise
        return messages

    def _next_message(self) -> HislipMessage | OversizeMessage | None:
        if self._oversize is not None:
            return self._skip(self._oversize)
        prologue = bytes(self._buffer[:2])
        if not _PROLOGUE.startswith(prologue):
            raise FrameError(f"message begins with {prologue!r}: must be {_PROLOGUE!r}")
        if len(self._buffer) < HEADER_BYTES:
            return None
        _, message_type, control, parameter, length = _HEADER.unpack_from(self._buffer)
        if length > self._largest_payload:
            del self._buffer[:HEADER_BYTES]
            self._oversize = OversizeMessage(type=message_type, length=length)
            self._to_skip = length
            return self._skip(self._oversize)
        end = HEADER_BYTES + length
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[HEADER_BYTES:end])
        del self._buffer[:end]
        return HislipMessage(
            type=message_type, control=control, parameter=parameter, payload=payload
        )

    def _skip(self, oversize: OversizeMessage) -> OversizeMessage | None:
        there = min(self._to_skip, len(self._buffer))
        del self._buffer[:there]
        self._to_skip -= there
        if self._to_skip:
            return None
        self._oversize = None
        return oversize
