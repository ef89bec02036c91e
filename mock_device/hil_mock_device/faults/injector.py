"""Which event meets which fault: counting, chance and time, apart from what the faults do."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from hil_mock_device.faults.fault_kinds import Event, MockFault
from hil_mock_device.faults.fault_script import FaultRule, FaultScript

SLOWING = frozenset({MockFault.LATENCY, MockFault.BANDWIDTH, MockFault.BAUD})
"""Faults that strike beside others."""


@dataclass(slots=True)
class ArmedRule:
    """A rule and how often it has been looked at."""

    rule: FaultRule
    """What goes wrong, and when."""
    rng: np.random.Generator
    """Its own stream of chance: no other rule changes what it draws."""
    since_s: float
    """When it was armed, by the injector's clock."""
    events: int = 0
    """Events it might have struck."""
    struck: int = 0
    """How often it did."""

    def strikes(self, now_s: float) -> bool:
        """Take one more event; tell whether it meets the fault."""
        rule = self.rule
        self.events += 1
        # Drawn in any case: what a rule draws next must not depend on the clock.
        by_chance = rule.chance is not None and self.rng.random() < rule.chance
        if rule.times is not None and self.struck >= rule.times:
            return False
        if rule.between_s is not None:
            first_s, last_s = rule.between_s
            if not first_s <= now_s - self.since_s < last_s:
                return False
        if rule.every is not None:
            return self.events % rule.every == 0
        return by_chance or (rule.at is not None and self.events in rule.at)

    def draw_below(self, number: int) -> int:
        """Return a number from 0 to below `number`, by chance."""
        return int(self.rng.integers(number))


class FaultInjector:
    """All faults of one device, whoever its clients are.

    Parameters
    ----------
    script
        What goes wrong from the beginning.
    clock
        Monotonic seconds, for rules that hold between two times.
    """

    def __init__(
        self, script: FaultScript | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._seed = 0
        self._rules: list[ArmedRule] = []
        self._armed = 0
        self.counts: Counter[MockFault] = Counter()
        """How many faults of each kind there were, since the beginning."""
        self.on_clear: list[Callable[[], None]] = []
        """Called when every fault shall end."""
        self.on_outage: Callable[[float], None] = lambda _: None
        """Called with the seconds for which nobody shall get in."""
        self.held_back: list[tuple[bytes, bool]] = []
        """Answers that come late, on whichever link, and whether they come before the next one."""
        self.brown_out: tuple[FaultRule, int] | None = None
        """A programming in which power failed: why, and the core; until somebody sees to it."""
        self.load(script or FaultScript())

    @property
    def rules(self) -> tuple[FaultRule, ...]:
        """The rules that hold."""
        return tuple(armed.rule for armed in self._rules)

    @property
    def struck(self) -> tuple[int, ...]:
        """How often each of them has struck."""
        return tuple(armed.struck for armed in self._rules)

    def load(self, script: FaultScript) -> None:
        """Replace all rules by those of a script."""
        self.clear()
        self._seed, self._armed = script.seed, 0
        for rule in script.fault:
            self.arm(rule)

    def arm(self, rule: FaultRule) -> None:
        """Add a rule; it counts events from now on."""
        rng = np.random.default_rng([self._seed, self._armed])
        self._rules.append(ArmedRule(rule, rng, self._clock()))
        self._armed += 1

    def clear(self) -> None:
        """Drop all rules, and end what lasts; the counts stay."""
        self._rules.clear()
        self.held_back.clear()
        self.brown_out = None
        for end in self.on_clear:
            end()

    def strike_message(self, header: str) -> list[ArmedRule]:
        """Return the rules that strike a message, by its header: slowing ones, and one other."""
        concerned = (armed for armed in self._rules if armed.rule.concerns(header))
        return self._strike(armed for armed in concerned if armed.rule.event is Event.MESSAGE)

    def strike_core(self, event: Event, core: int) -> list[ArmedRule]:
        """Return the rules that strike a multiplication, or a programming, of a core."""
        now_s = self._clock()
        return [
            armed
            for armed in self._rules
            if armed.rule.event is event
            and armed.rule.core in (None, core)
            and armed.strikes(now_s)
        ]

    def count(self, armed: ArmedRule) -> None:
        """Take note that a fault has happened."""
        armed.struck += 1
        self.counts[armed.rule.kind] += 1

    def _strike(self, candidates: Iterable[ArmedRule]) -> list[ArmedRule]:
        now_s = self._clock()
        striking = [armed for armed in candidates if armed.strikes(now_s)]
        others = [armed for armed in striking if armed.rule.kind not in SLOWING]
        return [armed for armed in striking if armed.rule.kind in SLOWING] + others[:1]
