"""What a run notes of its time and of its link."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from hil.campaign.run_clock import RunClock, StepWatch
from hil_drivers.link_fault import FaultKind, LinkFault

LOST = LinkFault(kind=FaultKind.TIMEOUT, request="READ?", detail="silence", recovered_s=0.5)


class FakeClock:
    """Monotonic seconds that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_blocks_and_faults_are_timed_from_the_beginning_of_the_step() -> None:
    clock = FakeClock()
    watch = StepWatch(began_utc="2026-01-02T03:04:05.5+00:00", run_began_s=88.0, clock=clock)
    clock.now_s = 102.0
    with watch.block(0):
        clock.now_s = 103.5
    clock.now_s = 104.0
    with watch.block(128):
        clock.now_s = 107.0
        watch.note(LOST)
        clock.now_s = 108.0
    timing = watch.timing()
    assert timing.began_utc == "2026-01-02T03:04:05.5+00:00"
    assert timing.since_run_began_s == 12.0
    assert timing.first_vector.tolist() == [0, 128]
    assert timing.first_vector.dtype == np.int64
    assert timing.began_s.tolist() == [2.0, 4.0]
    assert timing.ended_s.tolist() == [3.5, 8.0]
    (fault,) = timing.faults
    assert (fault.block, fault.kind, fault.request) == (1, "timeout", "READ?")
    assert (fault.noticed_s, fault.recovered_s) == (6.5, 0.5)


def test_fault_between_blocks_belongs_to_the_next() -> None:
    watch = StepWatch(began_utc="", run_began_s=100.0, clock=FakeClock())
    watch.note(LOST)
    with watch.block(0):
        pass
    watch.note(LOST)
    with watch.block(5):
        pass
    watch.note(LOST)
    assert [fault.block for fault in watch.timing().faults] == [0, 1]


def test_block_that_failed_is_none() -> None:
    watch = StepWatch(began_utc="", run_began_s=100.0, clock=FakeClock())
    with watch.block(0):
        pass
    with pytest.raises(ConnectionError), watch.block(5):
        raise ConnectionError
    assert watch.timing().first_vector.tolist() == [0]


def test_fault_that_was_not_mended_has_no_time_of_recovery() -> None:
    watch = StepWatch(began_utc="", run_began_s=100.0, clock=FakeClock())
    watch.note(replace(LOST, recovered_s=None))
    with watch.block(0):
        pass
    assert np.isnan(watch.timing().faults[0].recovered_s)


def test_readouts_are_counted_also_those_that_were_taken_back() -> None:
    watch = StepWatch(began_utc="", run_began_s=100.0, clock=FakeClock())
    told = []
    for first in (0, 5, 10):
        with watch.block(first):
            pass
        told.append((watch.last_sequence, int(watch.last_quality)))
    watch.go_back_to(5)
    for first in (5, 10):
        with watch.block(first):
            if first == 10:
                watch.note(LOST)
        told.append((watch.last_sequence, int(watch.last_quality)))
    assert told == [(0, 0), (1, 0), (2, 0), (3, 2), (4, 3)]


def test_readouts_of_a_recording_are_not_counted() -> None:
    clock = RunClock(now=lambda: datetime(2026, 1, 2, tzinfo=UTC), clock=FakeClock())
    watch = clock.begin_step(is_replayed=True)
    with watch.block(0):
        pass
    assert watch.last_sequence == -1


def test_run_counts_every_fault_and_tells_each_once() -> None:
    clock = RunClock(now=lambda: datetime(2026, 1, 2, 3, 4, 5, 678, UTC), clock=FakeClock())
    clock.on_fault(LOST)
    watch = clock.begin_step()
    clock.on_fault(replace(LOST, kind=FaultKind.WRONG_CRC))
    clock.on_fault(LOST)
    assert [(utc, fault.kind) for utc, fault in clock.take_faults()] == [
        ("2026-01-02T03:04:05+00:00", "timeout"),
        ("2026-01-02T03:04:05+00:00", "wrong_crc"),
        ("2026-01-02T03:04:05+00:00", "timeout"),
    ]
    assert clock.take_faults() == []
    assert clock.fault_counts == {"timeout": 2, "wrong_crc": 1}
    with watch.block(0):
        pass
    assert [fault.kind for fault in watch.timing().faults] == ["wrong_crc", "timeout"]
    assert watch.timing().began_utc == "2026-01-02T03:04:05.000678+00:00"
