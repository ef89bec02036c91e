"""Chip drivers as plug-ins: what an entry point of the group ``hil.chips`` leads to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from hil_drivers.chip import Chip
from hil_drivers.link_fault import LinkFault
from hil_drivers.open_transport import TransportChoice
from hil_drivers.plugins import PluginGroup, load_plugin
from hil_drivers.recovery import RecoveryPolicy

DEFAULT_DRIVER = "aimc-board"
"""The driver of a campaign that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipOptions:
    """How a chip is to be talked to; a driver leaves alone what it has no use for."""

    timeout_s: float
    """How long an answer may take, 0 < seconds."""
    recovery_s: float = RecoveryPolicy().deadline_s
    """How long an operation may go on after the first fault of its link, 0 < seconds."""
    transport: TransportChoice = TransportChoice.AUTO
    """Who carries the bytes, where the driver leaves that to this project."""
    on_fault: Callable[[LinkFault], None] = lambda _: None
    """Called with every fault of the link once it is over."""


class ChipDriver(Protocol):
    """What opens chips of a kind."""

    @property
    def api_version(self) -> int:
        """Version of this interface that it was written for."""
        ...

    @property
    def summary(self) -> str:
        """One line on what it drives."""
        ...

    @property
    def resource_form(self) -> str:
        """What a resource string of it looks like."""
        ...

    def check_resource(self, resource: str) -> None:
        """Raise ValueError if a string is no resource of it; opens nothing."""
        ...

    def open_chip(self, resource: str, options: ChipOptions) -> Chip:
        """Open the link to a chip and see that it is one.

        Raises
        ------
        TransportError
            If the device is absent or silent; `TransportTimeoutError` within the timeout.
        FrameError
            If something else answers.
        """
        ...


def find_chip_driver(name: str = DEFAULT_DRIVER) -> ChipDriver:
    """Return the chip driver of a name.

    Raises
    ------
    PluginError
        If there is none, or it cannot be used.
    """
    return cast("ChipDriver", load_plugin(PluginGroup.CHIPS, name))
