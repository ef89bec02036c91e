"""What surrounds a campaign, held to its limits: temperature, readings, disk, time."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hil.campaign.guards.suspect import AlarmKind
from hil.campaign.guards_config import GuardsSection
from hil.campaign.instruments import BenchInstruments

_MIB = 1 << 20


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

    def look(self) -> tuple[AlarmKind, str] | None:
        """Look at everything; return what is beyond its limits, or None.

        Raises
        ------
        SafetyLimitError
            If a reading is beyond what it may ever be: that ends the run.
        InstrumentError, DeviceError, TransportError, FrameError
            If the chip or an instrument does not answer.
        """
        found = (
            (AlarmKind.CONDITION, "; ".join(self._beyond())),
            (AlarmKind.TIME, self._late()),
            (AlarmKind.ROOM, self._full()),
        )
        return next(((kind, words) for kind, words in found if words), None)

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

    def _beyond(self) -> Iterator[str]:
        section = self.section
        if section.chip_temperature_c is not None:
            celsius = self.chip_temperature_c()
            if not section.chip_temperature_c.holds(celsius):
                yield (
                    f"the chip is at {celsius:g} degrees Celsius: guards.chip_temperature_c "
                    f"allows {section.chip_temperature_c}"
                )
        for name, limits in section.readings.items():
            instrument, _, key = name.partition(".")
            quantity = self.instruments.instruments[instrument].quantities[key]
            value = quantity.read()
            if not limits.holds(value):
                shown = f"{value:g} {quantity.spec.unit}".rstrip()
                yield f"{name} is {shown}: guards.readings allows {limits}"
