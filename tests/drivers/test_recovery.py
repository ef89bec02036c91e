"""Operations through faults of the link: finished exactly once, every fault told, in time."""

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.errors import (
    DeviceError,
    FrameError,
    LinkLostError,
    TransportTimeoutError,
)
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over, connect_chip
from hil_drivers.link_fault import (
    AnotherChipError,
    FaultKind,
    LinkFault,
    UnknownOutcomeError,
)
from hil_drivers.open_transport import TransportChoice
from hil_drivers.recovery import NO_RECOVERY, RecoveryPolicy
from hil_mock_device.conversation import Disconnect, Outgoing
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.firmware.settings import CoreMemory
from hil_mock_device.loopback import LoopbackTransport
from unruly_board import HANG_UP, CountingChip, UnrulyBoard, once, retold

FOUR, ONE = ReadMode.FOUR_PHASE, ReadMode.ONE_PHASE
TIMEOUT_S = 0.3
SLACK_S = 2.0
"""A busy machine may take this much longer than a deadline."""

carriers = pytest.mark.parametrize("choice", [TransportChoice.TCP, TransportChoice.VISA])


def weights() -> npt.NDArray[np.int8]:
    return np.random.default_rng(3).integers(-127, 128, (32, 8), dtype=np.int8)


def inputs(seed: int, vectors: int = 5) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, (vectors, 32), dtype=np.int8)


def registers() -> NmpuRegisters:
    return NmpuRegisters(
        scale_p=np.full(8, 64, np.uint8),
        scale_n=np.full(8, 65, np.uint8),
        offset=np.arange(8, dtype=np.int16),
        swap=np.zeros(8, np.bool_),
    )


def campaign(board: AimcBoard) -> list[object]:
    """Do a bit of everything; return all results."""
    results: list[object] = []
    board.reset()
    board.program(0, weights())
    board.program(1, -weights())
    board.write_nmpu(1, FOUR, NmpuFormat(shift=1), registers())
    for seed in range(1):
        results.append(board.read_counts(0, ONE, inputs(seed)).tolist())
        results.append(board.read_corrected(1, FOUR, inputs(seed)).tolist())
        results.append(board.latched_counts(1, FOUR, 5).tolist())
        readout = board.read_corrected_with_counts(1, FOUR, inputs(seed + 10))
        assert readout.outputs is not None
        results += [readout.outputs.tolist(), readout.counts.tolist()]
        results.append(board.temperature_c(0, ONE))
    fmt, loaded = board.read_nmpu(1, FOUR)
    results += [fmt, loaded.to_codes().tolist(), board.identify()]
    board.safe()
    return results


@pytest.fixture(scope="module")
def undisturbed() -> list[object]:
    """What a link without faults gives: three conversions, two programmings."""
    chip = CountingChip()
    board = board_over(LoopbackTransport(MockDevice(Firmware(chip)), resource="quiet"), 5.0)
    results = campaign(board)
    assert (chip.conversions, chip.programmings) == (3, 2)
    assert board.health.faults == {}
    return results


# --- in one process: every request of a whole campaign meets every fault ------------------------


class SpoiledConversation:
    """A conversation in which one message, by number, meets a fault."""

    def __init__(
        self,
        firmware: Firmware,
        counter: Iterator[int],
        spoilt: int,
        *,
        request: Callable[[bytes], bytes] = lambda data: data,
        answer: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        self._device = MockDevice(firmware)
        self._counter, self._spoilt = counter, spoilt
        self._request, self._answer = request, answer

    @property
    def is_lost(self) -> bool:
        return self._device.is_lost

    @property
    def client(self) -> int:
        return self._device.client

    def answers(self, data: bytes) -> Iterator[Outgoing]:
        is_spoilt = next(self._counter) == self._spoilt
        answer = self._device.receive(self._request(data) if is_spoilt else data)
        yield self._answer(answer) if is_spoilt else answer

    def end_message(self) -> Iterator[Outgoing]:
        return iter(())

    def clear(self) -> None:
        self._device.clear()

    def leave(self) -> None:
        self._device.leave()


def flip_last_payload_bit(data: bytes) -> bytes:
    return data[:-7] + bytes([data[-7] ^ 4]) + data[-6:] if b"#" in data else data


FAULTS: dict[str, dict[str, Callable[[bytes], bytes]]] = {
    "request lost": {"request": lambda _: b""},
    "request doubled": {"request": lambda data: data + data},
    "answer lost": {"answer": lambda _: b""},
    "answer doubled": {"answer": lambda data: data + data},
    "answer truncated": {"answer": lambda data: data[: len(data) // 2]},
    "answer without its end": {"answer": lambda data: data[:-1]},
    "answer is garbage": {"answer": lambda _: b"@1 #12abX" + b"\xff" * 100},
    "answer is endless": {"answer": lambda _: b"x" * 5000},
    "answer claims a gigabyte": {"answer": lambda _: b"@5 #9999999999"},
    "answer without a tag": {"answer": lambda data: data.split(b" ", 1)[1]},
    "answer ahead of its time": {"answer": lambda _: b"@3000000 OK\n"},
    "payload bit flipped in the answer": {"answer": flip_last_payload_bit},
    "payload bit flipped in the request": {"request": flip_last_payload_bit},
    "header garbled": {"request": lambda data: data.replace(b" ", b" X", 1)},
}


def requests_of_a_campaign() -> int:
    chip = CountingChip()
    board = board_over(LoopbackTransport(MockDevice(Firmware(chip)), resource="quiet"), 5.0)
    campaign(board)
    return board.health.requests


REQUESTS = requests_of_a_campaign()


UNNOTICED = {"request doubled", "payload bit flipped in the answer"}
"""Faults that a device drops by itself, or that change no message without a payload."""


@pytest.mark.parametrize("name", FAULTS)
def test_campaign_gives_the_same_whichever_request_meets_the_fault(
    name: str, undisturbed: list[object]
) -> None:
    for spoilt in range(4, REQUESTS):  # the four before are the handshake, which is tried once
        chip, told = CountingChip(), list[LinkFault]()
        firmware, counter = Firmware(chip), iter(range(10_000))
        converse = partial(SpoiledConversation, firmware, counter, spoilt, **FAULTS[name])
        transport = LoopbackTransport(converse(), resource="spoilt", connect=converse)
        board = board_over(transport, 5.0, on_fault=told.append)
        assert campaign(board) == undisturbed, spoilt
        assert (chip.conversions, chip.programmings) == (3, 2), spoilt
        assert sum(board.health.faults.values()) == len(told)
        assert told or name in UNNOTICED or "payload" in name, spoilt
        assert board.health.not_recovered == 0
        assert all(fault.recovered_s is not None for fault in told)


# --- reboots, other chips, wear ------------------------------------------------------------------


class Unsteady:
    """A firmware in this process to which something happens before a message with `header`."""

    def __init__(self, chip: CountingChip, header: bytes, happens: Callable[[Firmware], bool]):
        self.firmware = Firmware(chip)
        self._header, self._happens = header, happens
        self._is_done = False
        self.told: list[LinkFault] = []

    def connect(self, *, is_cut: bool, **options: Any) -> AimcBoard:
        """Connect; `is_cut` loses the answer and the link when it happens, else only its effect."""

        def converse() -> MockDevice:
            unsteady = self

            class Device(MockDevice):
                def answers(self, data: bytes) -> Iterator[Any]:
                    happens = not unsteady._is_done and b" " + unsteady._header in data[:60]
                    if not happens:
                        yield from super().answers(data)
                        return
                    unsteady._is_done = True
                    if unsteady._happens(unsteady.firmware):
                        yield from super().answers(data)
                    if is_cut:
                        yield Disconnect()

            return Device(self.firmware)

        transport = LoopbackTransport(converse(), resource="unsteady", connect=converse)
        return board_over(transport, 5.0, on_fault=self.told.append, **options)

    @property
    def kinds(self) -> list[FaultKind]:
        return [fault.kind for fault in self.told]


def reboot(firmware: Firmware) -> bool:
    firmware.settings.reboot()
    return False


def reboot_and_go_on(firmware: Firmware) -> bool:
    firmware.settings.reboot()
    return True


def test_reboot_in_the_middle_of_a_measurement_is_mended() -> None:
    unsteady = Unsteady(CountingChip(), b"READ?", reboot)
    board = unsteady.connect(is_cut=True)
    results = campaign(board)
    quiet = board_over(
        LoopbackTransport(MockDevice(Firmware(CountingChip())), resource="quiet"), 5.0
    )
    assert results == campaign(quiet)
    assert unsteady.kinds == [FaultKind.LINK_LOST, FaultKind.REBOOT]


def test_registers_are_given_back_after_a_reboot() -> None:
    unsteady = Unsteady(CountingChip(), b"TEMP", reboot)
    board = unsteady.connect(is_cut=True)
    board.program(0, weights())
    board.write_nmpu(0, FOUR, NmpuFormat(shift=1), registers())
    board.write_nmpu(0, ONE, NmpuFormat(shift=2), registers())
    board.temperature_c(0, FOUR)
    assert board.read_nmpu(0, FOUR) == (NmpuFormat(shift=1), registers())
    assert board.read_nmpu(0, ONE) == (NmpuFormat(shift=2), registers())
    assert FaultKind.REBOOT in unsteady.kinds


def test_reboot_behind_a_link_that_stays_is_found_out_by_a_refusal() -> None:
    unsteady = Unsteady(CountingChip(), b"READ?", reboot_and_go_on)
    board = unsteady.connect(is_cut=False)
    board.program(1, weights())
    board.write_nmpu(1, FOUR, NmpuFormat(shift=1), registers())
    assert board.read_corrected(1, FOUR, inputs(1)).shape == (5, 8)
    assert unsteady.kinds == [FaultKind.REBOOT]


def test_latched_counts_that_a_reboot_has_lost_are_refused() -> None:
    unsteady = Unsteady(CountingChip(), b"FETCh:COUN", reboot_and_go_on)
    board = unsteady.connect(is_cut=False)
    board.program(0, weights())
    board.read_counts(0, FOUR, inputs(1))
    with pytest.raises(DeviceError) as refusal:
        board.latched_counts(0, FOUR, 5)
    assert refusal.value.code == -230


def test_counts_and_outputs_read_together_survive_a_reboot_between_them() -> None:
    chip = CountingChip()
    unsteady = Unsteady(chip, b"FETCh:COUN", reboot_and_go_on)
    board = unsteady.connect(is_cut=False)
    board.program(0, weights())
    board.write_nmpu(0, FOUR, NmpuFormat(shift=1), registers())
    readout = board.read_corrected_with_counts(0, FOUR, inputs(1))
    again = board.latched_counts(0, FOUR, 5)
    np.testing.assert_array_equal(readout.counts, again)
    assert chip.conversions == 2, "what the reboot has lost was measured again, as a whole"


def test_refusal_that_no_reboot_explains_goes_up() -> None:
    chip = CountingChip()
    board = board_over(LoopbackTransport(MockDevice(Firmware(chip)), resource="quiet"), 5.0)
    with pytest.raises(DeviceError) as refusal:
        board.read_counts(0, FOUR, inputs(1))
    assert refusal.value.code == -221
    assert board.health.faults == {}


def test_another_chip_after_a_fault_is_an_error_that_names_both() -> None:
    chip = CountingChip()

    def swap(_: Firmware) -> bool:
        chip.identity = replace(chip.identity, serial="impostor-9")
        return False

    board = Unsteady(chip, b"INPut", swap).connect(is_cut=True)
    board.program(0, weights())
    with pytest.raises(AnotherChipError, match=r"serial lifelike-7, .*serial impostor-9"):
        board.read_counts(0, FOUR, inputs(1))
    assert chip.conversions == 0


def half_programmed(firmware: Firmware) -> bool:
    firmware.settings.cores[0] = CoreMemory(programmings=1)
    return False


def test_programming_that_did_not_end_is_done_again_and_told() -> None:
    chip = CountingChip()
    unsteady = Unsteady(chip, b"CORE:PROGram #", half_programmed)
    board = unsteady.connect(is_cut=True)
    board.program(0, weights())
    assert unsteady.kinds == [FaultKind.LINK_LOST, FaultKind.HALF_PROGRAMMED]
    assert chip.programmings == 1
    assert unsteady.firmware.settings.cores[0].programmings == 2


@pytest.mark.parametrize(
    "memory", [CoreMemory(2, 5), CoreMemory(1, 5), CoreMemory(7, 0)], ids=["more", "other", "many"]
)
def test_programming_of_unknown_outcome_is_never_repeated(memory: CoreMemory) -> None:
    def forget(firmware: Firmware) -> bool:
        firmware.settings.cores[0] = memory
        return False

    chip = CountingChip()
    board = Unsteady(chip, b"CORE:PROGram #", forget).connect(is_cut=True)
    with pytest.raises(UnknownOutcomeError, match="core 0: it cannot be told whether"):
        board.program(0, weights())
    assert chip.programmings == 0


class Recorded(CountingChip):
    """A chip that knows no outputs."""

    def correct(self, *_: Any) -> npt.NDArray[np.int8]:
        raise DeviceError(-251, "Missing mass storage; not recorded")


@pytest.mark.parametrize("is_recording", [True, False])
def test_outputs_that_are_missing_are_forgiven_in_recordings_only(*, is_recording: bool) -> None:
    chip = Recorded()
    if is_recording:
        chip.plays_recording = True  # type: ignore[attr-defined]
    board = board_over(LoopbackTransport(MockDevice(Firmware(chip)), resource="quiet"), 5.0)
    board.program(0, weights())
    board.write_nmpu(0, FOUR, NmpuFormat(shift=1), registers())
    assert board.plays_recording() is is_recording
    if is_recording:
        readout = board.read_corrected_with_counts(0, FOUR, inputs(1))
        assert readout.outputs is None
        assert readout.counts.shape == (5, 2, 8)
    else:
        with pytest.raises(DeviceError) as refusal:
            board.read_corrected_with_counts(0, FOUR, inputs(1))
        assert refusal.value.code == -251


# --- over real sockets ---------------------------------------------------------------------------


def ready(board: UnrulyBoard, choice: TransportChoice, **options: Any) -> AimcBoard:
    chip = connect_chip(board.resource, timeout_s=TIMEOUT_S, choice=choice, **options)
    chip.program(0, weights())
    return chip


def quiet_counts(vectors: npt.NDArray[np.int8]) -> object:
    chip = CountingChip()
    board = board_over(LoopbackTransport(MockDevice(Firmware(chip)), resource="quiet"), 5.0)
    board.program(0, weights())
    return board.read_counts(0, FOUR, vectors).tolist()


@carriers
@pytest.mark.parametrize(
    "what",
    [(), (HANG_UP,), (lambda answer: answer[:40], HANG_UP), (lambda answer: answer[:40],)],
    ids=["dropped", "hung_up", "cut_and_hung_up", "cut"],
)
def test_answer_lost_after_the_measurement_is_fetched_not_measured_again(
    choice: TransportChoice, what: tuple[Any, ...]
) -> None:
    chip, told = CountingChip(), list[LinkFault]()
    with UnrulyBoard(chip, once(b"READ?", *what)) as served:
        board = ready(served, choice, on_fault=told.append)
        counts = board.read_counts(0, FOUR, inputs(1))
        board.close()
    assert counts.tolist() == quiet_counts(inputs(1))
    assert chip.conversions == 1
    assert [fault.request for fault in told] == ["READ?"]
    assert board.health.faults == {told[0].kind: 1}


@carriers
def test_answer_lost_after_programming_wears_the_chip_once(choice: TransportChoice) -> None:
    chip = CountingChip()
    with UnrulyBoard(chip, once(b"CORE:PROGram #")) as served:
        board = ready(served, choice)
        board.close()
    assert chip.programmings == 1
    assert board.health.faults == {FaultKind.TIMEOUT: 1}


@carriers
def test_late_answer_is_never_taken_for_the_next(choice: TransportChoice) -> None:
    """The first reading is late: its answer comes while the second one is waited for."""
    chip, told = CountingChip(), list[LinkFault]()
    late = 1.3 * TIMEOUT_S
    with UnrulyBoard(chip, once(b"READ?", late, lambda answer: answer)) as served:
        board = ready(served, choice, on_fault=told.append, recovery=NO_RECOVERY)
        with pytest.raises(TransportTimeoutError):
            board.read_counts(0, FOUR, inputs(1))
        second = board.read_counts(0, FOUR, inputs(2))
        third = board.read_counts(0, FOUR, inputs(3))
        board.close()
    quiet = CountingChip()
    same = board_over(LoopbackTransport(MockDevice(Firmware(quiet)), resource="quiet"), 5.0)
    same.program(0, weights())
    expected = [same.read_counts(0, FOUR, inputs(seed)).tolist() for seed in (1, 2, 3)]
    assert [second.tolist(), third.tolist()] == expected[1:]
    assert [fault.kind for fault in told] == [FaultKind.TIMEOUT]


@carriers
def test_every_answer_late_in_turn_changes_no_result(choice: TransportChoice) -> None:
    chip = CountingChip()
    turns = iter(range(1000))

    def plan(_: bytes, answer: bytes) -> Iterable[bytes | float | None]:
        return [1.5 * TIMEOUT_S, answer] if next(turns) % 12 == 11 else [answer]

    with UnrulyBoard(chip, plan) as served:
        board = ready(served, choice)
        results = [board.read_counts(0, FOUR, inputs(seed)).tolist() for seed in range(6)]
        board.close()
    quiet = board_over(
        LoopbackTransport(MockDevice(Firmware(CountingChip())), resource="quiet"), 5.0
    )
    quiet.program(0, weights())
    assert results == [quiet.read_counts(0, FOUR, inputs(seed)).tolist() for seed in range(6)]
    assert chip.conversions == 6
    assert board.health.faults[FaultKind.TIMEOUT] >= 4


def test_after_a_fault_the_former_connection_can_do_nothing_any_more() -> None:
    chip = CountingChip()
    with UnrulyBoard(chip, once(b"READ?", HANG_UP)) as served:
        board = ready(served, TransportChoice.TCP)
        board.read_counts(0, FOUR, inputs(1))
        other = MockDevice(served.firmware)
        assert other.receive(b"@1 CORE:SEL 1\n").startswith(b'@1 !-203,"Command protected')
        board.close()
        assert other.receive(b"@2 CORE:SEL 1\n") == b"@2 OK\n"


@carriers
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"@1 #9999999999", FaultKind.OVERSIZE),
        (b"bla " * 100_000, FaultKind.OVERSIZE),
        (b"SSH-2.0-OpenSSH_9\r\n", FaultKind.NO_TAG),
        (b"@4294967295 #12abX", FaultKind.GARBAGE),
    ],
    ids=["4_gib", "flood", "another_service", "garbage"],
)
def test_device_that_answers_nonsense_for_ever_is_an_error_within_the_deadline(
    choice: TransportChoice, answer: bytes, kind: FaultKind
) -> None:
    is_mad = threading.Event()

    def plan(_: bytes, good: bytes) -> Iterable[bytes | float | None]:
        return [answer] if is_mad.is_set() else [good]

    with UnrulyBoard(CountingChip(), plan) as served:
        board = ready(served, choice, recovery=RecoveryPolicy(deadline_s=0.6))
        is_mad.set()
        start = time.monotonic()
        tracemalloc.start()
        with pytest.raises(FrameError, match=f"met in all: .*{kind.value}"):
            board.read_counts(0, FOUR, inputs(1))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert time.monotonic() - start < TIMEOUT_S + 0.6 + SLACK_S
        assert peak < 8 << 20
        assert board.health.not_recovered == sum(board.health.faults.values())
        board.close()


@carriers
def test_device_that_stalls_for_ever_is_an_error_within_the_deadline(
    choice: TransportChoice,
) -> None:
    is_stalled = threading.Event()

    def plan(_: bytes, good: bytes) -> Iterable[bytes | float | None]:
        return [] if is_stalled.is_set() else [good]

    with UnrulyBoard(CountingChip(), plan) as served:
        board = ready(served, choice, recovery=RecoveryPolicy(deadline_s=1.0))
        is_stalled.set()
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError, match=r"answer to CORE:SELect 0 .*given up"):
            board.read_counts(0, FOUR, inputs(1))
        assert 1.0 <= time.monotonic() - start < TIMEOUT_S + 1.0 + SLACK_S
        board.close()


@carriers
def test_device_that_is_gone_is_an_error_within_the_deadline(choice: TransportChoice) -> None:
    with UnrulyBoard(CountingChip(), once(b"READ?", HANG_UP)) as served:
        board = ready(served, choice, recovery=RecoveryPolicy(deadline_s=0.5))
    start = time.monotonic()
    with pytest.raises(LinkLostError, match="given up after"):
        board.read_counts(0, FOUR, inputs(1))
    assert time.monotonic() - start < 0.5 + SLACK_S
    board.close()


def test_device_that_refuses_connections_for_a_while_is_waited_for() -> None:
    chip = CountingChip()
    with UnrulyBoard(chip, once(b"READ?", HANG_UP)) as served:
        board = ready(served, TransportChoice.TCP, recovery=RecoveryPolicy(deadline_s=10))
        served.refuse_for(0.4)
        counts = board.read_counts(0, FOUR, inputs(1))
        board.close()
    assert counts.tolist() == quiet_counts(inputs(1))
    assert board.health.faults[FaultKind.NO_CONNECTION] >= 2
    assert chip.conversions == 1


def test_text_where_a_block_is_due_is_asked_about_again() -> None:
    chip = CountingChip()
    text = once(b"READ?", lambda answer: retold(answer, b"25.0\n"))
    with UnrulyBoard(chip, text) as served:
        board = ready(served, TransportChoice.TCP)
        assert board.read_counts(0, FOUR, inputs(1)).tolist() == quiet_counts(inputs(1))
        board.close()
        assert served.connections == 1, "a link in step is kept"
    assert board.health.faults == {FaultKind.WRONG_ANSWER: 1}
    assert chip.conversions == 1
