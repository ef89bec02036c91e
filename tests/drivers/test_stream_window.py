"""The arithmetic of a stream's frames, whatever becomes of them on their way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_drivers.ring import LARGEST_SLOT, Ring
from hil_drivers.stream_window import StreamShape, StreamWindow, spelled_ranges

shapes = st.builds(
    StreamShape,
    vectors=st.integers(1, 200),
    frame_vectors=st.integers(1, 30),
    window=st.integers(1, 16),
)


@given(shapes)
def test_frames_of_a_stream_cover_every_vector_once(shape: StreamShape) -> None:
    covered: list[int] = []
    while len(covered) < shape.vectors:
        first = len(covered)
        assert shape.begins_frame(first)
        covered += range(first, shape.end_of(first))
    assert covered == list(range(shape.vectors))
    assert not shape.begins_frame(shape.vectors)
    assert not shape.begins_frame(-shape.frame_vectors)


@given(shapes, st.data())
def test_every_frame_is_handed_out_once_and_in_order_through_any_faults(
    shape: StreamShape, data: st.DataObject
) -> None:
    """A model of a device and a line that loses, doubles and reorders, against the window."""
    window = StreamWindow(shape)
    line: list[int] = []
    sent, acknowledged = 0, 0
    handed_out: list[int] = []
    while not window.is_complete:
        most = acknowledged + shape.window * shape.frame_vectors
        while sent < min(most, shape.vectors):
            fate = data.draw(st.sampled_from(["arrives", "lost", "doubled", "swapped"]))
            line += {"lost": [], "doubled": [sent, sent]}.get(fate, [sent])
            if fate == "swapped":
                line.reverse()
            sent = min(sent + shape.frame_vectors, shape.vectors)
        known: set[int] = set()
        while line:
            first = line.pop(0)
            is_new = first not in known and first >= sum_of(handed_out, shape)
            assert window.arrive(first) == is_new
            known.add(first)
        window.note_sent(sent)
        for first in window.lost():
            assert first not in known
            assert window.arrive(first)
        assert window.lost() == []
        while window.is_ready:
            handed_out.append(window.take())
            window.release()
        vector = window.acknowledgement()
        if vector is not None:
            assert acknowledged < vector == window.released <= sent
            window.note_acknowledged(vector)
            acknowledged = vector
    assert handed_out == list(range(0, shape.vectors, shape.frame_vectors))


def sum_of(handed_out: list[int], shape: StreamShape) -> int:
    return min(len(handed_out) * shape.frame_vectors, shape.vectors)


def test_half_a_window_is_acknowledged_at_once() -> None:
    window = StreamWindow(StreamShape(1000, 10, 4))
    told = []
    for first in range(0, 60, 10):
        window.arrive(first)
        window.take()
        window.release()
        told.append(window.acknowledgement())
        if told[-1] is not None:
            window.note_acknowledged(told[-1])
    assert told == [None, 20, None, 40, None, 60]


def test_what_is_still_at_the_consumers_is_not_acknowledged() -> None:
    window = StreamWindow(StreamShape(100, 10, 1))
    window.arrive(0)
    assert window.take() == 0
    assert window.acknowledgement() is None
    window.release()
    assert window.acknowledgement() == 10


def test_leave_ends_with_the_stream() -> None:
    shape = StreamShape(95, 10, 4)
    assert [shape.leave_to(0), shape.leave_to(50), shape.leave_to(60)] == [40, 90, 95]


def test_lost_frames_are_named_by_their_vectors() -> None:
    shape = StreamShape(45, 10, 4)
    window = StreamWindow(shape)
    window.arrive(20)
    assert window.lost() == [0, 10]
    window.note_sent(45)
    assert spelled_ranges(window.lost(), shape) == "0 to 19, 30 to 44"
    assert spelled_ranges(window.lost(15), shape) == "30 to 44"


@pytest.mark.parametrize(
    ("vectors", "frame_vectors", "window"),
    [(0, 1, 1), (2**32, 1, 1), (1, 0, 1), (1, 1, -1), (1, 1, 17)],
)
def test_impossible_shapes_are_refused(vectors: int, frame_vectors: int, window: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        StreamShape(vectors, frame_vectors, window)


@pytest.mark.parametrize(
    ("largest_block", "slot_bytes"),
    [(1, 1 << 20), (1 << 20, 1 << 20), ((1 << 20) + 1, 2 << 20), (LARGEST_SLOT, 4 << 20)],
)
def test_slots_have_one_two_or_four_mebibytes(largest_block: int, slot_bytes: int) -> None:
    assert Ring(1, largest_block).slot_bytes == slot_bytes


def test_ring_lends_each_slot_to_one_at_a_time() -> None:
    ring = Ring(2, 100)
    first, second = ring.lend(100), ring.lend(40)
    assert first is not None
    assert second is not None
    assert (len(first), len(second), ring.free, ring.lend(1)) == (100, 40, 0, None)
    assert not np.shares_memory(np.asarray(first), np.asarray(second))
    ring.take_back(first)
    ring.take_back(first)
    ring.take_back(memoryview(bytearray(3)))
    assert ring.free == 1
    again = ring.lend(7)
    assert again is not None
    assert np.shares_memory(np.asarray(first), np.asarray(again))


def test_ring_has_no_room_for_more_than_a_slot() -> None:
    assert Ring(1, 10).lend((1 << 20) + 1) is None
    with pytest.raises(ValueError, match="must be 1 to 4194304"):
        Ring(1, LARGEST_SLOT + 1)
