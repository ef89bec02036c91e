"""Programming cores: each once per process, and not at all if it has kept what the run wrote."""

import math
from datetime import datetime

from hil.campaign.plan import PlannedStep
from hil.campaign.run_job import RunJob
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

    def program_for(self, step: PlannedStep) -> None:
        """Program the core of a program step, unless an earlier process has done that for it."""
        core, before = step.key.core, self._job.programmed.get(step.key.core)
        is_begun = before is not None and before.step == step.key.name
        if is_begun and core not in self._programmed_s:
            self.program(step)
        else:
            self.program_again(step)

    def program_again(self, step: PlannedStep) -> None:
        """Program the core of a program step; raise as `program`."""
        self._program(step, digest_weights(step.work.weights))

    def age_s(self, core: int) -> float:
        """Return the time since a core was programmed, in seconds; NaN if nobody knows."""
        programmed_s = self._programmed_s.get(core, math.nan)
        # A wall clock that was set back makes no core younger than nothing.
        return max(0.0, self._job.time.now_s() - programmed_s)

    def _program(self, step: PlannedStep, digest: str) -> None:
        core, job = step.key.core, self._job
        with job.switch.whole():
            began_s = job.time.now_s()
            of_step = {"step": step.key.name} if step.key.kind is StepKind.PROGRAM else {}
            job.note("program", core=core, weights=digest, bench_s=began_s, **of_step)
            begun = self._begun_in_vain()
            with job.book.programming(core, digest) as pulse:
                job.chip.program(core, step.work.weights)
                pulse.repeated(self._begun_in_vain() - begun)
        self._programmed_s[core] = began_s

    def _is_kept(self, step: PlannedStep, digest: str) -> bool:
        holds = getattr(self._job.chip, "holds", None)  # a plug-in need not have it
        before = self._job.programmed.get(step.key.core)
        if holds is None or before is None or before.weights != digest:
            return False
        return bool(holds(step.key.core, step.work.weights))

    def _passed_s(self, core: int) -> float:
        """Return how long ago an earlier process programmed a core, by the wall clock."""
        try:
            began = datetime.fromisoformat(self._job.programmed[core].utc)
            return max(0.0, (self._job.clock.now() - began).total_seconds())
        except (ValueError, TypeError):
            return math.nan

    def _begun_in_vain(self) -> int:
        return self._job.clock.fault_counts.get(FaultKind.HALF_PROGRAMMED.value, 0)
