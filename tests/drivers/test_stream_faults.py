"""Streams of counts through faults: told by their vectors, asked for again, nothing twice."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.errors import DeviceError, HilError, TransportError
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over, connect_chip
from hil_drivers.link_fault import FaultKind, LinkFault, StreamBrokenError
from hil_drivers.recovery import RecoveryPolicy
from hil_mock_device.conversation import Conversation, Outgoing
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.listeners.tcp import TcpListener
from hil_mock_device.loopback import LoopbackTransport
from served_board import served_board
from streamed_board import (
    ANY_PORT,
    CARRIERS,
    ONE,
    TIMEOUT_S,
    Spoiler,
    SpoiltConversation,
    collect,
    consume,
    cut,
    expected,
    flip,
    inputs,
    linked,
    swap,
    truncate,
    weights,
)
from unruly_board import CountingChip

VECTORS, FRAME_VECTORS, WINDOW = 200, 10, 4


@contextmanager
def spoilt_board(
    carrier: str,
    tmp_path: Path,
    changes: dict[int, Callable[[bytes], list[Outgoing]]],
    told: list[LinkFault],
) -> Iterator[tuple[AimcBoard, Spoiler, CountingChip]]:
    chip = CountingChip()
    spoiler = Spoiler(Firmware(chip), dict(changes))
    with linked(carrier, spoiler.firmware, tmp_path, spoiler.converse) as transport:
        board = board_over(transport, TIMEOUT_S, on_fault=told.append)
        board.program(0, weights())
        yield board, spoiler, chip


def stream_through(board: AimcBoard) -> npt.NDArray[np.uint16]:
    with board.stream_counts(
        0, ONE, inputs(), vectors=VECTORS, frame_vectors=FRAME_VECTORS, window=WINDOW
    ) as stream:
        return collect(stream)


def is_whole(found: npt.NDArray[np.uint16], chip: CountingChip) -> bool:
    """Tell whether nothing is wrong, doubled or missing, and nothing was measured twice."""
    frames = VECTORS // FRAME_VECTORS
    return chip.conversions == frames and np.array_equal(
        found, expected(VECTORS, FRAME_VECTORS, inputs())
    )


duplex = pytest.mark.parametrize("carrier", ["loopback", "tcp", "visa", "serial"])
"""Carriers on which a device pushes."""


@duplex
@pytest.mark.parametrize(
    ("change", "kind", "vectors"),
    [
        (lambda _: [], FaultKind.MISSING_VECTORS, "50 to 59"),
        (flip, FaultKind.WRONG_CRC, "50 to 59"),
        (lambda item: [item, item], FaultKind.REPEATED_VECTORS, "50 to 59"),
    ],
    ids=["dropped", "corrupted", "doubled"],
)
def test_spoilt_frame_is_told_by_its_vectors_and_asked_for_again(
    carrier: str,
    tmp_path: Path,
    change: Callable[[bytes], list[Outgoing]],
    kind: FaultKind,
    vectors: str,
) -> None:
    told: list[LinkFault] = []
    with spoilt_board(carrier, tmp_path, {5: change}, told) as (board, _, chip):
        assert is_whole(stream_through(board), chip)
        assert board.health.not_recovered == 0
    assert [fault.kind for fault in told] == [kind]
    assert f"vectors {vectors} " in told[0].detail
    assert told[0].recovered_s is not None


@duplex
def test_run_of_dropped_frames_is_told_as_one_gap(carrier: str, tmp_path: Path) -> None:
    told: list[LinkFault] = []
    changes: dict[int, Callable[[bytes], list[Outgoing]]] = {n: lambda _: [] for n in (4, 5)}
    with spoilt_board(carrier, tmp_path, changes, told) as (board, _, chip):
        assert is_whole(stream_through(board), chip)
    assert [fault.kind for fault in told] == [FaultKind.MISSING_VECTORS]
    assert "vectors 40 to 59 of stream" in told[0].detail


@duplex
def test_frames_out_of_order_are_put_in_order(carrier: str, tmp_path: Path) -> None:
    told: list[LinkFault] = []
    with spoilt_board(carrier, tmp_path, {}, told) as (board, spoiler, chip):
        spoiler.changes[5] = swap(spoiler)
        assert is_whole(stream_through(board), chip)
    # Asked for again unless it has come by then; at most it comes twice.
    assert {fault.kind for fault in told} <= {FaultKind.MISSING_VECTORS, FaultKind.REPEATED_VECTORS}
    assert told[0].kind is FaultKind.MISSING_VECTORS
    assert all("50 to 59" in fault.detail for fault in told)


@duplex
@pytest.mark.parametrize("number", [0, 3, 7, VECTORS // FRAME_VECTORS - 1])
def test_last_frame_of_a_window_that_is_dropped_is_noticed_by_the_silence(
    carrier: str, number: int, tmp_path: Path
) -> None:
    told: list[LinkFault] = []
    changes: dict[int, Callable[[bytes], list[Outgoing]]] = {
        n: lambda _: [] for n in range(number, number + WINDOW)
    }
    with spoilt_board(carrier, tmp_path, changes, told) as (board, _, chip):
        assert is_whole(stream_through(board), chip)
    kinds = {fault.kind for fault in told}
    assert {FaultKind.TIMEOUT, FaultKind.MISSING_VECTORS} <= kinds
    assert any(f" {number * 10} to " in fault.detail for fault in told)


@pytest.mark.parametrize("carrier", ["tcp", "visa", "serial"])
@pytest.mark.parametrize("change", [cut, truncate])
def test_link_that_breaks_in_mid_frame_goes_on_without_a_vector_lost_or_doubled(
    carrier: str, change: Callable[[bytes], list[Outgoing]], tmp_path: Path
) -> None:
    told: list[LinkFault] = []
    changes = {3: change, 9: change}
    with spoilt_board(carrier, tmp_path, changes, told) as (board, spoiler, chip):
        assert is_whole(stream_through(board), chip)
        assert board.health.not_recovered == 0
        assert spoiler.pushed >= VECTORS // FRAME_VECTORS
    assert FaultKind.MISSING_VECTORS in {fault.kind for fault in told}
    assert any("vectors 30 to " in fault.detail for fault in told)


@duplex
def test_any_mixture_of_faults_leaves_every_vector_once(carrier: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    kinds: list[Callable[[bytes], list[Outgoing]]] = [
        flip,
        lambda _: [],
        lambda item: [item, item],
        lambda item: [b"\xff" * 7, item],
    ]
    changes = {n: kinds[rng.integers(len(kinds))] for n in range(60) if rng.random() < 0.4}
    with spoilt_board(carrier, tmp_path, changes, []) as (board, _, chip):
        assert is_whole(stream_through(board), chip)
        assert board.health.not_recovered == 0


def test_frames_that_stay_spoilt_are_an_error_in_the_deadline() -> None:
    spoiler = Spoiler(Firmware(CountingChip()), {})
    told: list[LinkFault] = []

    def converse() -> Conversation:
        return AlwaysFlipping(spoiler)

    policy = RecoveryPolicy(attempts=3, deadline_s=3)
    transport = LoopbackTransport(converse(), resource="flipped", connect=converse)
    board = board_over(transport, TIMEOUT_S, recovery=policy, on_fault=told.append)
    board.program(0, weights())
    begin = time.monotonic()
    with pytest.raises(HilError, match="CRC"):
        stream_through(board)
    assert time.monotonic() - begin < 10
    assert told[-1].recovered_s is None


class AlwaysFlipping(SpoiltConversation):
    """A line that flips a bit of every large message."""

    def answers(self, data: bytes) -> Iterator[Outgoing]:  # type: ignore[override]
        for item in super().answers(data):
            yield from flip(item) if isinstance(item, bytes) and b" #" in item else [item]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_reboot_in_mid_stream_is_an_error_that_names_what_is_lost(
    carrier: str, tmp_path: Path
) -> None:
    firmware = Firmware(CountingChip())
    told: list[LinkFault] = []
    with linked(carrier, firmware, tmp_path, lambda: MockDevice(firmware)) as transport:
        board = board_over(transport, TIMEOUT_S, on_fault=told.append)
        board.program(0, weights())
        with pytest.raises(StreamBrokenError, match=r"vectors from \d+ on are lost"):
            consume(board, 5, firmware.settings.reboot)
        assert FaultKind.REBOOT in {fault.kind for fault in told}
        assert board.read_counts(0, ONE, inputs()).shape == (7, 2, 8)


@duplex
def test_stream_that_somebody_made_safe_is_an_error(carrier: str, tmp_path: Path) -> None:
    firmware = Firmware(CountingChip())
    with linked(carrier, firmware, tmp_path, lambda: MockDevice(firmware)) as transport:
        board = board_over(transport, TIMEOUT_S)
        board.program(0, weights())
        other = MockDevice(firmware)
        with pytest.raises((DeviceError, TransportError), match="stream"):
            consume(board, 5, lambda: other.receive(b"@1 SAFE\n"))
        board.safe()


def consume_until_signal(board: AimcBoard, timer: threading.Timer) -> None:
    """Consume, and wait for a signal that a stalled machine sends late: it shall not end pytest."""
    consume(board, 3, timer.start)
    timer.join()
    time.sleep(5)


def test_ctrl_c_in_mid_stream_leaves_the_session_usable() -> None:
    firmware = Firmware(CountingChip())
    with served_board(TcpListener(ANY_PORT), lambda: MockDevice(firmware)) as resource:
        board = connect_chip(resource, timeout_s=5)
        board.program(0, weights())
        for after_s in (0.02, 0.05, 0.08, 0.11, 0.15):
            timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                consume_until_signal(board, timer)
            timer.join()
            assert firmware.settings.stream is None
            assert board.read_counts(0, ONE, inputs()).shape == (7, 2, 8)
        board.close()
