"""The fault campaign: requests under every kind of fault, over every kind of link.

``python -m benchmarks.faults [--requests N] [--kinds NAME ...] [--links NAME ...] [--json FILE]``

A request is one operation of the driver: mostly a multiplication, now and then one through the
NMPU, programming a core, or measuring the temperature. Its result is compared with that of a twin
chip with the same seed that has no link at all: measuring once too often, or once too few, would
shift the twin's noise.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.fault_bench import (
    COLUMNS,
    CORES,
    LINKS,
    ROWS,
    CountingChip,
    make_chip,
    served_device,
)
from benchmarks.machine import describe_machine
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.link_fault import FaultKind, LinkFault
from hil_drivers.recovery import RecoveryPolicy
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.faults.fault_script import FaultRule, FaultScript, MockFault
from hil_mock_device.faults.faulty_device import FaultyDevice

RECOVERY = RecoveryPolicy(attempts=40, deadline_s=20.0)
"""Its deadline is what every recovery is measured at."""
_TIMEOUT_S = 0.1
_MODES = tuple(ReadMode)
_FORMAT = NmpuFormat(shift=1)
_LOST = frozenset({FaultKind.TIMEOUT, FaultKind.TRUNCATION})
_CUT = frozenset({FaultKind.LINK_LOST, FaultKind.TIMEOUT, FaultKind.TRUNCATION})
_WRONG_FRAME = frozenset(
    {FaultKind.WRONG_CRC, FaultKind.WRONG_FRAME, FaultKind.WRONG_VERSION, FaultKind.WRONG_SEQUENCE}
)
_NOTHING: frozenset[FaultKind] = frozenset()

_MIXED = (
    "drop", "drop,direction=request", "double", "double,direction=request", "reorder",
    "reorder,direction=request", "truncate", "truncate,direction=request",
    "flip,place=anywhere", "flip,direction=request,place=anywhere", "stall,seconds={late}",
    "stale", "latency,seconds=0.01", "latency,seconds={late}", "disconnect",
    "disconnect,direction=request", "refuse,seconds=0.1", "error_queue", "reboot",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong in one part of the campaign, and what the driver must say of it."""

    rules: tuple[str, ...]
    """Faults, as a control channel takes them; ``{p}`` stands for their chance,
    ``{often}`` for that of one message in five, ``{rare}`` for that of a fault after which many
    messages follow, ``{late}`` for longer than the driver waits."""
    told: frozenset[FaultKind]
    """The driver reports each fault that happened as one of these; none if it does no harm."""
    unseen: frozenset[MockFault] = frozenset()
    """Faults, of several rules, that do no harm and are not reported."""


TROUBLES = {
    "latency": Trouble(("kind=latency,seconds=0.002,jitter_s=0.008,chance={p}",), _NOTHING),
    "bandwidth": Trouble(("kind=bandwidth,bytes_per_s=100000,chance={p}",), _NOTHING),
    "baud": Trouble(("kind=baud,baud=115200,chance={p}",), _NOTHING),
    "message lost": Trouble(("kind=drop,direction=request,chance={p}",), _LOST),
    "answer lost": Trouble(("kind=drop,chance={p}",), _LOST),
    "message doubled": Trouble(("kind=double,direction=request,chance={p}",), _NOTHING),
    "answer doubled": Trouble(
        ("kind=double,chance={p}",), frozenset({FaultKind.REPEATED_TAG, FaultKind.STALE_TAG})
    ),
    "message reordered": Trouble(("kind=reorder,direction=request,chance={p}",), _LOST),
    "answer reordered": Trouble(("kind=reorder,chance={p}",), _LOST),
    "message truncated": Trouble(
        ("kind=truncate,direction=request,chance={p}",),
        _LOST | {FaultKind.GARBLED_REQUEST, FaultKind.SKIPPED_TAG},
    ),
    "answer truncated": Trouble(("kind=truncate,chance={p}",), _LOST | {FaultKind.GARBAGE}),
    "bit flipped in message": Trouble(
        ("kind=flip,direction=request,place=anywhere,chance={p}",),
        _CUT | {FaultKind.GARBLED_REQUEST, FaultKind.SKIPPED_TAG, FaultKind.GARBLED_ANSWER},
    ),
    "bit flipped in inputs": Trouble(
        ("kind=flip,direction=request,header=INPut:DATA,chance={often}",),
        frozenset({FaultKind.GARBLED_REQUEST}),
    ),
    "bit flipped in answer": Trouble(
        ("kind=flip,place=anywhere,chance={p}",),
        _CUT | _WRONG_FRAME | {FaultKind.GARBLED_ANSWER, FaultKind.NO_TAG, FaultKind.GARBAGE},
    ),
    "bit flipped in counts": Trouble(("kind=flip,header=READ?,chance={often}",), _WRONG_FRAME),
    "stall": Trouble(("kind=stall,seconds={late},chance={p}",), _LOST),
    "stale answer": Trouble(("kind=stale,chance={p}",), _LOST),
    "late answer": Trouble(("kind=latency,seconds={late},chance={p}",), _LOST),
    "disconnect": Trouble(("kind=disconnect,chance={p}",), _CUT),
    "disconnect in block": Trouble(
        ("kind=disconnect,place=block,header=READ?,chance={often}",), _CUT
    ),
    "disconnect before": Trouble(("kind=disconnect,direction=request,chance={p}",), _CUT),
    "refused reconnects": Trouble(("kind=refuse,seconds=0.15,chance={p}",), _CUT),
    "wrong identity": Trouble(
        ("kind=drop,chance={p}", "kind=identity,identity='A,B,1,1',at=[2, 5, 8, 11]"),
        _LOST | {FaultKind.WRONG_ANSWER},
    ),
    "full error queue": Trouble(("kind=error_queue,chance={p}",), _NOTHING),
    "reboot": Trouble(("kind=reboot,chance={rare}",), _CUT | {FaultKind.REBOOT}),
    "brown-out": Trouble(("kind=brown_out,every=3",), frozenset({FaultKind.HALF_PROGRAMMED})),
    "mixture": Trouble(
        (*(f"kind={kind},chance={{p}}" for kind in _MIXED), "kind=brown_out,chance=0.1"),
        frozenset(FaultKind),
        frozenset({MockFault.ERROR_QUEUE, MockFault.LATENCY}),
    ),
}  # fmt: skip
"""The parts of the campaign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one part of the campaign has shown."""

    trouble: str
    """Which part."""
    link: str
    """Over which link."""
    requests: int
    """Operations carried out."""
    messages: int
    """Messages the driver sent for them."""
    injected: dict[str, int]
    """Faults that happened, by kind."""
    told: dict[str, int]
    """Faults that the driver reported, by kind."""
    untold: int
    """Harmful faults, less those reported of the kinds that they are reported as; at most 0."""
    wrong: int
    """Operations whose result was not the twin's, or that measured or programmed more than once."""
    failed: int
    """Faults that ended in an error."""
    longest_s: float
    """Longest recovery, seconds."""
    seconds: float
    """How long it all took."""

    @property
    def is_well(self) -> bool:
        """Whether it shows what it must."""
        in_time = self.longest_s <= RECOVERY.deadline_s
        return self.wrong == 0 and self.failed == 0 and self.untold <= 0 and in_time


class _Twins:
    """The same operations on a board behind a faulty link and on a bare chip."""

    def __init__(self, board: AimcBoard, served: CountingChip, device: FaultyDevice, seed: int):
        self._board, self._served, self._device = board, served, device
        self._twin: ChipModel = make_chip(seed)
        self._rng = np.random.default_rng(seed + 1)
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

    def one_request(self, number: int) -> bool:
        """Carry out one operation; tell whether its result was right."""
        core = int(self._rng.integers(CORES))
        if number % 8 == 5:
            return self.program(core)
        if number % 8 == 1:
            return self.measure_temperature(core, _MODES[number // 8 % 2])
        return self.multiply(core, _MODES[number % 2], is_corrected=number % 4 == 3)

    def program(self, core: int) -> bool:
        """Program a core; tell whether that was done exactly once, power failures apart."""
        weights = self._rng.integers(-127, 128, (ROWS, COLUMNS), dtype=np.int8)
        before = self._served.programmings - self._count(MockFault.BROWN_OUT)
        self._board.program(core, weights)
        self._twin.program(core, weights)
        return self._served.programmings - self._count(MockFault.BROWN_OUT) == before + 1

    def measure_temperature(self, core: int, read_mode: ReadMode) -> bool:
        """Measure the temperature: a number in text; tell whether it is the twin's."""
        temperature_c = self._board.temperature_c(core, read_mode)
        return temperature_c == round(self._twin.temperature_c(core, read_mode), 3)

    def multiply(self, core: int, read_mode: ReadMode, *, is_corrected: bool) -> bool:
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
        measured = self._served.conversions - conversions
        # A reboot loses latched counts: only then is there a reason to measure again.
        allowed = 1 + self._count(MockFault.REBOOT) - reboots
        due = counts
        for _ in range(measured):
            due = self._twin.convert(core, read_mode, inputs)
        is_right = 1 <= measured <= allowed and np.array_equal(counts, due)
        if is_corrected:
            right = self._twin.correct(core, read_mode, due, _FORMAT, self._registers)
            is_right = is_right and outputs is not None and np.array_equal(outputs, right)
        return is_right

    def _count(self, kind: MockFault) -> int:
        return self._device.injector.counts[kind]


def run_part(
    name: str,
    link: str,
    requests: int,
    *,
    seed: int = 7,
    seldom: int = 41,
    timeout_s: float = _TIMEOUT_S,
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
    trouble = TROUBLES[name]
    served_chip = CountingChip(make_chip(seed))
    device = FaultyDevice(served_chip)
    told: list[LinkFault] = []
    with served_device(device, link) as served:
        board = served.connect(timeout_s=timeout_s, recovery=RECOVERY, on_fault=told.append)
        with closing(board):
            twins = _Twins(board, served_chip, device, seed)
            twins.prepare()
            told.clear()
            served.load(_script(trouble, seed, seldom, timeout_s))
            start, sent = time.perf_counter(), board.health.requests
            right = sum(twins.one_request(number) for number in range(requests))
            seconds = time.perf_counter() - start
            served.load(FaultScript())
            board.identify()  # takes in what came after the last answer
            messages = board.health.requests - sent
    return Outcome(
        trouble=name,
        link=link,
        requests=requests,
        messages=messages,
        injected={kind.value: count for kind, count in device.injector.counts.items()},
        told=dict(Counter(fault.kind.value for fault in told)),
        untold=_untold(trouble, device, told),
        wrong=requests - right,
        failed=sum(fault.recovered_s is None for fault in told),
        longest_s=max((fault.recovered_s or 0.0 for fault in told), default=0.0),
        seconds=seconds,
    )


def _script(trouble: Trouble, seed: int, seldom: int, timeout_s: float) -> FaultScript:
    late = f"{1.3 * timeout_s:g}"
    # A mixture has many rules, each with its share.
    chance = 1 / seldom if len(trouble.rules) < 5 else 1 / seldom / len(trouble.rules)
    chances = {"p": chance, "often": min(1.0, 5 * chance), "rare": chance / 4}
    spelled = {name: f"{value:.6f}" for name, value in chances.items()}
    texts = [rule.format(late=late, **spelled) for rule in trouble.rules]
    return FaultScript(seed=seed, fault=tuple(FaultRule.from_text(text) for text in texts))


def _untold(trouble: Trouble, device: FaultyDevice, told: list[LinkFault]) -> int:
    if not trouble.told:
        return 0
    counts = device.injector.counts
    harmful = sum(count for kind, count in counts.items() if kind not in trouble.unseen)
    return harmful - sum(fault.kind in trouble.told for fault in told)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each part: what happened, what was told, what was wrong."""
    head = f"{'faults':24}{'link':8}{'requests':>9}{'messages':>9}{'injected':>9}{'told':>7}"
    lines = [head + f"{'wrong':>7}{'failed':>7}{'longest':>10}"]
    for one in outcomes:
        injected, told = sum(one.injected.values()), sum(one.told.values())
        lines.append(
            f"{one.trouble:24}{one.link:8}{one.requests:9}{one.messages:9}{injected:9}{told:7}"
            f"{one.wrong:7}{one.failed:7}{one.longest_s:8.3f} s{'' if one.is_well else '  BAD'}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the campaign; return 0 if it shows what it must."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--kinds", nargs="+", choices=[*TROUBLES], default=[*TROUBLES])
    parser.add_argument("--links", nargs="+", choices=LINKS, default=["tcp", "hislip", "serial"])
    parser.add_argument("--seldom", type=int, default=41)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    outcomes = []
    print(table([])[0])
    for link in chosen.links:
        for name in chosen.kinds:
            one = run_part(name, link, chosen.requests, seed=chosen.seed, seldom=chosen.seldom)
            outcomes.append(one)
            print(table([one])[1], flush=True)
    if chosen.json is not None:
        stored = [asdict(one) | {"is_well": one.is_well} for one in outcomes]
        chosen.json.write_text(json.dumps({"machine": describe_machine(), "parts": stored}))
    return 0 if all(one.is_well for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
