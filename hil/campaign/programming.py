"""Programming cores: each once per process, and not at all if it has kept what the run wrote."""

import math
from collections import Counter
from datetime import datetime
from typing import Any

from hil.campaign.plan import PlannedStep
from hil.campaign.run_events import Warned
from hil.campaign.run_job import ProgramAttempts, RunJob
from hil.campaign.visits import has_visits
from hil_datasets.chip_book.facts import digest_weights
from hil_datasets.step import StepKind
from hil_drivers.link_fault import FaultKind


class Programmer:
    """Programs each core once per process, unless a step says again.

    Parameters
    ----------
    job
        The run.
    """

    def __init__(self, job: RunJob) -> None:
        self._job = job
        self._programmed_s: dict[int, float] = {}
        self._attempts = Counter({name: each.count for name, each in job.attempts.items()})
        self._numbers = {core: each.number for core, each in job.programmed.items()}
        self._chip_counts = {core: each.chip_count for core, each in job.programmed.items()}

    def program(self, step: PlannedStep) -> None:
        """See that a core holds the weights of a step.

        Raises
        ------
        SafetyLimitError
            If that would wear it beyond its limit.
        TransportError, DeviceError, FrameError
            If the device is lost, refuses or answers nonsense.
        """
        core = step.key.core
        if core in self._programmed_s:
            return
        digest = digest_weights(step.work.weights)
        if self._is_kept(step, digest):
            self._programmed_s[core] = self._job.time.now_s() - self._passed_s(core)
        else:
            self._program(step, digest)
            self._warn_of_age(core)

    def program_for(self, step: PlannedStep) -> str:
        """Program the core of a program step, unless an earlier process has done that for it.

        Return why it must not be programmed; nothing if it holds the weights. An attempt that
        nobody could judge, since the run and the chip were switched off, is made again.
        """
        core, before = step.key.core, self._job.programmed.get(step.key.core)
        is_begun = before is not None and before.step == step.key.name
        earlier = self._job.attempts.get(step.key.name, ProgramAttempts())
        is_used_up = earlier.has_failed and earlier.count >= step.attempts
        if (is_begun or is_used_up) and core not in self._programmed_s:
            digest = digest_weights(step.work.weights)
            if self._is_kept(step, digest):
                self.program(step)
                return ""
        if is_used_up:
            return (
                f"core {core} does not hold its weights, and was programmed {earlier.count} times "
                f"for it: steps.program.attempts is {step.attempts}"
            )
        self.program_again(step)
        return ""

    def attempts(self, step: PlannedStep) -> int:
        """Return how often the core of a program step was programmed for it, in all processes."""
        return self._attempts[step.key.name]

    def program_again(self, step: PlannedStep) -> None:
        """Program the core of a program step; raise as `program`."""
        self._program(step, digest_weights(step.work.weights))

    def age_s(self, core: int) -> float:
        """Return the time since a core was programmed, in seconds; NaN if nobody knows."""
        programmed_s = self._programmed_s.get(core, math.nan)
        # A wall clock that was set back makes no core younger than nothing.
        return max(0.0, self._job.time.now_s() - programmed_s)

    def number(self, core: int) -> int:
        """Return which programming of a core in this run it holds now, from 1; 0 for none."""
        return self._numbers.get(core, 0)

    def told(self, core: int) -> dict[str, Any]:
        """Return what the journal says of the programming that a step is read under."""
        count = self._chip_counts.get(core)
        known = {} if count is None else {"chip_count": count}
        return {"programming": self.number(core), **known}

    def _program(self, step: PlannedStep, digest: str) -> None:
        core, job = step.key.core, self._job
        with job.switch.whole():
            began_s = job.time.now_s()
            of_step = {"step": step.key.name} if step.key.kind is StepKind.PROGRAM else {}
            self._attempts[step.key.name] += 1
            # Whatever becomes of it: what the core held before is not to be relied upon.
            self._numbers[core] = self.number(core) + 1
            self._chip_counts[core] = None
            number = self._numbers[core]
            job.note(
                "program", core=core, number=number, weights=digest, bench_s=began_s, **of_step
            )
            begun = self._begun_in_vain()
            with job.book.programming(core, digest) as pulse:
                job.chip.program(core, step.work.weights)
                pulse.repeated(self._begun_in_vain() - begun)
            self._chip_counts[core] = self._chip_count(core)
        self._programmed_s[core] = began_s

    def _warn_of_age(self, core: int) -> None:
        """Say that a core was programmed again where its age and earlier calibrations matter."""
        job = self._job
        if core in job.programmed and has_visits(job.campaign.config) and not job.time.is_virtual:
            words = (
                f"core {core} was programmed again: its age counts from now, and what judges its "
                "earlier calibrations sees weights with another programming noise"
            )
            job.events.tell(Warned(words=words))

    def _is_kept(self, step: PlannedStep, digest: str) -> bool:
        """Tell whether a core still has the programming that the run gave it last.

        The same weights are not enough where the chip counts: somebody else may have programmed
        them meanwhile, with another noise.
        """
        core = step.key.core
        holds = getattr(self._job.chip, "holds", None)  # a plug-in need not have it
        before = self._job.programmed.get(core)
        if holds is None or before is None or before.weights != digest:
            return False
        if not holds(core, step.work.weights):
            return False
        return before.chip_count is None or self._chip_count(core) == before.chip_count

    def _chip_count(self, core: int) -> int | None:
        """Return how often a core was programmed in its life; None if the chip does not say."""
        ask = getattr(self._job.chip, "times_programmed", None)  # a plug-in need not have it
        return None if ask is None or self._job.plays_recording else int(ask(core))

    def _passed_s(self, core: int) -> float:
        """Return how long ago an earlier process programmed a core, by the wall clock."""
        try:
            began = datetime.fromisoformat(self._job.programmed[core].utc)
            return max(0.0, (self._job.clock.now() - began).total_seconds())
        except (ValueError, TypeError):
            return math.nan

    def _begun_in_vain(self) -> int:
        return self._job.clock.fault_counts.get(FaultKind.HALF_PROGRAMMED.value, 0)
