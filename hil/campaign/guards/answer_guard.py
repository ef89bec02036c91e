"""Whether a chip still answers as it did when a step began."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hil.campaign.config.guards import KnownAnswerSection
from hil.campaign.guards.cusum import Cusum, CusumLimits
from hil.campaign.guards.known_answer import KnownAnswer, reference_inputs
from hil.campaign.guards.known_answer_file import KnownAnswerCheck, KnownAnswerFile
from hil.campaign.guards.limit_guards import GuardedValue
from hil.core.legible import shown_beside

CLEAR_SIGMAS = 3.0
"""A single check this near to its reference, in standard deviations, is as it should be: those of
a paused run before it goes on, and the first one afterwards."""
AT_REST_SIGMAS = 1.0
"""Checks of a paused run that move by less, in standard deviations, are at rest."""
_UNCERTAINTIES = 2.0
"""So many standard errors of the reference are added to the slack: with none, one alarm in 400
checks was false on a mock chip of 32 columns, 100 checks to a step."""


class AnswerGuard:
    """Checks the known answers of one step.

    Parameters
    ----------
    section
        How often, and what is an alarm.
    step
        Name of the step.
    known
        The known vectors, shape (vector, row).
    columns_used
        Columns that carry weights.
    read
        Reads counts (vector, polarity, column) for inputs (vector, row).
    file
        Where every check is written down.
    utc
        What time it is.
    """

    def __init__(
        self,
        section: KnownAnswerSection,
        *,
        step: str,
        known: npt.NDArray[np.int8],
        columns_used: int,
        read: Callable[[npt.NDArray[np.int8]], npt.NDArray[np.uint16]],
        file: KnownAnswerFile,
        utc: Callable[[], str],
    ) -> None:
        self._section = section
        self._step = step
        self._known = known
        self._columns_used = columns_used
        self._read = read
        self._file = file
        self._utc = utc
        self._reference: KnownAnswer | None = None
        self._limits = CusumLimits(slack=section.slack, alarm=section.alarm)
        self._sums = Cusum()
        self._checked_at = 0
        self._first_from: int | None = None
        self._why = ""

    @property
    def is_first_due(self) -> bool:
        """Whether the first check after a pause is still to come."""
        return self._first_from is not None

    @property
    def has_reference(self) -> bool:
        """Whether it knows what the vectors should read."""
        return self._reference is not None

    def begin(self, at: int) -> int | None:
        """Find the reference: that of the process before, or a new one.

        Parameters
        ----------
        at
            Vectors of the step that are stored.

        Returns
        -------
        The vector from which on what is stored is suspect; None if nothing is.
        """
        # What was measured before belongs to the reference that it was measured with.
        last = self._file.last_of(self._step, at_most=at) if at else None
        if last is not None:
            self._take(last.reference)
            self._sums, self._checked_at = last.sums, last.vector
            self._first_from = at
            return self.check(at)
        counts = self._read(reference_inputs(self._known))
        reference = KnownAnswer.of(counts, columns_used=self._columns_used)
        self._take(reference)
        self.go_back_to(at)
        self._note(reference, at, score=0.0)
        return None

    def _take(self, reference: KnownAnswer) -> None:
        """Hold checks to a reference; the slack makes up for what it may be wrong by."""
        section = self._section
        spare = _UNCERTAINTIES * reference.uncertainty(section.resolution)
        self._reference = reference
        self._limits = CusumLimits(slack=section.slack + spare, alarm=section.alarm)

    def is_due(self, at: int, *, block: int) -> bool:
        """Tell whether another block would make it too late for the next check."""
        return at + block - self._checked_at > self._section.every_vectors

    def check(self, at: int) -> int | None:
        """Read the known vectors; return the vector from which on all is suspect, or None.

        Parameters
        ----------
        at
            Vectors of the step that are stored.
        """
        score = self._score()
        self._sums = self._sums.after(score, at=at, limits=self._limits)
        self._checked_at = at
        first, self._first_from = self._first_from, None
        suspect_from = self._sums.suspect_from(self._limits)
        self._why = self._sum_words()
        if first is not None and abs(score) > CLEAR_SIGMAS:
            suspect_from = first if suspect_from is None else min(first, suspect_from)
            self._why = f"the first check after the run went on: {_off(score)}"
        if self._reference is not None:
            self._note(self._reference, at, score=score, is_alarm=suspect_from is not None)
        return suspect_from

    def words(self) -> str:
        """Return what the last check has found, for a person."""
        return self._why

    def _sum_words(self) -> str:
        upper, lower = self._sums.upper, self._sums.lower
        total, side = (upper, "more") if upper >= lower else (lower, "less")
        alarm = self._section.alarm
        return (
            f"the chip counts {side} for its known vectors than when the step began: CUSUM "
            f"{shown_beside(total, alarm)}, guards.known_answer.alarm is {alarm!r}"
        )

    def look(self, at: int) -> tuple[str, GuardedValue]:
        """Check once while the run is paused; return what is wrong, if anything, and the score.

        Parameters
        ----------
        at
            Vectors of the step that are stored.
        """
        score = self._score()
        is_off = abs(score) > CLEAR_SIGMAS
        if self._reference is not None:
            self._note(self._reference, at, score=score, is_alarm=is_off, is_paused=True)
        value = GuardedValue(shown=_off(score), value=score, may_move=AT_REST_SIGMAS)
        return (_off(score) if is_off else ""), value

    def go_on_from(self, vector: int) -> None:
        """Begin the sums anew at a vector, where the run goes on after a pause."""
        self.go_back_to(vector)
        self._first_from = vector

    def go_back_to(self, vector: int) -> None:
        """Begin the sums anew at a vector."""
        self._sums = Cusum(upper_from=vector, lower_from=vector)
        self._checked_at = vector

    def _score(self) -> float:
        if self._reference is None:
            return 0.0
        return self._reference.score(
            self._read(self._known),
            columns_used=self._columns_used,
            resolution=self._section.resolution,
        )

    def _note(
        self,
        reference: KnownAnswer,
        at: int,
        *,
        score: float,
        is_alarm: bool = False,
        is_paused: bool = False,
    ) -> None:
        sums = self._sums
        self._file.append(
            KnownAnswerCheck(
                utc=self._utc(),
                step=self._step,
                vector=at,
                score=score,
                upper=sums.upper,
                lower=sums.lower,
                upper_from=sums.upper_from,
                lower_from=sums.lower_from,
                is_alarm=is_alarm,
                mean=reference.mean,
                noise=reference.noise,
                signal=reference.signal,
                is_paused=is_paused,
            )
        )


def _off(score: float) -> str:
    sign, size = "-" if score < 0 else "+", shown_beside(abs(score), CLEAR_SIGMAS)
    return (
        f"the known vectors are {sign}{size} sigma off what they counted when the step began, "
        f"{CLEAR_SIGMAS:g} are allowed"
    )
