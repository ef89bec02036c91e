"""Memory that frames are received into: a fixed number of slots, lent and given back.

What a slot is lent for reads and writes it in place; nothing is allocated between.
"""

from typing import Protocol

import numpy as np

SMALLEST_SLOT, LARGEST_SLOT = 1 << 20, 4 << 20
"""Slots have 1, 2 or 4 MiB."""


class Lender(Protocol):
    """Lends the memory that blocks are received into."""

    @property
    def slot_bytes(self) -> int:
        """Size of the largest block it has room for."""
        ...

    def lend(self, size: int) -> memoryview | None:
        """Return room for a block of `size` bytes, None where there is none."""
        ...

    def take_back(self, block: memoryview) -> None:
        """Take back what nobody reads any more."""
        ...


class _NoRoom:
    """Has memory for nothing: what is received into it is gone."""

    slot_bytes = 0

    def lend(self, size: int) -> memoryview:
        """Return room that nobody looks at."""
        return memoryview(bytearray(size))

    def take_back(self, block: memoryview) -> None:
        """Forget it."""


NO_ROOM: Lender = _NoRoom()
"""Lends memory for what nobody wants any more."""


class Ring:
    """Slots of one size.

    Parameters
    ----------
    slots
        How many, 1 <= slots.
    largest_block
        Size of the largest block they must hold, at most `LARGEST_SLOT`.
    """

    def __init__(self, slots: int, largest_block: int) -> None:
        if not 0 < largest_block <= LARGEST_SLOT:
            raise ValueError(f"blocks of {largest_block} bytes: must be 1 to {LARGEST_SLOT}")
        self.slot_bytes = SMALLEST_SLOT
        """Size of each slot."""
        while self.slot_bytes < largest_block:
            self.slot_bytes *= 2
        # Not bytearray, which fills with zeros: pages that are never used are never touched.
        self.slots = tuple(np.empty(self.slot_bytes, np.uint8).data for _ in range(slots))
        """The memory."""
        self._free = list(self.slots)

    @property
    def free(self) -> int:
        """How many slots are not lent."""
        return len(self._free)

    def lend(self, size: int) -> memoryview | None:
        """Return the first `size` bytes of a free slot; None where it has less, or none is free."""
        if size > self.slot_bytes or not self._free:
            return None
        # The one given back last: its bytes may still be in the processor's cache.
        return self._free.pop()[:size]

    def take_back(self, block: memoryview) -> None:
        """Make the slot of `block` free again; what it was not lent for is left alone."""
        for slot in self.slots:
            if block.obj is slot.obj and not any(slot is other for other in self._free):
                self._free.append(slot)
