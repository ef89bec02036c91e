"""One part of the fault campaign: operations under one kind of fault, over one kind of link.

A request is one operation of the driver: mostly a multiplication, now and then one through the
NMPU, programming a core, or measuring the temperature. Its result is compared with that of a twin
chip with the same seed that has no link at all: measuring once too often, or once too few, would
shift the twin's noise.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import numpy as np

from benchmarks.fault_bench import COLUMNS, CORES, ROWS, CountingChip, make_chip, served_device
from benchmarks.faults_kinds import TROUBLES, Trouble, does_harm
from hil.core.errors import HilError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.link_fault import LinkFault
from hil_drivers.recovery import RecoveryPolicy
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.faults.fault_kinds import MockFault
from hil_mock_device.faults.fault_script import FaultRule, FaultScript
from hil_mock_device.faults.faulty_device import FaultyDevice

RECOVERY = RecoveryPolicy(attempts=40, deadline_s=20.0)
"""Its deadline is what every recovery is measured at."""
SELDOM = 83
"""One of so many messages meets a fault: 10,000 requests, about 50,000 messages, meet hundreds."""
TIMEOUT_S = 0.1
"""How long the driver waits for an answer: what comes late comes twice as late."""
_MODES = tuple(ReadMode)
_FORMAT = NmpuFormat(shift=1)


class Verdict(StrEnum):
    """What has come of an operation."""

    RIGHT = "right"
    """Its result is the twin's, and it was carried out once."""
    WRONG = "wrong"
    """Its result is not the twin's."""
    DOUBLED = "doubled"
    """It measured or programmed once more than it had a reason to."""
    MISSING = "missing"
    """It did not measure or program at all, or gave fewer vectors than it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one part of the campaign has shown."""

    trouble: str
    """Which part."""
    link: str
    """Over which link."""
    requests: int
    """Operations begun: all that were asked for, unless one ended in an error."""
    vectors: int
    """Vectors multiplied in them."""
    messages: int
    """Messages the driver sent for them."""
    injected: dict[str, int]
    """Faults that happened, by kind."""
    told: dict[str, int]
    """Faults that the driver reported, by kind."""
    shared: int
    """Harmful faults that share the report of another one: they met the recovery from it."""
    untold: int
    """Harmful faults in operations that reported none by the end of the next one."""
    wrong: int
    """Operations whose result was not the twin's."""
    doubled: int
    """Operations that measured or programmed once more than they had a reason to."""
    missing: int
    """Operations that measured or programmed nothing, or gave too few vectors."""
    failed: int
    """Faults that ended in an error."""
    longest_s: float
    """Longest recovery, seconds."""
    seconds: float
    """How long it all took."""
    error: str = ""
    """What ended the part before its time, if anything did."""

    @property
    def is_well(self) -> bool:
        """Whether it shows what it must."""
        in_time = self.longest_s <= RECOVERY.deadline_s
        faultless = not (self.wrong or self.doubled or self.missing or self.failed or self.error)
        return faultless and self.untold == 0 and in_time


class _Twins:
    """The same operations on a board behind a faulty link and on a bare chip."""

    def __init__(self, board: AimcBoard, served: CountingChip, device: FaultyDevice, seed: int):
        self._board, self._served, self._device = board, served, device
        self._twin: ChipModel = make_chip(seed)
        self._rng = np.random.default_rng(seed + 1)
        self.vectors = 0
        """Vectors multiplied since the beginning."""
        self._registers = NmpuRegisters(
            scale_p=np.full(COLUMNS, 64, np.uint8),
            scale_n=np.full(COLUMNS, 65, np.uint8),
            offset=np.arange(COLUMNS, dtype=np.int16),
            swap=np.zeros(COLUMNS, np.bool_),
        )

    def prepare(self) -> None:
        """Program every core and load registers, before anything goes wrong."""
        for core in range(CORES):
            self.program(core)
            for read_mode in _MODES:
                self._board.write_nmpu(core, read_mode, _FORMAT, self._registers)

    def one_request(self, number: int) -> Verdict:
        """Carry out one operation; tell what has come of it."""
        core = int(self._rng.integers(CORES))
        if number % 8 == 5:
            return self.program(core)
        if number % 8 == 1:
            return self.measure_temperature(core, _MODES[number // 8 % 2])
        return self.multiply(core, _MODES[number % 2], is_corrected=number % 4 == 3)

    def program(self, core: int) -> Verdict:
        """Program a core; tell whether that was done exactly once, power failures apart."""
        weights = self._rng.integers(-127, 128, (ROWS, COLUMNS), dtype=np.int8)
        before = self._served.programmings - self._count(MockFault.BROWN_OUT)
        self._board.program(core, weights)
        self._twin.program(core, weights)
        done = self._served.programmings - self._count(MockFault.BROWN_OUT) - before
        return _times(done, allowed=1)

    def measure_temperature(self, core: int, read_mode: ReadMode) -> Verdict:
        """Measure the temperature: a number in text; tell whether it is the twin's."""
        temperature_c = self._board.temperature_c(core, read_mode)
        right = round(self._twin.temperature_c(core, read_mode), 3)
        return Verdict.RIGHT if temperature_c == right else Verdict.WRONG

    def multiply(self, core: int, read_mode: ReadMode, *, is_corrected: bool) -> Verdict:
        """Multiply; tell whether counts and outputs are the twin's."""
        vectors = int(self._rng.integers(1, 5))
        inputs = self._rng.integers(-127, 128, (vectors, ROWS), dtype=np.int8)
        conversions, reboots = self._served.conversions, self._count(MockFault.REBOOT)
        outputs = None
        if is_corrected:
            readout = self._board.read_corrected_with_counts(core, read_mode, inputs)
            counts, outputs = readout.counts, readout.outputs
        else:
            counts = self._board.read_counts(core, read_mode, inputs)
        self.vectors += vectors
        measured = self._served.conversions - conversions
        # A reboot loses latched counts: only then is there a reason to measure again.
        times = _times(measured, allowed=1 + self._count(MockFault.REBOOT) - reboots)
        due = counts
        for _ in range(measured):
            due = self._twin.convert(core, read_mode, inputs)
        if times is not Verdict.RIGHT or len(counts) != vectors:
            return Verdict.MISSING if len(counts) < vectors else times
        is_right = np.array_equal(counts, due)
        if is_corrected:
            right = self._twin.correct(core, read_mode, due, _FORMAT, self._registers)
            is_right = is_right and outputs is not None and np.array_equal(outputs, right)
        return Verdict.RIGHT if is_right else Verdict.WRONG

    def _count(self, kind: MockFault) -> int:
        return self._device.injector.counts[kind]


def _times(done: int, *, allowed: int) -> Verdict:
    if done < 1:
        return Verdict.MISSING
    return Verdict.RIGHT if done <= allowed else Verdict.DOUBLED


@dataclass(slots=True)
class FaultAccount:
    """Whether each fault is reported: soon, and not merely made up for by reports of others.

    A fault must be reported in the operation that meets it, or in the next one, which takes in what
    came after its answer. A report too many counts for nothing: a busy machine is late by itself.
    """

    due: int = 0
    """Faults of the last operation that are not reported yet."""
    shared: int = 0
    """Faults without a report of their own, in an operation that told of another one."""
    untold: int = 0
    """Faults of operations that told of none."""
    _is_some_told: bool = False

    def take(self, *, harmful: int, told: int) -> None:
        """Take the faults and the reports of one more operation."""
        overdue = max(0, self.due - told)
        if self._is_some_told:
            self.shared += overdue
        else:
            self.untold += overdue
        left = max(0, told - self.due)
        self.due, self._is_some_told = max(0, harmful - left), left > 0


@dataclass(slots=True)
class _Watch:
    """Sets what the driver reports against the faults that the mock has counted."""

    trouble: Trouble
    device: FaultyDevice
    told: list[LinkFault]
    does_harm: Callable[[FaultRule], bool]
    account: FaultAccount = field(default_factory=FaultAccount)
    _harmful: int = 0
    _told: int = 0

    def look(self) -> None:
        """Take in what has happened since the last look."""
        injector = self.device.injector
        struck = zip(injector.rules, injector.struck, strict=True)
        harmful = sum(count for rule, count in struck if self.does_harm(rule))
        told = sum(fault.kind in self.trouble.told for fault in self.told)
        self.account.take(harmful=harmful - self._harmful, told=told - self._told)
        self._harmful, self._told = harmful, told

    def look_after(self) -> None:
        """Take in what was reported after the last fault."""
        told = sum(fault.kind in self.trouble.told for fault in self.told)
        self.account.take(harmful=0, told=told - self._told)


def run_part(
    name: str,
    link: str,
    requests: int,
    *,
    seed: int = 7,
    seldom: int = SELDOM,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:
    """Carry out one part of the campaign.

    Parameters
    ----------
    name
        One of `TROUBLES`.
    link
        One of `LINKS`.
    requests
        How many operations.
    seed
        Seed of the chip, the operations and the faults.
    seldom
        One of so many messages meets the fault.
    timeout_s
        How long an answer may take.
    """
    served_chip = CountingChip(make_chip(seed))
    device = FaultyDevice(served_chip)
    told: list[LinkFault] = []
    harm = partial(does_harm, link=link, timeout_s=timeout_s)
    watch = _Watch(TROUBLES[name], device, told, harm)
    with served_device(device, link) as served:
        board = served.connect(timeout_s=timeout_s, recovery=RECOVERY, on_fault=told.append)
        with closing(board):
            twins = _Twins(board, served_chip, device, seed)
            twins.prepare()
            told.clear()
            served.load(watch.trouble.script(seed=seed, seldom=seldom, timeout_s=timeout_s))
            start, sent = time.perf_counter(), board.health.requests
            verdicts, error = _carry_out(twins, watch, requests)
            seconds = time.perf_counter() - start
            watch.look()
            served.load(FaultScript())
            if not error:
                board.identify()  # takes in what came after the last answer
            watch.look_after()
            messages = board.health.requests - sent
    return Outcome(
        trouble=name,
        link=link,
        requests=verdicts.total() + bool(error),
        vectors=twins.vectors,
        messages=messages,
        injected={kind.value: count for kind, count in device.injector.counts.items()},
        told=dict(Counter(fault.kind.value for fault in told)),
        shared=watch.account.shared,
        untold=watch.account.untold,
        wrong=verdicts[Verdict.WRONG],
        doubled=verdicts[Verdict.DOUBLED],
        missing=verdicts[Verdict.MISSING],
        failed=sum(fault.recovered_s is None for fault in told),
        longest_s=max((fault.recovered_s or 0.0 for fault in told), default=0.0),
        seconds=seconds,
        error=error,
    )


def _carry_out(twins: _Twins, watch: _Watch, requests: int) -> tuple[Counter[Verdict], str]:
    verdicts: Counter[Verdict] = Counter()
    for number in range(requests):
        try:
            verdicts[twins.one_request(number)] += 1
        except HilError as error:
            # The twin cannot know how much of it was done: nothing after it could be compared.
            return verdicts, f"request {number + 1}: {type(error).__name__}: {error}"
        watch.look()
    return verdicts, ""
