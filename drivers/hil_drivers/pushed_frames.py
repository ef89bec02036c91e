"""Frames that a device pushes without being asked, kept in order until somebody takes them."""

from collections import deque
from collections.abc import Iterable

from hil_drivers.link import Answer, HostLink
from hil_drivers.ring import NO_ROOM, Lender


class PushedFrames:
    """What was pushed and not taken yet; how many that can be is up to who lends their memory."""

    def __init__(self) -> None:
        self._listening: tuple[int, Lender] | None = None
        self._kept: deque[bytearray | memoryview] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    def listen(self, link: HostLink, tag: int, lender: Lender) -> None:
        """Keep the frames under the number `tag` from now on, in memory lent."""
        self._listening = tag, lender
        self.go_on(link)

    def go_on(self, link: HostLink) -> None:
        """Listen on a new link as on the one before."""
        if self._listening is not None:
            link.listen(*self._listening)

    def stop(self, link: HostLink) -> None:
        """Drop what is kept; what is still to come is dropped, too."""
        if self._listening is not None:
            tag, lender = self._listening
            self._listening = None
            for block in self._kept:
                if isinstance(block, memoryview):
                    lender.take_back(block)
            link.listen(tag, NO_ROOM)
        self._kept.clear()

    def keep(self, answers: Iterable[Answer]) -> None:
        """Keep those of the answers that were pushed, if anybody listens."""
        if self._listening is not None:
            self._kept.extend(
                answer.block for answer in answers if answer.is_pushed and answer.block is not None
            )

    def take(self) -> bytearray | memoryview:
        """Return the oldest one."""
        return self._kept.popleft()
