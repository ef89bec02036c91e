"""Who writes a campaign into its chip's book: nobody, where a recording is played."""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from hil.campaign.estimate.steps import programmings
from hil.campaign.plan import PlannedStep
from hil.core.errors import Problem, SafetyLimitError
from hil.core.readout import ChipIdentity
from hil_datasets.chip_book.campaign_book import BookKeeper, CampaignBook, UnwrittenBook
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.facts import CampaignFacts
from hil_datasets.chip_book.library import book_of
from hil_datasets.chip_book.place import books_folder
from hil_datasets.chip_book.wear import WearLimits, check_wear
from hil_drivers.chip import Chip


def keep_book(
    chip: Chip,
    facts: CampaignFacts,
    plan: Iterable[PlannedStep],
    *,
    limits: WearLimits,
    data_folder: Path,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    on_failure: Callable[[str], None],
) -> BookKeeper:
    """Begin a campaign in the book of its chip.

    Parameters
    ----------
    chip
        The chip.
    facts
        What the campaign is.
    plan
        Its steps, in order.
    limits
        Limits on wear, held before anything is sent.
    data_folder
        The user's data folder.
    now
        The time, UTC.
    monotonic
        Seconds that never go back.
    on_failure
        Called with the reason, the first time that something cannot be written.

    Raises
    ------
    SafetyLimitError
        If the plan would wear a core beyond the limit.
    DatasetError
        If the book cannot be read or written.
    """
    plays_recording = getattr(chip, "plays_recording", None)  # a plug-in need not have it
    if plays_recording is not None and plays_recording():
        return UnwrittenBook()
    identity = chip.identify()
    problems = wear_problems(identity, plan, limits=limits, data_folder=data_folder)
    if problems:
        raise SafetyLimitError("; ".join(map(str, problems)))
    key = ChipKey.of(identity)
    return CampaignBook(
        book_of(key, books_folder(data_folder)),
        facts,
        limits=limits,
        now=now,
        monotonic=monotonic,
        on_failure=on_failure,
    )


def wear_problems(
    identity: ChipIdentity,
    plan: Iterable[PlannedStep],
    *,
    limits: WearLimits,
    data_folder: Path,
) -> list[Problem]:
    """Return a problem for each core that a plan would wear beyond the limit.

    Raises
    ------
    DatasetError
        If the book cannot be read.
    """
    book = book_of(ChipKey.of(identity), books_folder(data_folder))
    return check_wear(book.read(), programmings(plan), limits)
