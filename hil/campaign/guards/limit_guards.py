"""What surrounds a campaign, held to its limits: temperature, readings, disk, time."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hil.campaign.config.guards import GuardsSection, LimitsOfReading
from hil.campaign.guards.suspect import AlarmKind
from hil.campaign.instruments import BenchInstruments

_MIB = 1 << 20
_MAY_MOVE = 0.1
"""What is at rest moves by less than this share of its distance to its nearest limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedValue:
    """A value that has to keep to limits."""

    shown: str
    """The value in words: ``the chip is at 25 degrees Celsius``."""
    value: float
    """The value."""
    may_move: float
    """How far it may move meanwhile and be at rest."""

    def __str__(self) -> str:
        """Return the value in words."""
        return self.shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look has found."""

    kind: AlarmKind | None
    """What is beyond its limits, if anything is: that which is worst."""
    words: str
    """All that is beyond its limits; empty if nothing is."""
    values: dict[str, GuardedValue]
    """Temperature and readings, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitGuards:
    """The limits of a campaign, and where to look whether they are kept."""

    section: GuardsSection
    """The limits."""
    chip_temperature_c: Callable[[], float]
    """Measures the chip's temperature, degrees Celsius."""
    instruments: BenchInstruments
    """What surrounds the chip."""
    folder: Path
    """The run, on whose disk there must be room."""
    running_s: Callable[[], float]
    """How long this process has worked on the run."""
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    """Room on the disk of a folder."""

    def look(self) -> Found:
        """Look at everything; return what is beyond its limits.

        Raises
        ------
        SafetyLimitError
            If a reading is beyond what it may ever be: that ends the run.
        InstrumentError, DeviceError, TransportError, FrameError
            If the chip or an instrument does not answer.
        """
        values, beyond = {}, []
        for name, value, limits, allowed in self._values():
            values[name] = value
            if not limits.holds(value.value):
                beyond.append(f"{value}: {allowed}")
        found = [
            (kind, words)
            for kind, words in (
                (AlarmKind.CONDITION, "; ".join(beyond)),
                (AlarmKind.TIME, self._late()),
                (AlarmKind.ROOM, self._full()),
            )
            if words
        ]
        return Found(
            kind=found[0][0] if found else None,
            words="; ".join(words for _, words in found),
            values=values,
        )

    def _late(self) -> str:
        longest_s, running_s = self.section.longest_s, self.running_s()
        if longest_s is None or running_s <= longest_s:
            return ""
        return f"the run goes on for {running_s:.0f} s: guards.longest_s is {longest_s:g}"

    def _full(self) -> str:
        least_mib = self.section.disk_free_mib
        if least_mib is None:
            return ""
        free_mib = self.free_bytes(self.folder) / _MIB
        if free_mib >= least_mib:
            return ""
        return (
            f"{free_mib:.0f} MiB are free on the disk of {self.folder}: guards.disk_free_mib "
            f"is {least_mib:g}"
        )

    def _values(self) -> Iterator[tuple[str, GuardedValue, LimitsOfReading, str]]:
        """Measure: yield name, value, its limits, and who allows what."""
        section, limits = self.section, self.section.chip_temperature_c
        if limits is not None:
            celsius = self.chip_temperature_c()
            shown = f"the chip is at {celsius:g} degrees Celsius"
            allowed = f"guards.chip_temperature_c allows {limits}"
            yield "chip_temperature_c", _guarded(shown, celsius, limits), limits, allowed
        for name, limits in section.readings.items():
            instrument, _, key = name.partition(".")
            quantity = self.instruments.instruments[instrument].quantities[key]
            value = quantity.read()
            shown = f"{name} is {value:g} {quantity.spec.unit}".rstrip()
            allowed = f"guards.readings allows {limits}"
            yield name, _guarded(shown, value, limits), limits, allowed


def _guarded(shown: str, value: float, limits: LimitsOfReading) -> GuardedValue:
    ends = [end for end in (limits.lowest, limits.highest) if end is not None]
    spare = min((abs(value - end) for end in ends), default=math.inf)
    return GuardedValue(shown=shown, value=value, may_move=_MAY_MOVE * spare)
