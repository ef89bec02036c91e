"""What a listener carries between one client and the instrument: bytes in, things to do out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing for a while."""

    seconds: float
    """How long, 0 <= seconds."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Cut the client off, in the middle of an answer if it comes there."""


class Piece(bytes):
    """Bytes of an answer that goes on: more of it follows, or is lost for good.

    For carriers that mark the ends of answers; to all others it is bytes like any.
    """

    __slots__ = ()


Outgoing = bytes | Wait | Disconnect
"""What a listener does next: send these bytes, wait, or hang up.

Bytes end an answer unless they are a `Piece`. Only who yields them can tell: of bytes that may be
the content of a block, or spoilt, nobody knows where they end.
"""


class Conversation(Protocol):
    """One client's conversation with the instrument; it knows neither sockets nor clocks."""

    @property
    def is_lost(self) -> bool:
        """Whether the client's bytes have lost their meaning; it must be disconnected."""
        ...

    @property
    def client(self) -> int:
        """The client's number, which nobody else gets as long as the instrument runs."""
        ...

    def answers(self, data: bytes) -> Iterator[Outgoing]:
        """Take bytes of the client; yield what to do, in order.

        The iterator does the work as it is consumed: a listener takes the next item when the last
        one is sent, so a client that does not read its answers waits for itself.
        """
        ...

    def end_message(self) -> Iterator[Outgoing]:
        """Take note that the message ends here, with or without a newline; yield what to do.

        For carriers that mark the end of a message by other means than a byte (IEEE 488.2-1992,
        7.5: END).
        """
        ...

    def clear(self) -> None:
        """Forget what has not been carried out: a device clear (IEEE 488.2-1992, 5.8)."""
        ...

    def leave(self) -> None:
        """Take note that the client has gone: what it had locked is free."""
        ...


class RelayedConversation:
    """A conversation of which somebody takes in hand what goes out, and nothing else.

    Parameters
    ----------
    conversation
        The one that is passed on.
    relay
        From what it yields to what is done instead; it may wait, act and add between the items.
    """

    def __init__(
        self,
        conversation: Conversation,
        relay: Callable[[Iterator[Outgoing]], Iterator[Outgoing]],
    ) -> None:
        self._conversation = conversation
        self._relay = relay

    @property
    def is_lost(self) -> bool:
        """Whether the client's bytes have lost their meaning; it must be disconnected."""
        return self._conversation.is_lost

    @property
    def client(self) -> int:
        """The client's number."""
        return self._conversation.client

    def answers(self, data: bytes) -> Iterator[Outgoing]:
        """Take bytes of the client; yield what the relay makes of what to do."""
        return self._relay(self._conversation.answers(data))

    def end_message(self) -> Iterator[Outgoing]:
        """Take note that the message ends here; yield likewise."""
        return self._relay(self._conversation.end_message())

    def clear(self) -> None:
        """Forget what has not been carried out."""
        self._conversation.clear()

    def leave(self) -> None:
        """Free what the client had locked."""
        self._conversation.leave()
