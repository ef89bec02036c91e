"""What lets clients in, and what it does with what a conversation yields."""

from collections.abc import Callable
from typing import Protocol

from hil_mock_device.conversation import Conversation

MakeConversation = Callable[[], Conversation]
"""Begins the conversation of one more client."""


class Listener(Protocol):
    """One way in. Started again after `close`, it is at the same address.

    For each client it makes a conversation, and carries out what that yields, in order: sends
    bytes, waits, hangs up. When the client has gone it calls the conversation's ``leave``.
    """

    async def start(self, make_conversation: MakeConversation) -> str:
        """Let clients in from now on; return the resource string that they open.

        Raises
        ------
        ConfigError
            If the address cannot be listened on.
        """
        ...

    async def close(self) -> None:
        """Let nobody in any more and disconnect every client; return when all of that is done."""
        ...
