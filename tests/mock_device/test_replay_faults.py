"""Faults of the link that were recorded happen again, to the request that met them."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

import example_steps as example
from hil.core.readout import ReadMode
from hil_datasets.recording import Recording
from hil_datasets.step_timing import RecordedFault
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over
from hil_drivers.link_fault import FaultKind, LinkFault
from hil_mock_device.loopback import LoopbackTransport
from hil_mock_device.replay_conversation import ReplayInstrument, Tempo
from hil_mock_device.replay_schedule import REPLAYED
from recorded_blocks import inputs_of, recorded_step

BLOCKS = 6


def fault(
    block: int,
    kind: str,
    request: str = "READ?",
    *,
    noticed_s: float = 0.25,
    recovered_s: float = 0.125,
) -> RecordedFault:
    """Return a fault that was noticed so long after its block, one each second, had begun."""
    return RecordedFault(
        block=block,
        kind=kind,
        request=request,
        noticed_s=block + noticed_s,
        recovered_s=recovered_s,
    )


class Replayed:
    """A board on a recording with faults, and what it tells of its link."""

    def __init__(
        self, faults: Sequence[RecordedFault], *, speed: float = math.inf, plays_faults: bool = True
    ) -> None:
        began_s = [float(block) for block in range(BLOCKS)]
        recording = Recording([recorded_step(began_s, [at + 0.5 for at in began_s], faults=faults)])
        self.now_s = 0.0
        self.slept_until_s: list[float] = []
        self.met: list[LinkFault] = []
        instrument = ReplayInstrument(
            recording, Tempo(speed=speed, plays_faults=plays_faults), clock=lambda: self.now_s
        )
        transport = LoopbackTransport(
            instrument.conversation(),
            resource="recording",
            connect=instrument.conversation,
            sleep=self._sleep,
        )
        self.board: AimcBoard = board_over(transport, 60.0, on_fault=self.met.append)

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_until_s.append(self.now_s)

    def read(self, block: int) -> float:
        counts = self.board.read_counts(0, ReadMode.ONE_PHASE, inputs_of(BLOCKS)[block][None])
        assert counts.tolist() == [[[block] * 3] * 2]
        return self.now_s

    def read_all(self) -> list[float]:
        return [self.read(block) for block in range(BLOCKS)]

    @property
    def told(self) -> list[tuple[FaultKind, str]]:
        return [(fault.kind, fault.request) for fault in self.met]


@pytest.mark.parametrize("kind", REPLAYED)
def test_recorded_fault_meets_the_same_request_once_and_no_vector_is_lost(kind: FaultKind) -> None:
    replayed = Replayed([fault(2, kind.value)])
    replayed.read(0)
    replayed.read(1)
    assert replayed.told == []
    replayed.read(2)
    assert replayed.told == [(kind, "READ?")]
    replayed.read(3)
    assert len(replayed.met) == 1


@pytest.mark.parametrize("kind", REPLAYED)
def test_faults_can_be_left_out(kind: FaultKind) -> None:
    replayed = Replayed([fault(2, kind.value)], plays_faults=False)
    replayed.read_all()
    assert replayed.told == []


@pytest.mark.parametrize(
    "request_text", ["CORE:SELect 0", "READ:MODE ONEPhase", "NMPU:STATe OFF", "INPut:DATA"]
)
def test_fault_before_a_readout_comes_before_that_readout(request_text: str) -> None:
    replayed = Replayed([fault(3, "timeout", request_text)])
    replayed.read(0)
    replayed.read(1)
    replayed.read(2)
    assert replayed.told == []
    replayed.read(3)
    assert replayed.told == [(FaultKind.TIMEOUT, request_text)]


def test_several_faults_of_a_block_come_in_their_order() -> None:
    replayed = Replayed(
        [
            fault(1, "timeout", noticed_s=0.1),
            fault(1, "link_lost", "FETCh:COUNts?", noticed_s=0.2),
            fault(1, "truncation", "FETCh:COUNts?", noticed_s=0.3),
        ]
    )
    replayed.read_all()
    assert replayed.told == [
        (FaultKind.TIMEOUT, "READ?"),
        (FaultKind.LINK_LOST, "FETCh:COUNts?"),
        (FaultKind.TRUNCATION, "FETCh:COUNts?"),
    ]


def test_lost_answer_to_the_fetched_counts_of_a_corrected_readout() -> None:
    replayed = Replayed([fault(BLOCKS - 1, "timeout", "FETCh:COUNts?")])
    conclusion = example.CONCLUSION
    replayed.board.write_nmpu(0, ReadMode.ONE_PHASE, conclusion.fmt, conclusion.registers)
    readout = replayed.board.read_corrected_with_counts(
        0, ReadMode.ONE_PHASE, inputs_of(BLOCKS)[-1][None]
    )
    assert readout.counts[0, 0, 0] == BLOCKS - 1
    assert readout.outputs is not None
    assert readout.outputs.tolist() == [[7, -8, 9]]
    assert replayed.told == [(FaultKind.TIMEOUT, "FETCh:COUNts?")]


def test_lost_answer_to_a_programming_does_not_program_again() -> None:
    replayed = Replayed([fault(0, "timeout", "CORE:PROGram")])
    replayed.board.program(0, example.WEIGHTS)
    assert replayed.told == [(FaultKind.TIMEOUT, "CORE:PROGram")]
    assert replayed.read(0) == 0.0


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - set(REPLAYED)))
def test_other_faults_are_told_by_the_recording_and_not_played(kind: FaultKind) -> None:
    replayed = Replayed([fault(2, kind.value)])
    replayed.read_all()
    assert replayed.told == []


def test_kind_that_this_version_does_not_know_is_not_played() -> None:
    replayed = Replayed([fault(2, "sabotage")])
    replayed.read_all()
    assert replayed.told == []


@pytest.mark.parametrize("kind", ["timeout", "link_lost", "truncation", "wrong_crc"])
@pytest.mark.parametrize(("speed", "factor"), [(1, 1.0), (2, 0.5)])
def test_block_with_a_fault_ends_when_it_did(kind: str, speed: float, factor: float) -> None:
    replayed = Replayed([fault(2, kind)], speed=speed)
    arrived_s = replayed.read_all()
    assert arrived_s == pytest.approx([factor * (block + 0.5) for block in range(BLOCKS)])


@pytest.mark.parametrize(("speed", "factor"), [(1, 1.0), (4, 0.25)])
def test_fault_is_noticed_when_it_was(speed: float, factor: float) -> None:
    replayed = Replayed([fault(2, "timeout", noticed_s=0.375)], speed=speed)
    replayed.read_all()
    assert factor * 2.375 in replayed.slept_until_s


def test_time_that_a_recorded_fault_took_is_not_waited_for_without_it() -> None:
    began_s = [0.0, 1.0, 20.0]
    lost = RecordedFault(block=1, kind="timeout", request="READ?", noticed_s=11.0, recovered_s=0.25)
    recording = Recording([recorded_step(began_s, [0.5, 11.25, 20.5], faults=[lost])])
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    instrument = ReplayInstrument(
        recording, Tempo(speed=1, plays_faults=False), clock=lambda: now[0]
    )
    transport = LoopbackTransport(instrument.conversation(), resource="recording", sleep=sleep)
    board = board_over(transport, 60.0)
    arrived_s = []
    for codes in inputs_of(3):
        board.read_counts(0, ReadMode.ONE_PHASE, codes[None])
        arrived_s.append(now[0])
    assert arrived_s == pytest.approx([0.5, 0.75, 1.25])


def test_reset_brings_every_fault_again() -> None:
    replayed = Replayed([fault(2, "timeout")])
    replayed.read_all()
    replayed.board.reset()
    replayed.read_all()
    assert replayed.told == [(FaultKind.TIMEOUT, "READ?")] * 2


def test_answer_that_was_dropped_cost_no_time() -> None:
    stale = fault(2, "stale_tag", noticed_s=0.4, recovered_s=0.0)
    replayed = Replayed([stale], speed=1)
    assert replayed.read_all() == pytest.approx([block + 0.5 for block in range(BLOCKS)])


def test_all_outputs_of_a_replay_through_faults_are_those_without() -> None:
    requests = ("READ?", "FETCh:COUNts?", "INPut:DATA", "CORE:SELect 0")
    rng = np.random.default_rng(5)
    kinds = ("timeout", "truncation", "link_lost")
    faults = [
        fault(block, kinds[rng.integers(3)], requests[rng.integers(4)])
        for block in range(BLOCKS)
        for _ in range(2)
    ]
    replayed = Replayed(faults)
    replayed.read_all()  # it compares the counts
    assert len(replayed.met) >= BLOCKS
