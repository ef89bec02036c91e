"""Streams of counts over every carrier: every vector once, whatever the consumer does."""

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hil.core.errors import DeviceError
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.chip import StreamingChip
from hil_drivers.connect import board_over
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from streamed_board import CARRIERS, ONE, collect, consume, expected, inputs, linked, weights
from unruly_board import CountingChip


@pytest.fixture(params=CARRIERS)
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AimcBoard]:
    """A board with a programmed core, over each carrier."""
    firmware = Firmware(CountingChip())
    with linked(request.param, firmware, tmp_path, lambda: MockDevice(firmware)) as transport:
        board = board_over(transport, 5.0)
        board.program(0, weights())
        yield board
        assert board.health.faults == {}


@pytest.mark.parametrize(
    ("vectors", "frame_vectors", "window"),
    [(1, 1, 1), (100, 10, 1), (101, 10, 8), (5, 10, 4), (300, 3, 16), (64, 8, 0)],
)
def test_stream_is_what_the_chip_counts_round_and_round(
    board: AimcBoard, vectors: int, frame_vectors: int, window: int
) -> None:
    due = expected(vectors, frame_vectors, inputs())
    with board.stream_counts(
        0, ONE, inputs(), vectors=vectors, frame_vectors=frame_vectors, window=window
    ) as stream:
        found = collect(stream)
    assert np.array_equal(found, due)


def test_latched_counts_go_round_and_round_without_the_chip(board: AimcBoard) -> None:
    latched = board.read_counts(0, ONE, inputs(5))
    with board.stream_latched_counts(0, ONE, vectors=23, frame_vectors=4) as stream:
        found = collect(stream)
    assert np.array_equal(found, latched[np.arange(23) % 5])
    assert np.array_equal(board.latched_counts(0, ONE, 5), latched)


def test_other_requests_may_be_made_in_mid_stream(board: AimcBoard) -> None:
    due = expected(60, 5, inputs())
    found = []
    with board.stream_counts(0, ONE, inputs(), vectors=60, frame_vectors=5, window=3) as stream:
        for block in stream:
            found.append(block.counts.copy())
            assert board.identify().model
            assert board.read_nmpu is not None
    assert np.array_equal(np.concatenate(found), due)


def test_stream_that_is_left_early_is_stopped(board: AimcBoard) -> None:
    with board.stream_counts(0, ONE, inputs(), vectors=10**9, frame_vectors=4) as stream:
        assert next(stream).first_vector == 0
        assert next(stream).first_vector == 4
    assert board.identify().model
    with board.stream_counts(0, ONE, inputs(), vectors=20, frame_vectors=4) as stream:
        assert len(collect(stream)) == 20


def test_error_in_the_consumer_goes_up_and_the_board_is_usable(board: AimcBoard) -> None:
    with pytest.raises(ZeroDivisionError):
        consume(board, 2, lambda: 1 // 0)
    assert board.read_counts(0, ONE, inputs()).shape == (7, 2, 8)


def test_stream_without_latched_counts_is_refused(board: AimcBoard) -> None:
    with (
        pytest.raises(DeviceError, match="no counts are latched"),
        board.stream_latched_counts(0, ONE, vectors=23),
    ):
        pass


def test_board_is_a_streaming_chip(board: AimcBoard) -> None:
    chip: StreamingChip = board
    with chip.stream_counts(0, ONE, inputs(), vectors=9) as stream:
        assert [(block.first_vector, len(block.counts)) for block in stream] == [(0, 9)]


@pytest.mark.parametrize("frame_vectors", [0, 4097])
def test_impossible_frames_are_refused(board: AimcBoard, frame_vectors: int) -> None:
    with (
        pytest.raises(ValueError, match="must be 1 to 4096"),
        board.stream_counts(0, ONE, inputs(), vectors=9, frame_vectors=frame_vectors),
    ):
        pass


# --- memory --------------------------------------------------------------------------------------


def test_blocks_are_views_of_a_few_slots_that_are_used_again(board: AimcBoard) -> None:
    with board.stream_counts(0, ONE, inputs(), vectors=400, frame_vectors=4, window=4) as stream:
        slots = [np.asarray(slot) for slot in stream.ring.slots]
        used = [
            next(i for i, slot in enumerate(slots) if np.shares_memory(slot, block.counts))
            for block in stream
        ]
    assert len(used) == 100
    assert len(set(used)) <= 10


def test_blocks_cannot_be_written(board: AimcBoard) -> None:
    with board.stream_counts(0, ONE, inputs(), vectors=8, frame_vectors=4) as stream:
        assert not next(stream).counts.flags.writeable


@pytest.mark.parametrize("carrier", ["tcp", "serial"])
def test_slow_consumer_loses_nothing_and_fills_no_memory(carrier: str, tmp_path: Path) -> None:
    chip = CountingChip()
    firmware = Firmware(chip)
    frame_vectors, frames, window = 4096, 60, 2  # 128 KiB each: 7.5 MiB in all
    given = inputs()
    due = expected(frame_vectors * frames, frame_vectors, given)
    with linked(carrier, firmware, tmp_path, lambda: MockDevice(firmware)) as transport:
        board = board_over(transport, 5.0)
        board.program(0, weights())
        tracemalloc.start()
        with board.stream_counts(
            0, ONE, given, vectors=len(due), frame_vectors=frame_vectors, window=window
        ) as stream:
            for number, block in enumerate(stream):
                if number in (3, 30):
                    time.sleep(0.5)
                    # On its way, kept, and at most one that is being made.
                    assert chip.conversions <= number + 1 + window
                    assert firmware.settings.stream is not None
                    assert len(firmware.settings.stream.kept) <= window
                end = block.first_vector + len(block.counts)
                assert np.array_equal(block.counts, due[block.first_vector : end])
            assert end == len(due)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert board.health.faults == {}
    # Six slots of 1 MiB, and the device, in this very process, with what one conversion takes.
    assert peak < 14 << 20
