"""A wish to stop waits for what must not be torn apart, a second one does not."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hil.campaign.control import StopKind, StopRequests, leave_stop_request
from hil.campaign.interruption import RunInterruptedError, StopSwitch
from hil.campaign.process_identity import ProcessTable
from hil.campaign.runner import utc_now


class Asked:
    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.is_told = threading.Event()

    def __call__(self, reason: str) -> None:
        self.reasons.append(reason)
        self.is_told.set()


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # until the interpreter has called the handler


def take_block(switch: StopSwitch, *actions: Callable[[], object]) -> None:
    with switch.listening(), switch.whole():
        for action in actions:
            action()


def signalled(number: int) -> Callable[[], None]:
    return lambda: send(number)


def test_first_signal_lets_the_block_come_to_its_end() -> None:
    asked = Asked()
    done: list[str] = []
    with pytest.raises(RunInterruptedError, match="SIGTERM"):
        take_block(
            StopSwitch(asked),
            signalled(signal.SIGTERM),
            lambda: asked.is_told.wait(5),
            lambda: done.append("block"),
        )
    assert done == ["block"]
    assert asked.reasons == ["SIGTERM"]


def test_second_signal_ends_the_block() -> None:
    done: list[str] = []
    first, second = signalled(signal.SIGINT), signalled(signal.SIGTERM)
    with pytest.raises(RunInterruptedError, match="SIGINT"):
        take_block(StopSwitch(Asked()), first, second, lambda: done.append("block"))
    assert done == []


def test_signal_between_blocks_stops_at_once() -> None:
    with StopSwitch(Asked()).listening(), pytest.raises(RunInterruptedError, match="SIGHUP"):
        send(signal.SIGHUP)


def test_nothing_interrupts_while_the_chip_is_made_safe() -> None:
    switch = StopSwitch(Asked())
    done: list[str] = []
    with switch.listening():
        switch.end()
        send(signal.SIGINT)
        send(signal.SIGINT)
        with switch.whole():
            done.append("safe")
    assert done == ["safe"]


def test_handlers_are_those_of_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSwitch(Asked()).listening():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSwitch(Asked()).listening():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def requests_of(folder: Path) -> StopRequests:
    return StopRequests(folder, ProcessTable().own())


def leave_request(folder: Path, kind: StopKind) -> None:
    own = ProcessTable().own()
    leave_stop_request(folder, kind, writer=own, by=own, now=utc_now)


def test_request_stops_the_run_before_the_next_block(tmp_path: Path) -> None:
    switch = StopSwitch(Asked())
    switch.watch(requests_of(tmp_path))
    leave_request(tmp_path, StopKind.AFTER_BLOCK)
    with pytest.raises(RunInterruptedError, match="hil abort by process"), switch.whole():
        pytest.fail("the next block began")


def test_older_request_is_removed(tmp_path: Path) -> None:
    leave_request(tmp_path, StopKind.AFTER_BLOCK)
    switch = StopSwitch(Asked())
    switch.watch(requests_of(tmp_path))
    done: list[str] = []
    with switch.whole():
        done.append("block")
    assert done == ["block"]
    assert list(tmp_path.glob("stop-request*")) == []


def test_signal_with_an_urgent_request_ends_the_block(tmp_path: Path) -> None:
    switch = StopSwitch(Asked())
    switch.watch(requests_of(tmp_path))
    done: list[str] = []
    with pytest.raises(RunInterruptedError, match="hil abort"):
        take_block(
            switch,
            lambda: leave_request(tmp_path, StopKind.AT_ONCE),
            signalled(signal.SIGTERM),
            lambda: done.append("block"),
        )
    assert done == []
