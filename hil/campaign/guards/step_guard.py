"""The guards of one step: they look after its blocks, pause the run, and have blocks read again."""

from collections.abc import Callable
from typing import NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from hil.campaign.config.guards import GuardsSection
from hil.campaign.guards.answer_guard import AnswerGuard
from hil.campaign.guards.block_guard import Unguarded
from hil.campaign.guards.known_answer import known_vectors
from hil.campaign.guards.known_answer_file import KnownAnswerFile
from hil.campaign.guards.limit_guards import LimitGuards
from hil.campaign.guards.pause import Pause, PausedLook
from hil.campaign.guards.suspect import AlarmKind, SuspectBlocksError
from hil.campaign.plan import PlannedStep
from hil.campaign.run_clock import StepWatch
from hil.campaign.run_job import RunJob
from hil.core.errors import CalibrationError
from hil_datasets.step_files.writer import StepWriter

ResultT = TypeVar("ResultT")

_QUESTIONS = 8
"""How many questions a link has to answer without a fault to be clear."""
_ANSWERS = "known_answer"
"""Name of the known answers among the values that have to come to rest."""


class StepGuard:
    """Guards one step, as `BlockGuard`.

    Parameters
    ----------
    section
        The campaign's guards.
    job
        The run.
    step
        The step; its core holds its weights.
    writer, watch
        Where its blocks go, and who notes when they are read: both go back where blocks are
        suspect.
    continue_noise
        Has a simulated chip go on with the noise of a vector, since known answers use some up.
    settle
        Has the instruments come to rest at what the step wants.
    """

    def __init__(
        self,
        section: GuardsSection,
        job: RunJob,
        step: PlannedStep,
        *,
        writer: StepWriter,
        watch: StepWatch,
        continue_noise: Callable[[int], object],
        settle: Callable[[], None],
    ) -> None:
        self._section = section
        self._job = job
        self._step = step
        self._continue_noise = continue_noise
        self._stored = self._looked_at = writer.first_missing
        self._looked_s = 0.0
        self._answers = self._answer_guard()
        self._pause = Pause(
            section,
            job,
            step.key.name,
            writer=writer,
            watch=watch,
            finds=self._finds,
            settle=settle,
        )
        self._limits = LimitGuards(
            section=section,
            chip_temperature_c=lambda: job.chip.temperature_c(step.key.core, step.key.read_mode),
            instruments=job.instruments,
            folder=job.run.path,
            running_s=job.clock.working_s,
        )

    def run(self, measure: Callable[[], ResultT]) -> ResultT:
        """Measure the step under guard, again from the last good block where that is needed.

        Parameters
        ----------
        measure
            Takes the step, or what is missing of it; calls `after_block` after each block.

        Raises
        ------
        SafetyLimitError
            If what is wrong does not clear: the run stops, and can go on later.
        HilError
            Whatever `measure` raises.
        """
        while True:
            try:
                self._begin()
                return self._measured(measure)
            except SuspectBlocksError as alarm:
                self._pause.hold(alarm, stored=self._stored)
                self._go_back_to(alarm.first_vector)

    def _measured(self, measure: Callable[[], ResultT]) -> ResultT:
        try:
            return measure()
        except CalibrationError:
            self._check_all()  # readouts that are suspect may be why
            raise

    def _begin(self) -> None:
        self._look()
        if self._answers is not None and not self._answers.has_reference:
            suspect_from = self._answers.begin(self._stored)
            self._continue_noise(self._stored)
            self._raise_answer(suspect_from)

    def after_block(self, stop: int) -> None:
        """Look, now that the vectors below `stop` are stored.

        Raises
        ------
        SuspectBlocksError
            If they are not to be trusted.
        """
        newest, self._stored = stop - self._stored, stop
        is_end = stop == len(self._step.work.inputs)
        self._check_link(newest, stop - newest)
        is_close = is_end or self._job.probation.holds(self._job.time.now_s())
        if is_close or self._job.time.now_s() - self._looked_s >= self._section.every_s:
            self._look()
        answers, block = self._answers, self._job.campaign.config.vectors.block
        if answers is not None and (
            is_close or answers.is_first_due or answers.is_due(stop, block=block)
        ):
            self._check_answers(answers)

    def _check_all(self) -> None:
        self._look()
        if self._answers is not None:
            self._check_answers(self._answers)

    def _check_answers(self, answers: AnswerGuard) -> None:
        suspect_from = answers.check(self._stored)
        self._continue_noise(self._stored)
        self._raise_answer(suspect_from)

    def _check_link(self, newest: int, first: int) -> None:
        most = self._section.faults_per_1000_vectors
        faults = self._job.fault_rate.read(newest, faults_so_far=self._faults())
        if most is not None and faults > most:
            reason = (
                f"{faults} faults of the link among the last 1000 vectors: "
                f"guards.faults_per_1000_vectors is {most}"
            )
            self._raise(first, reason, AlarmKind.LINK)

    def _look(self) -> None:
        found = self._limits.look()
        if found.kind is not None:
            is_good = found.kind in {AlarmKind.TIME, AlarmKind.ROOM}  # what was read until now
            first, words = (self._stored if is_good else self._looked_at), found.words
            answers = self._answers
            if not is_good and answers is not None and answers.has_reference:
                # Within its limits it may have been off for longer: the last check was good.
                suspect_from = answers.check(self._stored)
                if suspect_from is not None:
                    first, words = min(first, suspect_from), f"{words}; {answers.words()}"
            raise SuspectBlocksError(first, words, found.kind)
        self._looked_at, self._looked_s = self._stored, self._job.time.now_s()

    def _raise_answer(self, suspect_from: int | None) -> None:
        if self._answers is not None and suspect_from is not None:
            first = min(suspect_from, self._stored)
            self._raise(first, self._answers.words(), AlarmKind.ANSWER)

    def _raise(self, first: int, reason: str, kind: AlarmKind) -> NoReturn:
        """Raise an alarm, with all else that is wrong: it may be why."""
        found = self._limits.look()
        if found.kind is AlarmKind.CONDITION:
            first = min(first, self._looked_at)
        raise SuspectBlocksError(first, "; ".join(filter(None, (reason, found.words))), kind)

    def _finds(self, kind: AlarmKind) -> PausedLook:
        """Look what is still wrong while the run is paused."""
        found = self._limits.look()
        wrong, values = [found.words], dict(found.values)
        if kind is AlarmKind.LINK:
            before = self._faults()
            for _ in range(_QUESTIONS):
                self._job.chip.identify()
            wrong.append("" if self._faults() == before else "the link still has faults")
        # What has changed the chip may last longer than what was noticed.
        answers = self._answers
        if not any(wrong) and answers is not None and answers.has_reference:
            words, values[_ANSWERS] = answers.look(self._stored)
            wrong.append(words)
        return PausedLook(wrong="; ".join(filter(None, wrong)), values=values)

    def _go_back_to(self, vector: int) -> None:
        self._stored = self._looked_at = vector
        self._looked_s = self._job.time.now_s()
        self._job.fault_rate.forget(faults_so_far=self._faults())
        if self._answers is not None and self._answers.has_reference:
            self._answers.go_on_from(vector)
        self._continue_noise(vector)

    def _faults(self) -> int:
        return sum(self._job.clock.fault_counts.values())

    def _answer_guard(self) -> AnswerGuard | None:
        section, step = self._section.known_answer, self._step
        if section is None:
            return None
        return AnswerGuard(
            section,
            step=step.key.name,
            known=known_vectors(step.work.inputs, section.vectors),
            columns_used=step.work.columns_used,
            read=self._read_known,
            file=KnownAnswerFile(self._job.run.path),
            utc=self._job.clock.utc,
        )

    def _read_known(self, inputs: npt.NDArray[np.int8]) -> npt.NDArray[np.uint16]:
        job, key, clock = self._job, self._step.key, self._job.clock.working_s
        most, counts = job.chip.geometry().max_vectors, []
        for first in range(0, len(inputs), most):
            with job.switch.whole():
                began_s = clock()
                block = inputs[first : first + most]
                counts.append(job.chip.read_counts(key.core, key.read_mode, block))
                job.book.vectors(key.core, len(block), seconds=clock() - began_s)
        return np.concatenate(counts)


def guard_step(
    job: RunJob,
    step: PlannedStep,
    *,
    writer: StepWriter,
    watch: StepWatch,
    continue_noise: Callable[[int], object],
    settle: Callable[[], None],
) -> StepGuard | Unguarded:
    """Return the guards of a step: none where the campaign has none, or a recording is played.

    Parameters
    ----------
    job, step, writer, watch, continue_noise, settle
        As in `StepGuard`.
    """
    section = job.campaign.config.guards
    if section is None or job.plays_recording:
        return Unguarded()
    return StepGuard(
        section,
        job,
        step,
        writer=writer,
        watch=watch,
        continue_noise=continue_noise,
        settle=settle,
    )
