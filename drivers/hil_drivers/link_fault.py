"""What can go wrong on a link, by name: kinds, errors that carry one, events and counters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from hil.core.errors import (
    DeviceError,
    FrameError,
    HilError,
    LinkLostError,
    TransportError,
    TransportTimeoutError,
)


class FaultKind(StrEnum):
    """What went wrong."""

    TIMEOUT = "timeout"
    """No answer in time: it, or the request, was lost, or the device is busy or dead."""
    TRUNCATION = "truncation"
    """An answer began and did not end."""
    LINK_LOST = "link_lost"
    """The link broke."""
    NO_CONNECTION = "no_connection"
    """The link could not be opened again."""
    LOCKED = "locked"
    """Another client has the device to itself, perhaps the former connection of this one."""
    GARBAGE = "garbage"
    """Bytes that are no message."""
    OVERSIZE = "oversize"
    """A line or a block longer than the protocol allows."""
    NO_TAG = "no_tag"
    """An answer without a request's number."""
    STALE_TAG = "stale_tag"
    """An answer to an earlier request, dropped."""
    REPEATED_TAG = "repeated_tag"
    """A second answer to one request, dropped."""
    SKIPPED_TAG = "skipped_tag"
    """An answer to a request that was not made yet: a number is missing."""
    WRONG_ANSWER = "wrong_answer"
    """Text where a block is due, a block where text is due, an answer that makes no sense."""
    WRONG_CRC = "wrong_crc"
    """A frame whose bytes were changed."""
    WRONG_VERSION = "wrong_version"
    """A frame of another version."""
    WRONG_SEQUENCE = "wrong_sequence"
    """A frame with another request's number inside an answer to this one."""
    WRONG_FRAME = "wrong_frame"
    """A frame that contradicts itself, or holds something else than was asked for."""
    GARBLED_REQUEST = "garbled_request"
    """The device could not read a request."""
    GARBLED_ANSWER = "garbled_answer"
    """An answer whose tag or text was changed."""
    REBOOT = "reboot"
    """The device started again and had forgotten its settings."""
    HALF_PROGRAMMED = "half_programmed"
    """Programming began and did not end."""
    MISSING_VECTORS = "missing_vectors"
    """Frames of a stream did not come, and were asked for again."""
    REPEATED_VECTORS = "repeated_vectors"
    """A frame of a stream came again, and was dropped."""


class FrameFault(FrameError):  # noqa: N818 - says what it is: a FrameError with a kind
    """Bytes that are no frame, or no answer, with the kind of what is wrong with them."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class TruncatedAnswerError(TransportTimeoutError):
    """The device began an answer and did not end it in time."""


class LinkClosedError(LinkLostError):
    """The link was closed by its own side, for good."""


class LockedError(TransportError):
    """Another client has the device to itself."""


class AnotherChipError(LinkLostError):
    """After the link was back, another chip was at its end."""


class StreamBrokenError(LinkLostError):
    """The device does not know a stream any more: it has started again, or it was stopped."""


class UnknownOutcomeError(TransportError):
    """Nobody can tell whether a request that changes the chip was carried out."""


def kind_of(error: HilError) -> FaultKind:
    """Return the kind of fault that an error of the link tells of.

    Examples
    --------
    >>> kind_of(TransportTimeoutError("silence"))
    <FaultKind.TIMEOUT: 'timeout'>
    """
    if isinstance(error, FrameFault):
        return error.kind
    for error_class, kind in _KINDS.items():
        if isinstance(error, error_class):
            return kind
    return FaultKind.WRONG_ANSWER


_KINDS: dict[type[HilError], FaultKind] = {
    TruncatedAnswerError: FaultKind.TRUNCATION,
    TransportTimeoutError: FaultKind.TIMEOUT,
    LinkLostError: FaultKind.LINK_LOST,
    LockedError: FaultKind.LOCKED,
    TransportError: FaultKind.NO_CONNECTION,
    FrameError: FaultKind.WRONG_ANSWER,
    DeviceError: FaultKind.GARBLED_REQUEST,
}
"""Narrow classes stand before the ones they derive from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault:
    """One fault of the link, when it is over."""

    kind: FaultKind
    """What went wrong."""
    request: str
    """The request that met it, without its tag and block."""
    detail: str
    """What exactly, for a person."""
    recovered_s: float | None
    """Seconds from noticing it to the end of the operation; None if that failed for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkHealth:
    """What a link has been through since it was opened."""

    requests: int
    """Requests sent, repetitions among them."""
    faults: Mapping[FaultKind, int] = field(default_factory=dict)
    """How many of each kind there were; kinds that did not happen are left out."""
    not_recovered: int = 0
    """Faults, of all of these, that ended in an error."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", MappingProxyType(dict(self.faults)))
