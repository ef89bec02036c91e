"""A chip that takes its time, as real ones do: so much for every vector that it multiplies.

The simulation computes a block of counts as fast as the processor allows, and a campaign on it is
as fast as the host. Paced, the block is ready when a device would have it: what the simulation
takes to compute counts towards that. Who asks for something else meanwhile waits, too, because the
device is busy. The counts are the same.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.choices import LONGEST_VECTOR_S
from hil_mock_device.conversation import (
    Conversation,
    Outgoing,
    RelayedConversation,
    Wait,
)
from hil_mock_device.listeners.listener import MakeConversation
from hil_mock_device.profile import MockProfile


def check_vector_s(vector_s: float) -> float:
    """Return the time for a vector if a device may have it.

    Raises
    ------
    ValueError
        If it is below 0, above `LONGEST_VECTOR_S`, or no number.

    Examples
    --------
    >>> check_vector_s(0.0005)
    0.0005
    """
    if not 0 <= vector_s <= LONGEST_VECTOR_S:
        raise ValueError(f"must be a number, 0 to {LONGEST_VECTOR_S:g} seconds")
    return vector_s


class VectorPace:
    """Since when, and for how long, a device multiplies.

    Parameters
    ----------
    vector_s
        Seconds for a vector, 0 <= vector_s <= `LONGEST_VECTOR_S`.
    clock
        Monotonic seconds.

    Raises
    ------
    ValueError
        As `check_vector_s`.
    """

    def __init__(self, vector_s: float, clock: Callable[[], float]) -> None:
        self._vector_s = check_vector_s(vector_s)
        self._clock = clock
        self._free_s = -math.inf

    def begin(self, vectors: int) -> None:
        """Begin to multiply so many vectors, after those that are under way."""
        self._free_s = max(self._free_s, self._clock()) + vectors * self._vector_s

    def left_s(self) -> float:
        """Return how long it takes until the device is free; 0 if it is."""
        return max(0.0, self._free_s - self._clock())

    def around(self, make_conversation: MakeConversation) -> MakeConversation:
        """Return what begins a conversation whose answers come when the device is free."""
        return partial(self._paced, make_conversation)

    def _paced(self, make_conversation: MakeConversation) -> Conversation:
        return RelayedConversation(make_conversation(), self._in_time)

    def _in_time(self, items: Iterator[Outgoing]) -> Iterator[Outgoing]:
        for item in items:
            if left_s := self.left_s():
                yield Wait(left_s)
            yield item


class PacedChip(ChipModel):
    """A simulated chip whose vectors take time.

    Parameters
    ----------
    profile
        What kind of chip, and which one of the kind.
    pace
        How long they take.
    """

    def __init__(self, profile: MockProfile, pace: VectorPace) -> None:
        super().__init__(profile)
        self._pace = pace

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Return counts (vector, polarity, column) for inputs (vector, row); the device is busy."""
        self._pace.begin(len(inputs))
        return super().convert(core, read_mode, inputs)
