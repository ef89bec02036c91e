"""Which vectors of a stream are where: arithmetic of frames, sans-IO.

A stream of `vectors` is cut into frames of `frame_vectors`, the last one may be shorter. A frame is
known by its first vector.

Rules
-----
1. A frame is in one of four places: not sent, lost, held by the host, done with. It gets to the
   last one only through the third, once.
2. Frames are done with in their order. All below `released` are.
3. The device keeps what is not acknowledged, at most `window` frames; the host acknowledges only
   what is done with, so it never holds more than those.
"""

from dataclasses import dataclass

LARGEST_WINDOW = 16
"""Most frames that may be on their way."""
MOST_VECTORS = 0xFFFFFFFF
"""The number of a vector has 32 bits in a frame."""


@dataclass(frozen=True, slots=True)
class StreamShape:
    """How long a stream is, and how it is cut."""

    vectors: int
    """Length of the stream, 1 to 2**32 - 1."""
    frame_vectors: int
    """Vectors of every frame but the last, 1 <= frame_vectors."""
    window: int
    """Frames that may be sent and not acknowledged, 1 to 16; with 0 each one is asked for."""

    def __post_init__(self) -> None:
        for name, value, lowest, highest in (
            ("vectors", self.vectors, 1, MOST_VECTORS),
            ("frame_vectors", self.frame_vectors, 1, MOST_VECTORS),
            ("window", self.window, 0, LARGEST_WINDOW),
        ):
            if not lowest <= value <= highest:
                raise ValueError(f"{name} = {value}: must be {lowest} to {highest}")

    def end_of(self, first: int) -> int:
        """Return the vector after the frame that begins with `first`."""
        return min(first + self.frame_vectors, self.vectors)

    def begins_frame(self, first: int) -> bool:
        """Tell whether a frame begins with `first`."""
        return 0 <= first < self.vectors and first % self.frame_vectors == 0

    def leave_to(self, acknowledged: int) -> int:
        """Return the vector that must not be sent while all below `acknowledged` are released."""
        return min(acknowledged + self.window * self.frame_vectors, self.vectors)


class StreamWindow:
    """The host's side of one stream."""

    def __init__(self, shape: StreamShape) -> None:
        self._shape = shape
        self._held: set[int] = set()
        self._due = 0
        self._sent_to = 0
        self._acknowledged = 0
        self.released = 0
        """All vectors below are done with."""

    @property
    def due(self) -> int:
        """First vector of the frame that comes next in order."""
        return self._due

    @property
    def sent_to(self) -> int:
        """All vectors below were sent, whatever became of them."""
        return self._sent_to

    @property
    def is_complete(self) -> bool:
        """Whether every frame was taken."""
        return self._due == self._shape.vectors

    @property
    def is_ready(self) -> bool:
        """Whether the frame that is due is held."""
        return self._due in self._held

    def arrive(self, first: int) -> bool:
        """Take note that a frame has come; return False if it had come before."""
        if first < self._due or first in self._held:
            return False
        self._held.add(first)
        self.note_sent(self._shape.end_of(first))
        return True

    def note_sent(self, end: int) -> None:
        """Take note that all vectors below `end` were sent."""
        self._sent_to = max(self._sent_to, end)

    def lost(self, start: int = 0) -> list[int]:
        """Return the frames, from vector `start` on, that were sent and are not here."""
        step = self._shape.frame_vectors
        start = max(self._due, -(-start // step) * step)
        return [first for first in range(start, self._sent_to, step) if first not in self._held]

    def take(self) -> int:
        """Hand out the frame that is due."""
        first = self._due
        self._held.remove(first)
        self._due = self._shape.end_of(first)
        return first

    def release(self) -> None:
        """Take note that everything handed out is done with."""
        self.released = self._due

    def acknowledgement(self) -> int | None:
        """Return what to acknowledge: None until half of the window is done with."""
        half = max(1, self._shape.window // 2) * self._shape.frame_vectors
        if self.released < min(self._acknowledged + half, self._shape.vectors):
            return None
        return self.released if self.released > self._acknowledged else None

    def note_acknowledged(self, vector: int) -> None:
        """Take note that the device was told that all below `vector` are released."""
        self._acknowledged = max(self._acknowledged, vector)


def spelled_ranges(firsts: list[int], shape: StreamShape) -> str:
    """Return the vectors of frames in words, neighbours together.

    Examples
    --------
    >>> spelled_ranges([10, 20, 40], StreamShape(45, 10, 4))
    '10 to 29, 40 to 44'
    """
    ranges: list[list[int]] = []
    for first in firsts:
        if ranges and ranges[-1][1] == first:
            ranges[-1][1] = shape.end_of(first)
        else:
            ranges.append([first, shape.end_of(first)])
    return ", ".join(f"{first} to {end - 1}" for first, end in ranges)
