"""A stream of readouts: frames that the device pushes, in order, each vector once.

Frames are received into the slots of a ring, checked there, and handed out as arrays that are views
of them. Nothing is copied, and a slot is used again when its block is done with. Only then is it
acknowledged: a device that waits for that cannot run ahead of a slow consumer.

A frame that is lost, spoilt or comes twice is told as a fault, by its vectors, and asked for again;
a link that breaks is made usable, and the stream goes on behind the last vector that has come.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from hil.core.errors import DeviceError
from hil.core.readout import ChipGeometry, ReadMode
from hil_drivers.board_requests import BoardRequests
from hil_drivers.chip import CountBlock
from hil_drivers.exactly_once import ExactlyOnce
from hil_drivers.frames import CRC_BYTES, HEADER_BYTES, Frame, FrameKind, decode_frame
from hil_drivers.link_fault import FaultKind, FrameFault, StreamBrokenError
from hil_drivers.ring import LARGEST_SLOT, SMALLEST_SLOT, Ring
from hil_drivers.session import Session
from hil_drivers.stream_window import StreamShape, StreamWindow, spelled_ranges

DEFAULT_WINDOW = 8
_BYTES_PER_COUNT = 2
_STOP_LIMIT_S = 5.0
"""A device that does not stop in this time sends no more than its window anyway."""
_MOST_FAULTS = 1000
"""So many frames may be spoilt or doubled before the next good one."""


class StreamSource(StrEnum):
    """Where the counts of a stream come from; the protocol's words."""

    CHIP = "CHIP"
    """Multiplications: the input vectors, round and round."""
    LATCHED = "LATChed"
    """The latched counts, round and round: what the link carries, without the chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What is streamed."""

    source: StreamSource
    """Where the counts come from."""
    core: int
    """Core that is read."""
    read_mode: ReadMode
    """How it is read."""
    columns: int
    """Columns of the core."""
    shape: StreamShape
    """How many vectors, and how they are cut."""


def plan_shape(
    geometry: ChipGeometry, *, vectors: int, frame_vectors: int | None, window: int
) -> StreamShape:
    """Return how a stream is cut; into frames of up to 1 MiB where that is left open.

    Raises
    ------
    ValueError
        If a frame would be larger than a slot, or something is out of its range.
    """
    vector_bytes = 2 * geometry.columns * _BYTES_PER_COUNT
    max_vectors = geometry.max_vectors
    if frame_vectors is None:
        room = (SMALLEST_SLOT - HEADER_BYTES - CRC_BYTES) // vector_bytes
        frame_vectors = max(1, min(room, max_vectors, vectors))
    most = min((LARGEST_SLOT - HEADER_BYTES - CRC_BYTES) // vector_bytes, max_vectors)
    if not 1 <= frame_vectors <= most:
        raise ValueError(f"frame_vectors = {frame_vectors}: must be 1 to {most}")
    return StreamShape(vectors, frame_vectors, window)


class CountStream:
    """Iterates over the blocks of one stream; each is valid until the next one is asked for.

    Parameters
    ----------
    session, once, requests
        The conversation, what carries operations through its faults, and its commands.
    plan
        What is streamed. Over a link on which messages and answers take turns each frame is asked
        for, whatever the window.
    prepare
        Sends what the stream starts from.
    """

    def __init__(
        self,
        session: Session,
        once: ExactlyOnce,
        requests: BoardRequests,
        plan: StreamPlan,
        prepare: Callable[[], None],
    ) -> None:
        shape = plan.shape
        if not session.can_listen:
            shape = StreamShape(shape.vectors, shape.frame_vectors, 0)
        self._session = session
        self._once = once
        self._requests = requests
        self._plan = plan
        self._shape = shape
        self._prepare = prepare
        self._window = StreamWindow(shape)
        frame_bytes = shape.frame_vectors * 2 * plan.columns * _BYTES_PER_COUNT
        # Each frame that may be on its way, once more if all are doubled, one at the consumer's,
        # one that is being received.
        self.ring = Ring(2 * shape.window + 2, HEADER_BYTES + frame_bytes + CRC_BYTES)
        """Where the frames are."""
        self._frames: dict[int, tuple[memoryview, Frame]] = {}
        self._lent: memoryview | None = None
        self._tags: set[int] = set()
        self._tag = 0
        self._in_step_at = session.resynchronisations
        self._faults = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CountBlock:
        """Return the next block; the one before is not valid any more.

        Raises
        ------
        StreamBrokenError
            If the device does not know the stream any more.
        DeviceError
            If somebody else has stopped it.
        TransportError, FrameError
            If the link failed for good.
        """
        self._release()
        if self._window.is_complete:
            raise StopIteration
        self._faults = 0
        if not self._window.is_ready or self._window.acknowledgement() is not None:
            # Nothing to settle: whatever came in between, it begins with what is still missing.
            self._once.run(self._obtain_or_doubt, settle=lambda: None)
        first = self._window.take()
        self._lent, frame = self._frames.pop(first)
        return CountBlock(first_vector=first, counts=frame.payload)

    def start(self) -> None:
        """Start the stream."""
        self._once.run(self._start, settle=self._settle_start)

    def close(self) -> None:
        """Stop the stream."""
        self._release()
        self._session.stop_listening()
        self._frames.clear()
        self._once.run(self._requests.stop_stream, limit_s=_STOP_LIMIT_S)

    def _start(self) -> bool:
        self._prepare()
        tag = self._session.upcoming_tag
        self._tags.add(tag)
        self._begin(tag)
        self._requests.start_stream(self._shape, self._plan.source)
        return True

    def _settle_start(self) -> bool | None:
        state = self._requests.stream_state()
        if state.tag not in self._tags:
            return None
        self._begin(state.tag)
        self._in_step_at = -1
        return True

    def _begin(self, tag: int) -> None:
        self._session.stop_listening()
        self._tag = tag
        self._in_step_at = self._session.resynchronisations
        if self._shape.window:
            self._session.listen(tag, self.ring)

    def _release(self) -> None:
        if self._lent is not None:
            self.ring.take_back(self._lent)
            self._lent = None
        self._window.release()

    def _obtain_or_doubt(self) -> None:
        try:
            self._obtain()
        except DeviceError:
            self._in_step_at = -1  # it may have started again: ask whether there is a stream
            raise

    def _obtain(self) -> None:
        """Get the frame that is due."""
        if self._in_step_at != self._session.resynchronisations:
            self._catch_up()
        while True:
            self._acknowledge()
            if self._window.is_ready:
                return
            lost = self._window.lost()
            if self._session.has_pushed() or (not lost and self._shape.window):
                self._absorb_pushed()
            else:
                self._fetch(lost[0] if lost else self._window.due)

    def _acknowledge(self) -> None:
        vector = self._window.acknowledgement() if self._shape.window else None
        if vector is not None and self._session.post(f"STReam:ACKNowledge {vector}"):
            self._window.note_acknowledged(vector)

    def _absorb_pushed(self) -> None:
        block = self._session.next_pushed()
        if block is None:
            return
        expected = self._window.sent_to
        try:
            frame = self._read(block, self._tag)
        except FrameFault as error:
            # Which one it was cannot be known; pushed in order, it was the next.
            self._take_back(block)
            detail = str(error)
            if expected < self._shape.vectors:
                self._window.note_sent(self._shape.end_of(expected))
                detail += f"; vectors {spelled_ranges([expected], self._shape)} are asked for again"
            self._tell(error.kind, detail)
            return
        self._absorb(block, frame)
        lost = self._window.lost(expected) if frame.first_vector > expected else []
        if lost:
            self._tell_missing(lost)

    def _absorb(self, block: bytearray | memoryview, frame: Frame) -> None:
        first = frame.first_vector
        if isinstance(block, memoryview) and self._window.arrive(first):
            self._frames[first] = (block, frame)
            return
        self._take_back(block)
        self._tell(
            FaultKind.REPEATED_VECTORS,
            f"vectors {spelled_ranges([first], self._shape)} have come twice",
        )

    def _fetch(self, first: int) -> None:
        """Ask for one frame."""
        query = f"STReam:FETCh? {first}"
        block, tag = self._session.ask_block(query, self.ring)
        try:
            frame = self._read(block, tag, first)
        except FrameFault as error:
            self._take_back(block)
            raise FrameFault(error.kind, f"{query}: {error}") from error
        self._absorb(block, frame)

    def _read(
        self, block: bytearray | memoryview, sequence: int, wanted: int | None = None
    ) -> Frame:
        """Return the frame in a block; refuse one that is none of the stream's, or not `wanted`."""
        frame = decode_frame(block)
        if frame.sequence != sequence:
            raise FrameFault(
                FaultKind.WRONG_SEQUENCE,
                f"the frame has sequence number {frame.sequence}: it must be {sequence}",
            )
        plan, first = self._plan, frame.first_vector
        vectors = self._shape.end_of(first) - first if self._shape.begins_frame(first) else 0
        got = (frame.kind, frame.core, frame.read_mode, frame.payload.shape)
        due = (FrameKind.COUNTS, plan.core, plan.read_mode, (vectors, 2, plan.columns))
        if not vectors or got != due or first != (first if wanted is None else wanted):
            raise FrameFault(
                FaultKind.WRONG_FRAME,
                f"the stream has a frame of {frame.kind.name.lower()}, core {frame.core}, "
                f"{frame.read_mode}, shape {frame.payload.shape} from vector {first} on: that is "
                "none of its own, or not the one that is due",
            )
        self._requests.check_counts("STReam:STARt", frame.payload)
        return frame

    def _catch_up(self) -> None:
        """Find out, on a link that begins anew, what was lost on the one before."""
        while self._session.has_pushed():
            self._absorb_pushed()
        state = self._requests.stream_state()
        if state.tag != self._tag:
            raise StreamBrokenError(
                f"{self._session.resource}: the device does not know stream {self._tag} any more: "
                "it has started again, or somebody has stopped the stream or started another; "
                f"vectors from {self._window.due} on are lost"
            )
        if self._shape.window:
            # From here on it pushes to this end of the link.
            released = self._window.released
            self._requests.acknowledge(released)
            self._window.note_acknowledged(released)
            state = self._requests.stream_state()
            while self._session.has_pushed():
                self._absorb_pushed()
        before = self._window.sent_to
        self._window.note_sent(min(state.sent_to, self._shape.vectors))
        lost = self._window.lost(before)
        self._in_step_at = self._session.resynchronisations
        if lost and self._shape.window:
            self._tell_missing(lost)

    def _tell_missing(self, firsts: list[int]) -> None:
        vectors = spelled_ranges(firsts, self._shape)
        self._tell(FaultKind.MISSING_VECTORS, f"vectors {vectors} of stream {self._tag} are lost")

    def _tell(self, kind: FaultKind, detail: str) -> None:
        self._faults += 1
        if self._faults > _MOST_FAULTS:
            raise FrameFault(kind, f"{self._session.resource}: one fault after the other: {detail}")
        self._once.tell(kind, detail)

    def _take_back(self, block: bytearray | memoryview) -> None:
        if isinstance(block, memoryview):
            self.ring.take_back(block)
