"""What a running campaign writes into the book of its chip."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Protocol

from hil.core.errors import DatasetError, DeviceError
from hil_datasets.chip_book.book import ChipBook
from hil_datasets.chip_book.entry import (
    BookEntry,
    Calibrated,
    CampaignStarted,
    CampaignStopped,
    Exposure,
    Outcome,
    Source,
)
from hil_datasets.chip_book.facts import CalibrationFacts, CampaignFacts
from hil_datasets.chip_book.wear import WearLedger, WearLimits

_FLUSH_S = 60.0
"""How much exposure a killed process can leave unwritten."""

_MOCK = "mock://"


class Pulse(Protocol):
    """A programming under way, for a driver that repeats it after a fault of the link."""

    def again(self) -> None:
        """Write down that the core is about to be programmed once more.

        Raises
        ------
        SafetyLimitError
            If the limit on wear is reached: nothing more must be sent.
        DatasetError
            If it cannot be written down: nothing more must be sent.
        """
        ...

    def repeated(self, times: int) -> None:
        """Write down that the core was programmed more often than once, where that is known late.

        Raises
        ------
        DatasetError
            If it cannot be written down.
        """
        ...


class BookKeeper(Protocol):
    """Who is told what happens to the chip while a campaign runs."""

    def programming(self, core: int, digest: str) -> AbstractContextManager[Pulse]:
        """Enclose the programming of a core; entering it may refuse."""
        ...

    def vectors(self, core: int, vectors: int, *, seconds: float = 0.0) -> None:
        """Hear how many more vectors a core has multiplied, and how long that took."""
        ...

    def temperature(self, celsius: float, *, core: int | None = None) -> None:
        """Hear what temperature was read."""
        ...

    def tick(self) -> None:
        """Hear that time goes by."""
        ...

    def calibrated(self, calibration: CalibrationFacts) -> None:
        """Hear that a step is finished."""
        ...

    def stopped(self, status: str, *, reason: str = "") -> None:
        """Hear that the campaign ends."""
        ...


@dataclass(slots=True)
class _Stretch:
    """Exposure that is not written yet."""

    seconds: float = 0.0
    vectors: int = 0
    hottest_c: float | None = None

    def note(self, celsius: float) -> None:
        if not math.isnan(celsius):
            self.hottest_c = celsius if self.hottest_c is None else max(self.hottest_c, celsius)


@dataclass(slots=True)
class _Exposures:
    chip: _Stretch = field(default_factory=_Stretch)
    cores: dict[int, _Stretch] = field(default_factory=dict)
    since_s: float = 0.0
    last_c: float | None = None


class _WrittenPulse:
    """A `Pulse` that is written down; to make one is to begin it."""

    def __init__(self, ledger: WearLedger, campaign: int, core: int, digest: str) -> None:
        self._ledger = ledger
        self._campaign, self._core, self._digest = campaign, core, digest
        self.number = 0
        """Number of the last entry of it."""
        self.again()

    def again(self) -> None:
        self.number = self._ledger.before_programming(
            self._core, campaign=self._campaign, digest=self._digest
        )

    def repeated(self, times: int) -> None:
        for _ in range(times):
            self.number = self._ledger.note_programming(
                self._core, campaign=self._campaign, digest=self._digest
            )


class _UnwrittenPulse:
    def again(self) -> None:
        """Forget it."""

    def repeated(self, times: int) -> None:
        """Forget it."""


class CampaignBook:
    """A `BookKeeper` that writes.

    What wears the chip is written before it happens, and keeps it from happening if it cannot be
    written. Everything else is told once if it cannot be written, and stops nothing. Exposure is
    gathered and written once a minute, before each programming and after each step.

    Parameters
    ----------
    book
        The chip's book.
    facts
        What the campaign is.
    limits
        Limits on wear.
    now
        The time, UTC.
    monotonic
        Seconds that never go back, in which exposure is measured.
    on_failure
        Called with the reason, the first time that something cannot be written.

    Raises
    ------
    DatasetError
        If the beginning of the campaign cannot be written.
    """

    def __init__(
        self,
        book: ChipBook,
        facts: CampaignFacts,
        *,
        limits: WearLimits,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        on_failure: Callable[[str], None],
    ) -> None:
        self._book = book
        self._ledger = WearLedger(book, limits, now=now)
        self._now = now
        self._monotonic = monotonic
        self._on_failure = on_failure
        self._has_failed = False
        is_mock = facts.is_mock or facts.resource.startswith(_MOCK)
        self._campaign = book.append(
            CampaignStarted(
                utc=self._utc(),
                run=facts.run,
                title=facts.title,
                campaign_sha256=facts.campaign_sha256,
                resource=facts.resource,
                firmware=facts.firmware,
                source=Source.MOCK if is_mock else Source.DEVICE,
                is_resumed=facts.is_resumed,
            )
        )
        self._exposures = _Exposures(since_s=monotonic())

    @contextmanager
    def programming(self, core: int, digest: str) -> Iterator[Pulse]:
        """Enclose the programming of a core.

        Parameters
        ----------
        core
            Core number.
        digest
            Digest of the weights.

        Raises
        ------
        SafetyLimitError
            On entering, if the limit on wear is reached.
        DatasetError
            On entering, if it cannot be written down.
        """
        self._flush()
        pulse = _WrittenPulse(self._ledger, self._campaign, core, digest)
        outcome, reason = Outcome.DONE, ""
        try:
            yield pulse
        except BaseException as error:
            outcome = Outcome.FAILED if isinstance(error, DeviceError) else Outcome.UNKNOWN
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise
        finally:
            with self._tells_failure():
                self._ledger.after_programming(pulse.number, outcome, reason=reason)

    def vectors(self, core: int, vectors: int, *, seconds: float = 0.0) -> None:
        """Note how many more vectors a core has multiplied, and how long that took."""
        stretch = self._exposures.cores.setdefault(core, _Stretch())
        stretch.vectors += vectors
        stretch.seconds += seconds
        self.tick()

    def temperature(self, celsius: float, *, core: int | None = None) -> None:
        """Note what temperature was read, near a core or anywhere on the chip."""
        self._exposures.chip.note(celsius)
        if not math.isnan(celsius):
            self._exposures.last_c = celsius
        if core is not None:
            self._exposures.cores.setdefault(core, _Stretch()).note(celsius)
        self.tick()

    def tick(self) -> None:
        """Write down the exposure if it is time to; to be called now and then while waiting."""
        if self._monotonic() - self._exposures.since_s >= _FLUSH_S:
            self._flush()

    def calibrated(self, calibration: CalibrationFacts) -> None:
        """Note that a step is finished."""
        self._flush()
        facts = asdict(calibration)
        self._write(Calibrated(utc=self._utc(), campaign=self._campaign, **facts))

    def stopped(self, status: str, *, reason: str = "") -> None:
        """Note that the campaign ends."""
        self._flush()
        self._write(
            CampaignStopped(utc=self._utc(), campaign=self._campaign, status=status, reason=reason)
        )

    def _flush(self) -> None:
        done, now_s = self._exposures, self._monotonic()
        # The chip begins the next stretch as warm as it ended this one.
        self._exposures = _Exposures(
            chip=_Stretch(hottest_c=done.last_c), since_s=now_s, last_c=done.last_c
        )
        done.chip.seconds = max(0.0, now_s - done.since_s)
        self._write_stretch(None, done.chip)
        for core, stretch in sorted(done.cores.items()):
            self._write_stretch(core, stretch)

    def _write_stretch(self, core: int | None, stretch: _Stretch) -> None:
        if not stretch.seconds and not stretch.vectors:
            return
        self._write(
            Exposure(
                utc=self._utc(),
                campaign=self._campaign,
                core=core,
                seconds=stretch.seconds,
                hottest_c=stretch.hottest_c,
                vectors=stretch.vectors,
            )
        )

    def _write(self, entry: BookEntry) -> None:
        with self._tells_failure():
            self._book.append(entry)

    @contextmanager
    def _tells_failure(self) -> Iterator[None]:
        try:
            yield
        except DatasetError as error:
            if not self._has_failed:
                self._has_failed = True
                self._on_failure(str(error))

    def _utc(self) -> str:
        return self._now().isoformat(timespec="seconds")


class UnwrittenBook:
    """A `BookKeeper` that writes nothing: a recording does not wear when it is played."""

    @contextmanager
    def programming(self, core: int, digest: str) -> Iterator[Pulse]:
        """Let it be programmed."""
        yield _UnwrittenPulse()

    def vectors(self, core: int, vectors: int, *, seconds: float = 0.0) -> None:
        """Forget it."""

    def temperature(self, celsius: float, *, core: int | None = None) -> None:
        """Forget it."""

    def tick(self) -> None:
        """Forget it."""

    def calibrated(self, calibration: CalibrationFacts) -> None:
        """Forget it."""

    def stopped(self, status: str, *, reason: str = "") -> None:
        """Forget it."""
