"""Hard limits on the wear of a chip: looked at before a campaign, and before every programming."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from hil.core.errors import Problem, SafetyLimitError
from hil_datasets.chip_book.book import ChipBook
from hil_datasets.chip_book.content import BookContent
from hil_datasets.chip_book.entry import Outcome, ProgrammingBegun, ProgrammingEnded
from hil_datasets.chip_book.totals import total


@dataclass(frozen=True, slots=True, kw_only=True)
class WearLimits:
    """How much a chip may be worn in its whole life."""

    programmings_per_core: int | None = None
    """Most programmings of one core; None for no limit."""


LIMIT_KEY = "limits.programmings_per_core"
"""Where a campaign file sets the limit."""


def check_wear(book: BookContent, planned: Mapping[int, int], limits: WearLimits) -> list[Problem]:
    """Return a problem for each core that a plan would wear beyond the limit.

    Parameters
    ----------
    book
        What the book of the chip holds.
    planned
        Programmings of each core that are planned.
    limits
        The limits.
    """
    limit = limits.programmings_per_core
    if limit is None:
        return []
    totals = total(book)
    return [
        Problem(LIMIT_KEY, _refusal(core, totals.worn(core), count, limit, totals.lost_entries))
        for core, count in sorted(planned.items())
        if count > 0 and totals.worn(core) + count > limit
    ]


def _refusal(core: int, worn: int, planned: int, limit: int, lost: int) -> str:
    damaged = f" ({lost} of them damaged entries of its book)" if lost else ""
    return (
        f"core {core}: {planned} more after {worn} programmings{damaged}, at most {limit} in the "
        "chip's life"
    )


class WearLedger:
    """Lets a core be programmed only within the limit, and only after that is written down.

    Parameters
    ----------
    book
        The chip's book.
    limits
        The limits.
    now
        The time, UTC.
    """

    def __init__(self, book: ChipBook, limits: WearLimits, *, now: Callable[[], datetime]) -> None:
        self._book = book
        self._limits = limits
        self._now = now

    def before_programming(self, core: int, *, campaign: int, digest: str) -> int:
        """Write down that a core is about to be programmed; return the number of the entry.

        When this returns, the entry is on the disk; from then on the programming counts, whatever
        becomes of this process. Limit and entry are one operation: two processes cannot both take
        the last programming that is left.

        Parameters
        ----------
        core
            Core number.
        campaign
            Number of the campaign's first entry.
        digest
            Digest of the weights.

        Raises
        ------
        SafetyLimitError
            If the limit is reached. Nothing was written, and nothing must be sent.
        DatasetError
            If it cannot be written. Nothing must be sent.
        """

        def check(content: BookContent) -> None:
            problems = check_wear(content, {core: 1}, self._limits)
            if problems:
                raise SafetyLimitError(f"{self._book.key}: {problems[0]} (nothing was sent)")

        entry = ProgrammingBegun(utc=self._utc(), campaign=campaign, core=core, digest=digest)
        return self._book.append(entry, check=check)

    def note_programming(self, core: int, *, campaign: int, digest: str) -> int:
        """Write down a programming that has begun already, beyond the limit or not.

        Parameters and errors are those of `before_programming`, without SafetyLimitError.
        """
        return self._book.append(
            ProgrammingBegun(utc=self._utc(), campaign=campaign, core=core, digest=digest)
        )

    def after_programming(self, number: int, outcome: Outcome, *, reason: str = "") -> None:
        """Write down how a programming ended.

        Parameters
        ----------
        number
            What `before_programming` returned.
        outcome
            How it ended.
        reason
            What went wrong.

        Raises
        ------
        DatasetError
            If it cannot be written. Then the programming counts as unknown.
        """
        self._book.append(
            ProgrammingEnded(utc=self._utc(), programming=number, outcome=outcome, reason=reason)
        )

    def _utc(self) -> str:
        return self._now().isoformat(timespec="seconds")
