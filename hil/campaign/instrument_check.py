"""Looking at a campaign's bench instruments, without setting anything."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hil.campaign.config.instruments import InstrumentSection
from hil.campaign.instruments import InstrumentReading, open_instruments
from hil.core.errors import HilError


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedInstrument:
    """What a look at one instrument found."""

    name: str
    """Name in the campaign file."""
    identity: str
    """What it says it is; empty if it could not be opened."""
    readings: tuple[InstrumentReading, ...]
    """Its readings; empty if one of them failed."""
    problem: HilError | None
    """What went wrong."""


def check_instruments(
    sections: Mapping[str, InstrumentSection], *, mock_addresses: Mapping[str, str]
) -> Iterator[CheckedInstrument]:
    """Look at each instrument: open, identify, read; nothing is set, started or stopped.

    Parameters
    ----------
    sections, mock_addresses
        As in `open_instruments`.
    """
    for name, section in sections.items():
        looked_at = {name: section.model_copy(update={"start": []})}
        identity = ""
        readings: tuple[InstrumentReading, ...] = ()
        problem: HilError | None = None
        try:
            with open_instruments(
                looked_at,
                mock_addresses=mock_addresses,
                on_unsafe=lambda _: None,
                is_left_safe=False,
            ) as bench:
                identity = bench.instruments[name].identity
                readings = bench.read()
        except HilError as error:
            problem = error
        yield CheckedInstrument(name=name, identity=identity, readings=readings, problem=problem)
