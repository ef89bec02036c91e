"""Instruments as plug-ins: what an entry point of the group ``hil.instruments`` leads to."""

from collections.abc import Callable
from typing import Protocol

from hil.campaign.config.instruments import InstrumentSection
from hil_drivers.instruments.instrument import Instrument
from hil_drivers.instruments.pymeasure_instrument import open_pymeasure_instrument
from hil_drivers.instruments.scpi_instrument import open_scpi_instrument
from hil_drivers.open_transport import open_transport


class InstrumentDriver(Protocol):
    """What opens instruments of a kind."""

    @property
    def api_version(self) -> int:
        """Version of this interface that it was written for."""
        ...

    @property
    def summary(self) -> str:
        """One line on what it drives."""
        ...

    def open_instrument(
        self,
        name: str,
        section: InstrumentSection,
        resource: str,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> Instrument:
        """Open an instrument as the campaign file describes it.

        Parameters
        ----------
        name
            Name in the campaign file.
        section
            What stands there.
        resource
            Where it is.
        clock, sleep
            Monotonic seconds, and how to wait for some.

        Raises
        ------
        TransportError, InstrumentError, DeviceError
            If it is absent, silent, another one, or complains.
        """
        ...


class ScpiDriver:
    """Instruments that a table of SCPI commands describes."""

    api_version = 1
    summary = "any SCPI instrument, described by its commands in the campaign file"

    def open_instrument(
        self,
        name: str,
        section: InstrumentSection,
        resource: str,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> Instrument:
        """Open the link; identify the instrument."""
        spec = section.scpi_spec(name)
        transport = open_transport(resource, timeout_s=section.timeout_s)
        return open_scpi_instrument(spec, transport, clock=clock, sleep=sleep)


class PymeasureDriver:
    """Instruments that pymeasure has a class for."""

    api_version = 1
    summary = "any instrument of pymeasure, by its settable attributes"

    def open_instrument(
        self,
        name: str,
        section: InstrumentSection,
        resource: str,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> Instrument:
        """Open it with its pymeasure class."""
        spec = section.pymeasure_spec(name, resource)
        return open_pymeasure_instrument(spec, clock=clock, sleep=sleep)


SCPI, PYMEASURE = ScpiDriver(), PymeasureDriver()
