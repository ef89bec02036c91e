"""The chip that is probed: opened like a campaign's, and programmed only if that is asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from hil.campaign.bench import open_device, require_resource
from hil.campaign.config.load import Campaign
from hil_datasets.chip_book.campaign_book import CampaignBook
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.facts import CampaignFacts, digest_weights
from hil_datasets.chip_book.library import book_of
from hil_datasets.chip_book.place import books_folder, user_data_folder
from hil_datasets.chip_book.wear import WearLimits
from hil_drivers.chip import Chip
from hil_drivers.chip_driver import DEFAULT_DRIVER
from hil_drivers.link_fault import FaultKind, LinkFault
from hil_drivers.open_transport import TransportChoice

_TITLE = "hil calibrate best --program"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedChip:
    """An open chip, and what a programming of it has to know."""

    chip: Chip
    """The chip."""
    resource: str
    """Its resource string."""
    limits: WearLimits
    """How much it may be worn."""
    faults: list[LinkFault]
    """Every fault of its link so far."""

    @property
    def begun_in_vain(self) -> int:
        """How often a programming was cut off by a fault, and had to be made again."""
        return sum(fault.kind is FaultKind.HALF_PROGRAMMED for fault in self.faults)


@contextmanager
def open_campaigns_chip(
    campaign: Campaign, on_unsafe: Callable[[str], None]
) -> Iterator[OpenedChip]:
    """Open the chip of a campaign file for the length of a ``with`` block, and leave it safe.

    Its bench instruments are left as they are.
    """
    device = campaign.config.device
    faults: list[LinkFault] = []
    with open_device(
        device.resource,
        base=campaign.path.parent,
        seed=campaign.config.campaign.seed,
        timeout_s=device.timeout_s,
        choice=device.transport,
        recovery_s=device.recovery_s,
        driver=device.driver,
        on_unsafe=on_unsafe,
        on_fault=faults.append,
    ) as opened:
        _reserve(opened.chip)
        limits = WearLimits(programmings_per_core=campaign.config.limits.programmings_per_core)
        yield OpenedChip(chip=opened.chip, resource=device.resource, limits=limits, faults=faults)


@contextmanager
def open_chip_at(
    resource: str,
    *,
    timeout_s: float,
    on_unsafe: Callable[[str], None],
    driver: str = DEFAULT_DRIVER,
) -> Iterator[OpenedChip]:
    """Open the chip at a resource for the length of a ``with`` block, and leave it safe.

    Raises
    ------
    ConfigError
        If it is no resource string.
    """
    require_resource(resource, driver, where="--resource")
    faults: list[LinkFault] = []
    with open_device(
        resource,
        base=Path.cwd(),
        seed=0,
        timeout_s=timeout_s,
        choice=TransportChoice.AUTO,
        driver=driver,
        on_unsafe=on_unsafe,
        on_fault=faults.append,
    ) as opened:
        _reserve(opened.chip)
        yield OpenedChip(chip=opened.chip, resource=resource, limits=WearLimits(), faults=faults)


def _reserve(chip: Chip) -> None:
    # A campaign that measures it at this moment must not be disturbed.
    reserve = getattr(chip, "reserve", None)  # a plug-in need not have it
    if reserve is not None:
        reserve()


class BookedProgrammer:
    """Programs cores within the limits on wear, each time written into the chip's book before.

    Parameters
    ----------
    opened
        The chip.
    now
        The time, UTC.
    monotonic
        Seconds that never go back.
    on_failure
        Called with the reason if something besides a programming cannot be written down.
    """

    def __init__(
        self,
        opened: OpenedChip,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        on_failure: Callable[[str], None],
    ) -> None:
        self._opened = opened
        self._now, self._monotonic, self._on_failure = now, monotonic, on_failure
        self._book: CampaignBook | None = None

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program a core.

        Raises
        ------
        SafetyLimitError
            If the limit on wear is reached: nothing was sent.
        DatasetError
            If it cannot be written down: nothing was sent.
        DeviceError, TransportError, FrameError
            If the chip refuses, is lost, or answers nonsense.
        """
        if self._book is None:
            self._book = self._begin()
        begun = self._opened.begun_in_vain
        with self._book.programming(core, digest_weights(weights)) as pulse:
            self._opened.chip.program(core, weights)
            pulse.repeated(self._opened.begun_in_vain - begun)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._book is not None:
            status = "complete" if error is None else "failed"
            self._book.stopped(status, reason="" if error is None else str(error))

    def _begin(self) -> CampaignBook:
        identity = self._opened.chip.identify()
        facts = CampaignFacts(
            run="",
            title=_TITLE,
            campaign_sha256="",
            resource=self._opened.resource,
            firmware=identity.firmware,
        )
        return CampaignBook(
            book_of(ChipKey.of(identity), books_folder(user_data_folder())),
            facts,
            limits=self._opened.limits,
            now=self._now,
            monotonic=self._monotonic,
            on_failure=self._on_failure,
        )
