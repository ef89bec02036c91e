"""``known-answers.jsonl``: every check of the known answers, one JSON object a line."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hil.campaign.guards.cusum import Cusum
from hil.campaign.guards.known_answer import KnownAnswer
from hil_datasets.durable import names_failed_writes

KNOWN_ANSWERS_FILE = "known-answers.jsonl"
_LAST_BYTES = 64 << 10
"""Where the last line is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAnswerCheck:
    """One check."""

    utc: str
    """When, ISO 8601."""
    step: str
    """Name of the step that it lies in."""
    vector: int
    """Vectors of the step that were stored before it."""
    score: float
    """How far it is off, in standard deviations; 0 for the reference itself."""
    upper: float
    """Sum of the CUSUM upwards."""
    lower: float
    """Sum of the CUSUM downwards."""
    upper_from: int
    """Vectors stored at the last check at which `upper` was 0."""
    lower_from: int
    """The same of `lower`."""
    is_alarm: bool
    """Whether a sum was beyond the limit."""
    mean: float
    """What the known vectors should read: their mean count."""
    noise: float
    """Its noise, counts."""
    signal: float
    """By how much it is above the count without input."""
    is_paused: bool = False
    """Whether the run was paused: such a check tells whether it may go on, and adds to no sum."""

    @property
    def reference(self) -> KnownAnswer:
        """What the check was held to."""
        return KnownAnswer(mean=self.mean, noise=self.noise, signal=self.signal)

    @property
    def sums(self) -> Cusum:
        """The sums after it."""
        return Cusum(
            upper=self.upper,
            lower=self.lower,
            upper_from=self.upper_from,
            lower_from=self.lower_from,
        )

    @classmethod
    def from_line(cls, line: bytes) -> "KnownAnswerCheck | None":
        """Read a line; None if it is none, such as one that a crash cut short."""
        try:
            content = json.loads(line.decode())
            check = cls(**content)
            numbers = (check.score, check.upper, check.lower, check.mean, check.noise, check.signal)
            places = (check.vector, check.upper_from, check.lower_from)
            texts = (check.utc, check.step)
            is_whole = (
                all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
                and all(type(place) is int for place in places)
                and all(isinstance(text, str) for text in texts)
            )
        except (ValueError, TypeError, RecursionError):
            return None
        return check if is_whole else None


class KnownAnswerFile:
    """The checks of a run.

    Parameters
    ----------
    run
        The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / KNOWN_ANSWERS_FILE

    def append(self, check: KnownAnswerCheck) -> None:
        """Add a check.

        Raises
        ------
        DatasetError
            If it cannot be written.
        """
        line = json.dumps(asdict(check), allow_nan=False).encode() + b"\n"
        with names_failed_writes(self._path), self._path.open("ab") as file:
            # What a crash cut short stays a line of its own, which nobody reads.
            file.write(line if self._ends_whole() else b"\n" + line)

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def last_of(self, step: str, *, at_most: int) -> KnownAnswerCheck | None:
        """Return the last check of a step at a vector or before; None if there is none.

        Those of a paused run are left out.
        """
        found = None
        for check in self._checks():
            is_good = not check.is_alarm and not check.is_paused
            if check.step == step and check.vector <= at_most and is_good:
                found = check
        return found

    def _checks(self) -> Iterator[KnownAnswerCheck]:
        if not self._path.is_file():
            return
        with names_failed_writes(self._path), self._path.open("rb") as file:
            for line in file:
                check = KnownAnswerCheck.from_line(line)
                if check is not None:
                    yield check


def last_known_answer(run: Path) -> KnownAnswerCheck | None:
    """Return the last check of a run; None if there is none, or it cannot be read."""
    path = run / KNOWN_ANSWERS_FILE
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = file.read(_LAST_BYTES).splitlines()
    except OSError:
        return None
    checks = (KnownAnswerCheck.from_line(line) for line in reversed(lines))
    return next((check for check in checks if check is not None), None)
