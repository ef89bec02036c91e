"""Sums over a book: computed from its entries every time, and kept nowhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hil_datasets.chip_book.content import BookContent, NumberedEntry
from hil_datasets.chip_book.entry import (
    Calibrated,
    CampaignStarted,
    CampaignStopped,
    Exposure,
    Outcome,
    ProgrammingBegun,
    ProgrammingEnded,
    Source,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreTotals:
    """What one core has been through."""

    programmings: int = 0
    """How often it was programmed; unknown and failed ones count, they may have worn it."""
    failed: int = 0
    """Programmings that the device called failed."""
    unknown: int = 0
    """Programmings of which nobody knows how they ended."""
    vectors: int = 0
    """Input vectors that it has multiplied."""
    measured_s: float = 0.0
    """Time in which it was read."""
    calibrations: int = 0
    """Calibrations, each read mode by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTotals:
    """What a chip has been through."""

    cores: Mapping[int, CoreTotals] = field(default_factory=dict)
    """Totals of every core that the book names, in ascending order."""
    campaigns: int = 0
    """Campaigns; a resumed one counts once for each time it went on."""
    unfinished: int = 0
    """Campaigns that run, or were killed."""
    powered_s: float = 0.0
    """Time under power in campaigns."""
    hottest_c: float | None = None
    """Highest temperature read, degrees Celsius; None if none was."""
    lost_entries: int = 0
    """Entries that are damaged or missing; each may have been a programming of any core."""

    @property
    def programmings(self) -> int:
        """Programmings of all cores."""
        return sum(core.programmings for core in self.cores.values())

    @property
    def vectors(self) -> int:
        """Input vectors of all cores."""
        return sum(core.vectors for core in self.cores.values())

    def worn(self, core: int) -> int:
        """Return the most programmings that a core can have had."""
        return self.cores.get(core, CoreTotals()).programmings + self.lost_entries


def total(content: BookContent) -> BookTotals:
    """Add up what a book tells."""
    cores: dict[int, CoreTotals] = {}
    for core, add in _shares(content.entries):
        before = cores.get(core, CoreTotals())
        cores[core] = CoreTotals(
            programmings=before.programmings + add.programmings,
            failed=before.failed + add.failed,
            unknown=before.unknown + add.unknown,
            vectors=before.vectors + add.vectors,
            measured_s=before.measured_s + add.measured_s,
            calibrations=before.calibrations + add.calibrations,
        )
    entries = [numbered.entry for numbered in content.entries]
    exposures = [entry for entry in entries if isinstance(entry, Exposure)]
    started = {
        numbered.number
        for numbered in content.entries
        if isinstance(numbered.entry, CampaignStarted)
    }
    stopped = {entry.campaign for entry in entries if isinstance(entry, CampaignStopped)}
    return BookTotals(
        cores=dict(sorted(cores.items())),
        campaigns=len(started),
        unfinished=len(started - stopped),
        powered_s=sum(entry.seconds for entry in exposures if entry.core is None),
        hottest_c=max(
            (entry.hottest_c for entry in exposures if entry.hottest_c is not None), default=None
        ),
        lost_entries=content.lost,
    )


def _shares(entries: Iterable[NumberedEntry]) -> Iterable[tuple[int, CoreTotals]]:
    """Yield what each entry adds to a core."""
    entries = list(entries)
    ends = endings(entries)
    for numbered in entries:
        entry = numbered.entry
        if isinstance(entry, ProgrammingBegun):
            yield entry.core, _programming_share(ends.get(numbered.number))
        elif isinstance(entry, Exposure) and entry.core is not None:
            yield entry.core, CoreTotals(vectors=entry.vectors, measured_s=entry.seconds)
        elif isinstance(entry, Calibrated):
            yield entry.core, CoreTotals(calibrations=1)


def endings(entries: Iterable[NumberedEntry]) -> dict[int, ProgrammingEnded]:
    """Return how each programming ended, by its number; those that did not are not there."""
    return {
        numbered.entry.programming: numbered.entry
        for numbered in entries
        if isinstance(numbered.entry, ProgrammingEnded)
    }


def _programming_share(end: ProgrammingEnded | None) -> CoreTotals:
    outcome = Outcome.UNKNOWN if end is None else end.outcome
    return CoreTotals(
        programmings=1,
        failed=int(outcome is Outcome.FAILED),
        unknown=int(outcome is Outcome.UNKNOWN),
    )


def seconds_above(content: BookContent, celsius: float, *, core: int | None = None) -> float:
    """Return how long the chip, or a core while it was read, may have been above a temperature.

    A stretch of time counts whole if any temperature read in it was above; one in which none was
    read does not count.
    """
    return sum(
        numbered.entry.seconds
        for numbered in content.entries
        if isinstance(numbered.entry, Exposure)
        and numbered.entry.core == core
        and numbered.entry.hottest_c is not None
        and numbered.entry.hottest_c > celsius
    )


def without_mock(content: BookContent) -> BookContent:
    """Return a book without what campaigns on mock chips did."""
    left_out: set[int] = set()
    kept = []
    for numbered in content.entries:
        entry = numbered.entry
        if isinstance(entry, CampaignStarted):
            is_mock = entry.source is Source.MOCK
        elif isinstance(entry, ProgrammingEnded):
            is_mock = entry.programming in left_out
        else:
            is_mock = getattr(entry, "campaign", None) in left_out
        if is_mock:
            left_out.add(numbered.number)
        else:
            kept.append(numbered)
    return replace(content, entries=tuple(kept))
