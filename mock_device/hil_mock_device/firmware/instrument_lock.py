"""Who may change the instrument: one client alone, or all that share a key.

The lock behind ``SYSTem:LOCK`` and HiSLIP's AsyncLock is the same one.
"""

from enum import Enum


class LockKind(Enum):
    """How a client holds the lock."""

    EXCLUSIVE = "exclusive"
    """Alone."""
    SHARED = "shared"
    """With everyone who asked with the same key."""


class InstrumentLock:
    """The lock of one instrument."""

    def __init__(self) -> None:
        self.owner: int | None = None
        """Number of the client that holds it alone."""
        self._sharers: set[int] = set()
        self._key = ""

    @property
    def holders(self) -> int:
        """How many clients hold it in one way or the other."""
        return len(self._sharers | ({self.owner} - {None}))

    def request(self, client: int, key: str = "") -> bool:
        """Ask for the lock; return whether `client` holds it now.

        Parameters
        ----------
        client
            Number of the client.
        key
            Empty for the exclusive lock; else whoever asks with the same key shares it. One who
            shares it may have it exclusively too.
        """
        if self.owner not in (None, client):
            return False
        if self._sharers and (client not in self._sharers if not key else key != self._key):
            return False
        if key:
            self._key = key
            self._sharers.add(client)
        else:
            self.owner = client
        return True

    def holds(self, client: int, kind: LockKind) -> bool:
        """Tell whether a client holds the lock in this way."""
        return client == self.owner if kind is LockKind.EXCLUSIVE else client in self._sharers

    def release(self, client: int) -> LockKind | None:
        """Give the exclusive lock back, or else the share; return which, None if there is none."""
        if self.owner == client:
            self.owner = None
            return LockKind.EXCLUSIVE
        if client in self._sharers:
            self._sharers.remove(client)
            return LockKind.SHARED
        return None

    def forget(self, client: int) -> None:
        """Release all that a client holds: it has gone."""
        while self.release(client) is not None:
            pass

    def shuts_out(self, client: int) -> bool:
        """Tell whether a client may not change the instrument."""
        if self.owner is not None:
            return self.owner != client
        return bool(self._sharers) and client not in self._sharers
