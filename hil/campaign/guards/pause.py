"""A pause: the chip is safe, suspect readouts are put aside, and the run waits."""

from collections.abc import Callable

from hil.campaign.guards.suspect import AlarmKind, SuspectBlocksError, keep_suspect
from hil.campaign.guards_config import GuardsSection
from hil.campaign.run_clock import StepWatch
from hil.campaign.run_events import RunContinued, RunPaused, StepStarted
from hil.campaign.run_job import RunJob
from hil.core.errors import SafetyLimitError
from hil_datasets.step_writer import StepWriter

_SHORTEST_POLL_S = 0.1
_LOOKS_EVERY_S = 0.25
"""How long a wait sleeps before it looks whether the run shall stop."""


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
        Tells what is still wrong; nothing if it is clear.
    """

    def __init__(
        self,
        section: GuardsSection,
        job: RunJob,
        step: str,
        *,
        writer: StepWriter,
        watch: StepWatch,
        finds: Callable[[AlarmKind], str],
    ) -> None:
        self._section = section
        self._job = job
        self._step = step
        self._writer = writer
        self._watch = watch
        self._finds = finds
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
            job.note("pause", step=self._step, reason=alarm.reason)
        job.events.tell(RunPaused(reason=alarm.reason))
        self._await_clear(alarm)
        job.note("continue", step=self._step)
        job.events.tell(RunContinued())
        job.events.tell(StepStarted(step=self._step, vectors_done=alarm.first_vector))

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
        poll_s = max(section.every_s, _SHORTEST_POLL_S)
        while wrong := self._finds(alarm.kind):
            if clock() >= until_s:
                self._stop(alarm, f"{wrong}; it did not clear within {section.wait_s:g} s")
            self._sleep(min(poll_s, max(0.0, until_s - clock())))

    def _stop(self, alarm: SuspectBlocksError, reason: str) -> None:
        first = alarm.first_vector
        if alarm.kind is AlarmKind.ANSWER:
            # The chip is another one now: what it will answer does not go with what it answered.
            first = 0
            self._go_back_to(first)
        raise SafetyLimitError(
            f"a guard has stopped the run: {reason}; {self._step} goes on at vector {first} "
            "when the run is resumed"
        )

    def _sleep(self, seconds: float) -> None:
        bench_time = self._job.time
        until_s = bench_time.now_s() + seconds
        while (left_s := until_s - bench_time.now_s()) > 0:
            self._job.switch.check()
            bench_time.sleep(min(left_s, _LOOKS_EVERY_S))
        self._job.switch.check()
