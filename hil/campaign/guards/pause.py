"""A pause: the chip is safe, suspect readouts are put aside, and the run waits."""

from collections.abc import Callable
from dataclasses import dataclass

from hil.campaign.config.guards import GuardsSection
from hil.campaign.guards.limit_guards import GuardedValue
from hil.campaign.guards.probation import ClearTime
from hil.campaign.guards.suspect import AlarmKind, SuspectBlocksError, keep_suspect
from hil.campaign.run_clock import StepWatch
from hil.campaign.run_events import PauseSeen, RunContinued, RunPaused, StepStarted
from hil.campaign.run_job import RunJob
from hil.core.errors import HilError, SafetyLimitError
from hil_datasets.step_files.writer import StepWriter

_SHORTEST_POLL_S = 0.1
_MOST_VIRTUAL_POLLS = 1000
"""So many looks at most in `wait_s` of a virtual time, which passes as fast as it is looked at."""
_LOOKS_EVERY_S = 0.25
"""How long a wait in real time sleeps before it looks whether the run shall stop."""
_LOOKS_WHILE_CLEAR = 5
"""So many looks at least show that nothing is wrong or moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedLook:
    """What a look while the run is paused has found."""

    wrong: str
    """All that is wrong; empty if nothing is."""
    values: dict[str, GuardedValue]
    """What has to come to rest, by name."""


class Pause:
    """Pauses one step of a run.

    Parameters
    ----------
    section
        How long to wait, and how often a step may be paused.
    job
        The run.
    step
        Name of the step.
    writer, watch
        Where its blocks go, and who notes when they are read.
    finds
        Looks what is still wrong.
    settle
        Has the instruments that the campaign sets come to rest again.
    """

    def __init__(
        self,
        section: GuardsSection,
        job: RunJob,
        step: str,
        *,
        writer: StepWriter,
        watch: StepWatch,
        finds: Callable[[AlarmKind], PausedLook],
        settle: Callable[[], None],
    ) -> None:
        self._section = section
        self._job = job
        self._step = step
        self._writer = writer
        self._watch = watch
        self._finds = finds
        self._settle = settle
        self._alarms = 0

    def hold(self, alarm: SuspectBlocksError, *, stored: int) -> None:
        """Put aside what is suspect, and wait until what is wrong has cleared.

        From then on the blocks count as never read, also for another process.

        Parameters
        ----------
        alarm
            What is wrong.
        stored
            Vectors of the step that are stored.

        Raises
        ------
        SafetyLimitError
            If it does not clear in time, or there were too many alarms in this step.
        """
        job, self._alarms = self._job, self._alarms + 1
        with job.switch.whole():
            job.chip.safe()
            self._put_aside(alarm, stored)
            readings = self._readings()
            job.note("pause", step=self._step, reason=alarm.reason, readings=readings)
        # What is suspect is no longer among the vectors that are read.
        job.events.tell(StepStarted(step=self._step, vectors_done=alarm.first_vector))
        job.events.tell(RunPaused(reason=alarm.reason))
        began_s = job.time.now_s()
        self._await_clear(alarm)
        job.probation.until_s = job.time.now_s() + self._section.clear_s
        paused_s = round(job.time.now_s() - began_s, 3)
        job.note("continue", step=self._step, paused_s=paused_s, readings=self._readings())
        job.events.tell(RunContinued())

    def _readings(self) -> dict[str, float]:
        """Return what the instruments show, for the journal; nothing if they do not answer."""
        try:
            read = self._job.instruments.read()
        except HilError:
            return {}
        return {f"{each.instrument}.{each.quantity}": each.value for each in read}

    def _put_aside(self, alarm: SuspectBlocksError, stored: int) -> None:
        first = alarm.first_vector
        if stored == first:
            self._go_back_to(first)  # so that what is stored is not read again
            return
        block = self._writer.stored_block(first, stored)
        file = keep_suspect(self._job.run.path, self._step, first, block, reason=alarm.reason)
        self._go_back_to(first)
        self._job.note(
            "suspect",
            step=self._step,
            first_vector=first,
            vectors=stored - first,
            reason=alarm.reason,
            file=file,
        )

    def _go_back_to(self, vector: int) -> None:
        self._writer.go_back_to(vector)
        self._watch.go_back_to(vector)

    def _await_clear(self, alarm: SuspectBlocksError) -> None:
        section, clock = self._section, self._job.time.now_s
        if alarm.kind is AlarmKind.TIME or section.wait_s == 0:
            self._stop(alarm, alarm.reason)
        if self._alarms > section.repeats:
            self._stop(alarm, f"{alarm.reason}; alarm {self._alarms} in this step")
        until_s = clock() + section.wait_s
        is_settled = False
        while not is_settled:
            self._await_rest(alarm, until_s)
            self._settle()
            # An instrument takes its time to settle: the chip has to be as it was after it.
            is_settled = not self._finds(alarm.kind).wrong

    def _await_rest(self, alarm: SuspectBlocksError, until_s: float) -> None:
        """Look again and again, until nothing was wrong for long enough and nothing moves."""
        section, clock = self._section, self._job.time.now_s
        clear = ClearTime(0.0 if alarm.kind is AlarmKind.ROOM else section.clear_s)
        while True:
            found = self._finds(alarm.kind)
            wrong = found.wrong
            if wrong:
                clear.restart()
            else:
                clear.note(clock(), found.values)
                wrong = clear.moving() if clear.is_long_enough else ""
                if clear.is_long_enough and not wrong:
                    return
            # What is clear has the time to show that it stays so.
            if wrong and clock() >= until_s:
                self._stop(alarm, f"{wrong}; it did not clear within {section.wait_s:g} s")
            seen = wrong or f"nothing is wrong now: goes on after {clear.needed_s:g} s of that"
            left_s = max(0.0, until_s - clock()) if wrong else None
            self._job.events.tell(PauseSeen(found=seen, left_s=left_s))
            self._sleep(self._poll_s(0.0 if found.wrong else clear.needed_s))

    def _poll_s(self, clear_s: float) -> float:
        """Return the time to the next look, `clear_s` where nothing must be wrong for so long."""
        if clear_s:
            return max(_SHORTEST_POLL_S, min(self._section.every_s, clear_s / _LOOKS_WHILE_CLEAR))
        return max(self._section.every_s, self._shortest_poll_s)

    def _stop(self, alarm: SuspectBlocksError, reason: str) -> None:
        first = alarm.first_vector
        if alarm.kind is AlarmKind.ANSWER:
            # The chip is another one now: what it will answer does not go with what it answered.
            first = 0
            self._go_back_to(first)
            self._job.events.tell(StepStarted(step=self._step, vectors_done=first))
        raise SafetyLimitError(
            f"a guard has stopped the run: {reason}; {self._step} goes on at vector {first} "
            "when the run is resumed"
        )

    @property
    def _shortest_poll_s(self) -> float:
        if not self._job.time.is_virtual:
            return _SHORTEST_POLL_S
        return max(_SHORTEST_POLL_S, self._section.wait_s / _MOST_VIRTUAL_POLLS)

    def _sleep(self, seconds: float) -> None:
        bench_time = self._job.time
        until_s = bench_time.now_s() + seconds
        slice_s = seconds if bench_time.is_virtual else _LOOKS_EVERY_S
        while (left_s := until_s - bench_time.now_s()) > 0:
            self._job.switch.check()
            bench_time.sleep(min(left_s, slice_s))
        self._job.switch.check()
