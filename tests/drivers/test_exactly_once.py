"""When operations are begun again, settled, and given up, by a clock that the test owns."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from golden_frames import crc32c_bit_by_bit
from hil.core.errors import DeviceError, LinkLostError, TransportError, TransportTimeoutError
from hil_drivers.exactly_once import ExactlyOnce
from hil_drivers.link_fault import FaultKind, FrameFault, LinkFault
from hil_drivers.recovery import NO_RECOVERY, RecoveryPolicy
from hil_drivers.session import Session
from scripted_transport import Arrival, FakeClock, ScriptedTransport

TIMEOUT_S = 5.0


@dataclass
class Bench:
    """A session with a scripted device, and what was done to it."""

    script: Iterable[bytes | Arrival]
    policy: RecoveryPolicy = field(default_factory=RecoveryPolicy)
    reboots: int = 0
    unreachable: int = 0
    """How often clearing the link fails before it succeeds."""
    recognised: int = 0
    told: list[LinkFault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.transport = Fickle(self.clock, self.script)
        self.transport.unreachable = self.unreachable
        self.session = Session(self.transport, timeout_s=TIMEOUT_S, clock=self.clock)
        self.once = ExactlyOnce(
            self.session,
            self.policy,
            on_fault=self.told.append,
            recognise=self._recognise,
            clock=self.clock,
            sleep=self._sleep,
        )

    def ask(self, text: str) -> Callable[[], str]:
        return lambda: self.session.ask(text)

    @property
    def kinds(self) -> list[FaultKind]:
        return [fault.kind for fault in self.told]

    def _recognise(self) -> bool:
        self.recognised += 1
        self.reboots -= 1
        return self.reboots >= 0

    def _sleep(self, seconds: float) -> None:
        self.clock.now_s += seconds


class Fickle(ScriptedTransport):
    """A link that cannot be cleared a number of times."""

    unreachable = 0

    def clear(self, *, timeout_s: float) -> None:
        if self.unreachable:
            self.unreachable -= 1
            raise TransportError("scripted: cannot connect")
        super().clear(timeout_s=timeout_s)


def sealed(tag: int, text: str) -> bytes:
    """Return an answer with its checksum, from an implementation of its own."""
    line = f"@{tag} {text}".encode()
    return b"@%d*%08X %b\n" % (tag, crc32c_bit_by_bit(line), text.encode())


LATE = Arrival(6.0, b"@1 late\n")


def test_operation_without_a_fault_is_carried_out_once_and_tells_nothing() -> None:
    bench = Bench([b"@1 25.0\n"])
    assert bench.once.run(bench.ask("TEMP?")) == "25.0"
    assert (bench.told, bench.recognised, bench.once.health.requests) == ([], 0, 1)


def test_device_is_recognised_on_a_cleared_link_before_anything_else_is_asked() -> None:
    bench = Bench([LATE, b"@2 25.0\n"])
    assert bench.once.run(bench.ask("TEMP?")) == "25.0"
    assert (bench.transport.cleared, bench.recognised) == (1, 1)
    assert bench.told == [
        LinkFault(
            kind=FaultKind.TIMEOUT,
            request="TEMP?",
            detail="scripted: no whole answer to TEMP? within 5 s; check that the device is on, "
            "and not busy for longer",
            recovered_s=0.0,
        )
    ]


@pytest.mark.parametrize("text", ["SYST:ERR?", "*ESR?", "CORE:PROG", "UNHEARD:OF?"])
def test_request_that_must_not_be_repeated_is_not(text: str) -> None:
    bench = Bench([LATE, b"@2 1\n"])
    with pytest.raises(TransportTimeoutError):
        bench.once.run(bench.ask(text))
    assert len(bench.transport.sent) == 1
    assert [fault.recovered_s for fault in bench.told] == [None]


def test_operation_that_can_be_settled_is_not_begun_again() -> None:
    bench = Bench([LATE, b"@2 fetched\n"])
    assert bench.once.run(bench.ask("READ?"), settle=bench.ask("FETC:COUN?")) == "fetched"
    assert bench.transport.sent == [b"@1 READ?\n", b"@2 FETC:COUN?\n"]


def test_operation_that_had_no_effect_begins_again() -> None:
    bench = Bench([LATE, b"@2 25.0\n"])
    assert bench.once.run(bench.ask("CORE:PROG"), settle=lambda: None) == "25.0"
    assert len(bench.transport.sent) == 2


def test_attempts_are_limited_and_the_first_fault_goes_up_with_all_kinds() -> None:
    script = [b"@1 #15abcde\n", b"@2 #12abX", b"@3 #12abX"]
    bench = Bench(script, RecoveryPolicy(attempts=3))
    with pytest.raises(FrameFault, match=r"where text is due; .*: wrong_answer 1, garbage 2") as up:
        bench.once.run(bench.ask("TEMP?"))
    assert up.value.kind is FaultKind.WRONG_ANSWER
    assert len(bench.transport.sent) == 3
    assert bench.once.health.faults == {FaultKind.WRONG_ANSWER: 1, FaultKind.GARBAGE: 2}
    assert bench.once.health.not_recovered == 3


@pytest.mark.parametrize("deadline_s", [1.0, 7.0, 20.0])
def test_silent_device_is_given_up_at_the_deadline(deadline_s: float) -> None:
    bench = Bench([], RecoveryPolicy(attempts=1000, deadline_s=deadline_s))
    with pytest.raises(TransportTimeoutError, match="given up after another"):
        bench.once.run(bench.ask("TEMP?"))
    assert TIMEOUT_S + deadline_s <= bench.clock.now_s - 1000 <= TIMEOUT_S + deadline_s + 0.01


@pytest.mark.parametrize("deadline_s", [1.0, 20.0])
def test_device_that_is_gone_is_given_up_at_the_deadline(deadline_s: float) -> None:
    bench = Bench([], RecoveryPolicy(deadline_s=deadline_s), unreachable=10**6)
    with pytest.raises(TransportTimeoutError, match="no_connection"):
        bench.once.run(bench.ask("TEMP?"))
    assert TIMEOUT_S + deadline_s <= bench.clock.now_s - 1000 <= TIMEOUT_S + deadline_s + 0.01


def test_limit_of_an_operation_holds_for_everything_together() -> None:
    bench = Bench([], unreachable=10**6)
    with pytest.raises(TransportTimeoutError):
        bench.once.run(bench.ask("SAFE"), limit_s=3.0)
    assert 3.0 <= bench.clock.now_s - 1000 <= 3.01


def test_connection_is_tried_until_it_succeeds_with_growing_pauses() -> None:
    policy = RecoveryPolicy(first_pause_s=0.1, longest_pause_s=0.4)
    bench = Bench([LATE, b"@2 25.0\n"], policy, unreachable=4)
    assert bench.once.run(bench.ask("TEMP?")) == "25.0"
    assert bench.clock.now_s - 1000 == pytest.approx(5 + 0.1 + 0.2 + 0.4 + 0.4)
    assert bench.kinds == [FaultKind.TIMEOUT] + [FaultKind.NO_CONNECTION] * 4
    assert bench.told[0].recovered_s == pytest.approx(1.1)


def test_without_recovery_the_fault_goes_up_as_it_is_and_the_next_operation_clears() -> None:
    bench = Bench([LATE, b"@2 25.0\n"], NO_RECOVERY)
    with pytest.raises(TransportTimeoutError, match=r"not busy for longer$"):
        bench.once.run(bench.ask("TEMP?"))
    assert bench.transport.cleared == 0
    assert bench.once.run(bench.ask("TEMP?")) == "25.0"
    assert (bench.transport.cleared, bench.recognised) == (1, 1)


def test_refusal_that_comes_twice_is_believed_and_is_no_fault() -> None:
    refusal = b'!-113,"Undefined header"\n'
    bench = Bench([b"@1 " + refusal, b"@2 " + refusal])
    with pytest.raises(DeviceError, match="Undefined header"):
        bench.once.run(bench.ask("TEMP?"))
    assert (bench.told, len(bench.transport.sent)) == ([], 2)


def test_refusal_that_comes_once_was_a_garbled_request() -> None:
    bench = Bench([b'@1 !-113,"Undefined header; TEMQ?"\n', b"@2 25.0\n"])
    assert bench.once.run(bench.ask("TEMP?")) == "25.0"
    assert bench.kinds == [FaultKind.GARBLED_REQUEST]


def test_other_refusals_are_believed_at_once() -> None:
    bench = Bench([b'@1 !-240,"Hardware error"\n'])
    with pytest.raises(DeviceError):
        bench.once.run(bench.ask("CORE:SEL 9"))
    assert (len(bench.transport.sent), bench.recognised) == (1, 0)


@pytest.mark.parametrize("code", [-113, -222, -224])
def test_refusal_of_a_request_with_a_checksum_is_believed_at_once(code: int) -> None:
    bench = Bench([sealed(1, f'!{code},"No"')])
    bench.session.has_checksums = True
    with pytest.raises(DeviceError, match="No"):
        bench.once.run(bench.ask("CORE:SEL 9"))
    assert (len(bench.transport.sent), bench.told) == (1, [])


@pytest.mark.parametrize("code", [-222, -224])
def test_refused_parameter_without_a_checksum_was_a_garbled_request(code: int) -> None:
    bench = Bench([f'@1 !{code},"No; core 6"\n'.encode(), b"@2 0\n"])
    assert bench.once.run(bench.ask("CORE:SEL 2")) == "0"
    assert bench.kinds == [FaultKind.GARBLED_REQUEST]


@pytest.mark.parametrize("code", [-160, -360])
def test_request_that_was_changed_is_sent_again_as_often_as_the_policy_allows(code: int) -> None:
    changed = [sealed(tag, f'!{code},"Changed"') for tag in range(1, 6)]
    bench = Bench([*changed[:4], sealed(5, "25.0")])
    bench.session.has_checksums = True
    assert bench.once.run(bench.ask("CORE:PROG")) == "25.0"
    assert bench.kinds == [FaultKind.GARBLED_REQUEST] * 4
    assert all(fault.recovered_s is not None for fault in bench.told)
    hopeless = Bench(changed)
    hopeless.session.has_checksums = True
    with pytest.raises(DeviceError, match="Changed"):
        hopeless.once.run(hopeless.ask("CORE:PROG"))
    assert hopeless.once.health.not_recovered == 5
    assert hopeless.recognised == 0


@pytest.mark.parametrize("answer", [b"@1*00000000 25.0\n", b"@1 25.0\n"], ids=["wrong", "missing"])
def test_answer_that_was_changed_is_asked_for_again_on_a_cleared_link(answer: bytes) -> None:
    bench = Bench([answer, sealed(2, "25.0")])
    bench.session.has_checksums = True
    assert bench.once.run(bench.ask("TEMP?")) == "25.0"
    assert bench.kinds == [FaultKind.GARBLED_ANSWER]
    assert (bench.transport.cleared, bench.recognised) == (1, 1)


def test_reboot_found_out_by_a_refusal_is_told_and_the_operation_begins_again() -> None:
    bench = Bench([b'@1 !-221,"Settings conflict"\n', b"@2 25.0\n"], reboots=1)
    assert bench.once.run(bench.ask("TEMP?")) == "25.0"
    assert bench.kinds == [FaultKind.REBOOT]


def test_dropped_answers_are_all_counted_and_told_once_for_a_request() -> None:
    stale = itertools.repeat(b"@1 old\n" * 1000, 3)
    bench = Bench([b"@1 1\n", *stale, b"@2 25.0\n"])
    bench.once.run(bench.ask("*OPC?"))
    assert bench.once.run(bench.ask("TEMP?")) == "25.0"
    assert bench.kinds == [FaultKind.STALE_TAG]
    assert bench.once.health.faults == {FaultKind.STALE_TAG: 3000}


def test_interrupted_operation_leaves_no_fault_untold() -> None:
    bench = Bench([LATE])

    def settle() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.once.run(bench.ask("READ?"), settle=settle)
    assert [fault.recovered_s for fault in bench.told] == [None]


def test_lost_link_keeps_its_class() -> None:
    bench = Bench([b'@0 !-160,"Block data error"\n'] * 9, RecoveryPolicy(attempts=2))
    with pytest.raises(LinkLostError, match="link_lost 2"):
        bench.once.run(bench.ask("TEMP?"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"attempts": 0}, "attempts = 0: must be at least 1"),
        ({"deadline_s": 0.0}, "deadline_s = 0.0"),
        ({"deadline_s": float("inf")}, "finite"),
        ({"deadline_s": float("nan")}, "deadline_s = nan"),
        ({"first_pause_s": 0.0}, "first_pause_s = 0.0"),
        ({"first_pause_s": 2.0}, "not above the longest"),
    ],
)
def test_impossible_policy_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RecoveryPolicy(**wrong)  # type: ignore[arg-type]
