"""The parts of the fault campaign: what goes wrong in each, and what the driver must say of it."""

from dataclasses import dataclass

from hil_drivers.link_fault import FaultKind
from hil_mock_device.faults.fault_kinds import Direction, MockFault
from hil_mock_device.faults.fault_script import FaultRule, FaultScript

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
    ``{often}`` for five times it, ``{rare}`` for that of a fault after which many
    messages follow, half of it, ``{late}`` for longer than the driver waits."""
    told: frozenset[FaultKind]
    """The driver reports each fault that happened as one of these; none if it does no harm."""

    def script(self, *, seed: int, seldom: int, timeout_s: float) -> FaultScript:
        """Return the rules for a driver that waits `timeout_s`, one message of `seldom` struck."""
        # A mixture has many rules, each with its share.
        chance = 1 / seldom if len(self.rules) < 5 else 1 / seldom / len(self.rules)
        chances = {"p": chance, "often": min(1.0, 5 * chance), "rare": chance / 2}
        spelled = {name: f"{value:.6f}" for name, value in chances.items()}
        late = f"{2 * timeout_s:g}"
        texts = [rule.format(late=late, **spelled) for rule in self.rules]
        return FaultScript(seed=seed, fault=tuple(FaultRule.from_text(text) for text in texts))


TROUBLES = {
    "latency": Trouble(("kind=latency,seconds=0.002,jitter_s=0.008,chance={p}",), _NOTHING),
    "bandwidth": Trouble(("kind=bandwidth,bytes_per_s=100000,chance={p}",), _NOTHING),
    "baud": Trouble(("kind=baud,baud=115200,chance={p}",), _NOTHING),
    "message lost": Trouble(("kind=drop,direction=request,chance={p}",), _LOST),
    "answer lost": Trouble(("kind=drop,chance={p}",), _LOST),
    "message doubled": Trouble(("kind=double,direction=request,chance={p}",), _NOTHING),
    "answer doubled": Trouble(
        ("kind=double,chance={p}",),
        frozenset({FaultKind.REPEATED_TAG, FaultKind.STALE_TAG}),
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
    ),
}  # fmt: skip
"""The parts of the campaign."""


def does_harm(rule: FaultRule, *, link: str, timeout_s: float) -> bool:
    """Tell whether a driver that waits `timeout_s` must report a fault.

    Slow answers come in time. The device carries out a message that comes twice once. Tagged
    messages do not use the error queue. HiSLIP's message ids tell pyvisa-py of a second answer.
    """
    if rule.kind is MockFault.DOUBLE:
        return rule.direction is Direction.ANSWER and link != "hislip"
    if rule.kind is MockFault.LATENCY:
        return (rule.seconds or 0.0) > timeout_s
    return rule.kind not in {MockFault.BANDWIDTH, MockFault.BAUD, MockFault.ERROR_QUEUE}
