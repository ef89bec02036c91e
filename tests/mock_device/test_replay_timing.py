"""Recorded answers come at recorded times, against a schedule that nothing drifts from."""

import math
import time
from collections.abc import Iterator

import numpy as np
import pytest

import example_steps as example
from hil.core.readout import ReadMode
from hil_datasets.recording import Recording
from hil_datasets.step import StepKey
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over
from hil_mock_device.loopback import LoopbackTransport
from hil_mock_device.replay_conversation import ReplayInstrument, Tempo
from recorded_blocks import even_recording, inputs_of, recorded_step


class Bench:
    """A host that reads blocks from a recording, with a clock that only sleeps and work move."""

    def __init__(self, recording: Recording, speed: float, *, overslept_s: float = 0.0) -> None:
        self.now_s = 1000.0
        self.sleeps: list[float] = []
        self._overslept_s = overslept_s
        instrument = ReplayInstrument(
            recording, Tempo(speed=speed, plays_faults=False), clock=lambda: self.now_s
        )
        transport = LoopbackTransport(
            instrument.conversation(), resource="recording", sleep=self._sleep
        )
        self.chip: AimcBoard = board_over(transport, 60.0)

    def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now_s += seconds + self._overslept_s

    def read(self, block: int, *, blocks: int, key: StepKey = example.ONE) -> float:
        """Read one block; return when its answer was there, from the start of the clock."""
        counts = self.chip.read_counts(key.core, key.read_mode, inputs_of(blocks)[block][None])
        assert counts[0, 0, 0] == block
        return self.now_s - 1000.0

    def read_all(self, blocks: int) -> list[float]:
        return [self.read(block, blocks=blocks) for block in range(blocks)]


def test_thousand_short_gaps_at_ten_times_the_speed_do_not_drift() -> None:
    bench = Bench(even_recording(1000, every_s=0.01, answer_s=0.005), 10, overslept_s=0.0004)
    arrived_s = np.array(bench.read_all(1000))
    due_s = np.arange(1000) * 0.001 + 0.0005
    assert np.abs(arrived_s - due_s).max() < 0.0015, "a wait left out, or a sleep's lateness"
    assert 300 < len(bench.sleeps) <= 1000, "or the test says nothing"


def test_slow_sleep_is_made_up_for_at_the_next_answer() -> None:
    bench = Bench(even_recording(5, every_s=1.0, answer_s=0.5), 1, overslept_s=0.2)
    assert bench.read_all(5) == pytest.approx([0.7, 1.7, 2.7, 3.7, 4.7])


def test_gap_below_a_millisecond_is_not_slept_for() -> None:
    bench = Bench(even_recording(10, every_s=0.0001, answer_s=0.0001), 1)
    bench.read_all(10)
    assert len(bench.sleeps) <= 1


@pytest.mark.parametrize(("speed", "factor"), [(1, 1.0), (10, 0.1), (0.5, 2.0)])
def test_speed_scales_every_time(speed: float, factor: float) -> None:
    recording = Recording([recorded_step([0.5, 1.0, 1.1], [0.9, 1.05, 1.5])])
    bench = Bench(recording, speed)
    assert bench.read_all(3) == pytest.approx([factor * at for at in (0.4, 0.55, 1.0)])


def test_highest_speed_never_waits() -> None:
    bench = Bench(even_recording(50, every_s=7.0, answer_s=3.0), math.inf)
    assert bench.read_all(50) == [0.0] * 50
    assert bench.sleeps == []


def test_recording_without_times_never_waits() -> None:
    recording = Recording([recorded_step([0.0, 5.0], [1.0, 6.0], is_timed=False)])
    bench = Bench(recording, 1)
    assert bench.read_all(2) == [0.0, 0.0]


def test_late_host_is_answered_at_once_until_it_has_caught_up() -> None:
    bench = Bench(even_recording(10, every_s=1.0, answer_s=0.5), 1)
    bench.read(0, blocks=10)
    bench.now_s += 3.0
    late_s = [bench.read(block, blocks=10) for block in range(1, 10)]
    assert late_s == pytest.approx([3.5, 3.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5])


def test_longer_pause_of_the_recording_is_not_waited_for() -> None:
    recording = Recording([recorded_step([0.0, 3600.0, 3601.0], [0.5, 3600.25, 3601.25])])
    bench = Bench(recording, 1)
    assert bench.read_all(3) == pytest.approx([0.5, 0.75, 1.75])


def test_shorter_pause_is() -> None:
    recording = Recording([recorded_step([0.0, 1.25], [0.5, 1.5])])
    assert Bench(recording, 1).read_all(2) == pytest.approx([0.5, 1.5])


def test_schedule_goes_on_from_step_to_step_in_the_order_of_the_run() -> None:
    later = recorded_step([0.1], [0.2], key=example.ONE, since_run_began_s=1.0)
    earlier = recorded_step([0.0], [0.5], key=example.OTHER_CORE, since_run_began_s=0.25)
    bench = Bench(Recording([later, earlier]), 1)
    assert bench.read(0, blocks=1, key=example.OTHER_CORE) == pytest.approx(0.5)
    assert bench.read(0, blocks=1) == pytest.approx(0.95), "1.2 - 0.25 of the run's time"


def test_host_that_leaves_out_blocks_begins_a_new_schedule() -> None:
    bench = Bench(even_recording(10, every_s=1.0, answer_s=0.5), 1)
    assert bench.read(0, blocks=10) == pytest.approx(0.5)
    assert bench.read(7, blocks=10) == pytest.approx(1.0)
    assert bench.read(8, blocks=10) == pytest.approx(2.0)


def test_reset_begins_a_new_schedule() -> None:
    bench = Bench(even_recording(3, every_s=1.0, answer_s=0.5), 1)
    assert bench.read_all(3) == pytest.approx([0.5, 1.5, 2.5])
    bench.chip.reset()
    assert bench.read_all(3) == pytest.approx([3.0, 4.0, 5.0])


def test_larger_blocks_come_when_their_last_vector_did() -> None:
    bench = Bench(even_recording(6, every_s=1.0, answer_s=0.5), 1)
    for first, due_s in ((0, 2.5), (3, 5.5)):
        bench.chip.read_counts(0, ReadMode.ONE_PHASE, inputs_of(6)[first : first + 3])
        assert bench.now_s - 1000.0 == pytest.approx(due_s)


def test_outputs_and_the_counts_behind_them_come_with_one_wait() -> None:
    bench = Bench(even_recording(2, every_s=1.0, answer_s=0.5), 1)
    registers, fmt = example.CONCLUSION.registers, example.CONCLUSION.fmt
    bench.chip.write_nmpu(0, ReadMode.ONE_PHASE, fmt, registers)
    last = inputs_of(2)[1][None]
    readout = bench.chip.read_corrected_with_counts(0, ReadMode.ONE_PHASE, last)
    assert readout.outputs is not None
    assert readout.outputs.tolist() == [[7, -8, 9]]
    assert bench.sleeps == pytest.approx([0.5])


def test_other_requests_do_not_wait() -> None:
    bench = Bench(even_recording(2, every_s=1.0, answer_s=0.5), 1)
    bench.read(0, blocks=2)
    slept = len(bench.sleeps)
    bench.chip.identify()
    bench.chip.program(0, example.WEIGHTS)
    bench.chip.temperature_c(0, ReadMode.ONE_PHASE)
    assert len(bench.sleeps) == slept


def test_real_time_keeps_to_the_schedule() -> None:
    recording = even_recording(100, every_s=0.05, answer_s=0.025)
    instrument = ReplayInstrument(recording, Tempo(speed=10, plays_faults=False))
    transport = LoopbackTransport(instrument.conversation(), resource="recording")
    chip = board_over(transport, 60.0)
    began_s = time.monotonic()
    for codes in inputs_of(100):
        chip.read_counts(0, ReadMode.ONE_PHASE, codes[None])
    took_s = time.monotonic() - began_s
    assert 0.49 < took_s < 1.5, "99 gaps of 5 ms and an answer of 2.5 ms: 0.4975 s"


@pytest.fixture
def fast_and_plain() -> Iterator[tuple[AimcBoard, AimcBoard]]:
    recording = even_recording(4, every_s=1.0, answer_s=0.5)
    boards = []
    for plays_faults in (True, False):
        tempo = Tempo(speed=math.inf, plays_faults=plays_faults)
        instrument = ReplayInstrument(recording, tempo)
        transport = LoopbackTransport(instrument.conversation(), resource="recording")
        boards.append(board_over(transport, 60.0))
    yield boards[0], boards[1]
    for board in boards:
        board.close()


def test_played_at_once_it_is_not_slower_than_the_bare_device(
    fast_and_plain: tuple[AimcBoard, AimcBoard],
) -> None:
    inputs = np.tile(inputs_of(4), (64, 1))
    times: dict[int, float] = {}
    for _ in range(5):
        for number, board in enumerate(fast_and_plain):
            began_s = time.perf_counter()
            for _ in range(10):
                board.read_counts(0, ReadMode.ONE_PHASE, inputs)
            took_s = time.perf_counter() - began_s
            times[number] = min(times.get(number, math.inf), took_s)
    assert times[0] < 2 * times[1]


@pytest.mark.parametrize(
    ("speed", "faults", "tempo"),
    [
        ("1", "on", Tempo(speed=1.0, plays_faults=True)),
        ("10", "off", Tempo(speed=10.0, plays_faults=False)),
        ("max", "on", Tempo(speed=math.inf, plays_faults=True)),
        ("0.5", "on", Tempo(speed=0.5)),
    ],
)
def test_tempo_is_read(speed: str, faults: str, tempo: Tempo) -> None:
    assert Tempo.parse(speed=speed, faults=faults) == tempo


@pytest.mark.parametrize("speed", ["", "0", "-1", "nan", "inf", "1e9", "fast", "1_0", "\u0661"])
def test_speed_that_is_none_is_refused(speed: str) -> None:
    with pytest.raises(ValueError, match=r"must be max, or a number from 0\.001 to 1000000"):
        Tempo.parse(speed=speed, faults="on")


def test_faults_are_on_or_off() -> None:
    with pytest.raises(ValueError, match="faults 'maybe' must be on or off"):
        Tempo.parse(speed="1", faults="maybe")
