"""Books of chips that never were."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hil.core.readout import ReadMode
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.content import BookContent, extend_content
from hil_datasets.chip_book.entry import (
    BookEntry,
    BookOpened,
    Calibrated,
    CampaignStarted,
    CampaignStopped,
    Exposure,
    Outcome,
    ProgrammingBegun,
    ProgrammingEnded,
    Source,
)
from hil_datasets.chip_book.line import encode_line

KEY = ChipKey(manufacturer="aimc-hil", model="mock-chip", serial="A7")
OPENED = BookOpened(utc="t0", manufacturer="aimc-hil", model="mock-chip", serial="A7")
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def started(*, source: Source = Source.DEVICE, title: str = "One") -> CampaignStarted:
    return CampaignStarted(
        utc="2026-01-02T03:04:05+00:00",
        run="/runs/one",
        title=title,
        campaign_sha256="ab",
        resource="TCPIP0::10.0.0.7::5025::SOCKET",
        firmware="1.0",
        source=source,
    )


def begun(core: int, *, campaign: int = 2) -> ProgrammingBegun:
    return ProgrammingBegun(utc="t", campaign=campaign, core=core, digest="sha256:0123456789abcdef")


def ended(programming: int, outcome: Outcome = Outcome.DONE) -> ProgrammingEnded:
    return ProgrammingEnded(utc="t", programming=programming, outcome=outcome)


def exposed(
    core: int | None, seconds: float, *, hottest_c: float | None = None, vectors: int = 0
) -> Exposure:
    return Exposure(
        utc="t", campaign=2, core=core, seconds=seconds, hottest_c=hottest_c, vectors=vectors
    )


def calibrated(core: int, *, gain: float | None = 0.5, lsb: float = 2.0) -> Calibrated:
    return Calibrated(
        utc="t",
        campaign=2,
        core=core,
        read_mode=ReadMode.FOUR_PHASE,
        step=f"core{core:02d}_four_phase",
        raw_sha256="cd",
        temperature_c=31.5,
        output_lsb=lsb,
        columns=0 if gain is None else 256,
        median_gain_p=gain,
        median_gain_n=gain,
        median_offset=None if gain is None else 1.5,
        errors={"nmpu": 0.0312},
    )


def stopped(campaign: int = 2) -> CampaignStopped:
    return CampaignStopped(utc="t", campaign=campaign, status="complete")


def lines_of(entries: Iterable[BookEntry]) -> list[bytes]:
    """Return the lines of a book: its first one, then the entries from number 2 on."""
    return [encode_line(number, entry) for number, entry in enumerate([OPENED, *entries], 1)]


def content_of(*entries: BookEntry) -> BookContent:
    return extend_content(BookContent(), b"".join(lines_of(entries)))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds
