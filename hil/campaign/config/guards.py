"""The campaign file's ``[guards]``: what pauses a campaign, checked with the file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hil.campaign.config.instruments import InstrumentSection
from hil.campaign.config.steps import SweepSection
from hil.core.legible import quoted
from hil.core.toml_lines import KeyPath

_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
_LONGEST_S = 1e8
"""Three years: longer than any campaign."""


class LimitsOfReading(BaseModel):
    """What a reading may be while a campaign runs."""

    model_config = _STRICT

    lowest: float | None = None
    """Lowest reading that is good."""
    highest: float | None = None
    """Highest reading that is good."""

    @model_validator(mode="before")
    @classmethod
    def _is_table(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError(  # noqa: TRY004 - one error for what is in the file
                f"is {quoted(value)}: must be a table with lowest, highest or both, such as "
                "{ highest = 60 }"
            )
        return value

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.lowest is None and self.highest is None:
            raise ValueError("limits nothing: give lowest, highest or both")
        if None not in (self.lowest, self.highest) and not self.holds(self.lowest or 0.0):
            raise ValueError(
                f"lowest is {self.lowest:g}: must be at most highest, {self.highest:g}"
            )
        return self

    def holds(self, value: float) -> bool:
        """Tell whether a reading is good; NaN never is."""
        lowest = -math.inf if self.lowest is None else self.lowest
        highest = math.inf if self.highest is None else self.highest
        return lowest <= value <= highest

    def __str__(self) -> str:
        if self.lowest is None:
            return f"at most {self.highest:g}"
        if self.highest is None:
            return f"at least {self.lowest:g}"
        return f"{self.lowest:g} to {self.highest:g}"


class KnownAnswerSection(BaseModel):
    """Vectors that are read again and again, to see whether the chip still answers the same."""

    model_config = _STRICT

    every_vectors: int = Field(default=1024, ge=1, le=10_000_000)
    """At least one check within so many vectors, and one before each step is finished."""
    vectors: int = Field(default=8, ge=1, le=256)
    """How many known vectors: those of the step that drive the most."""
    resolution: float = Field(default=0.0005, ge=0, le=1)
    """Relative change of gain that counts as one standard deviation, beside the noise."""
    slack: float = Field(default=0.5, ge=0, le=100)
    """CUSUM's slack, in standard deviations."""
    alarm: float = Field(default=8.0, gt=0, le=1000)
    """CUSUM's decision limit, in standard deviations."""


class GuardsSection(BaseModel):
    """What pauses a campaign, and for how long."""

    model_config = _STRICT

    every_s: float = Field(default=5.0, ge=0, le=3600)
    """Time between two looks at temperature, readings, disk and time; 0 for one after every
    block."""
    wait_s: float = Field(default=600.0, ge=0, le=_LONGEST_S)
    """How long a paused campaign lets something be wrong; 0 to stop at once."""
    clear_s: float = Field(default=60.0, ge=0, le=_LONGEST_S)
    """How long nothing may be wrong or move before a paused campaign goes on; for as long
    afterwards, everything is looked at after each block. 0 for a single look."""
    repeats: int = Field(default=3, ge=0, le=1000)
    """How many alarms a step may have before the campaign stops."""
    chip_temperature_c: LimitsOfReading | None = None
    """What the chip's own temperature may be, degrees Celsius."""
    disk_free_mib: float | None = Field(default=None, ge=0)
    """Least room on the disk of the run, MiB."""
    longest_s: float | None = Field(default=None, gt=0, le=_LONGEST_S)
    """How long one process may work on the run."""
    faults_per_1000_vectors: Annotated[int, Field(ge=0)] | None = None
    """Most faults of the link among the last 1000 vectors."""
    readings: dict[str, LimitsOfReading] = {}
    """What bench instruments may show, by ``INSTRUMENT.QUANTITY``."""
    known_answer: KnownAnswerSection | None = None
    """Whether the chip still answers the same."""

    @field_validator("readings", mode="before")
    @classmethod
    def _are_quoted(cls, readings: object) -> object:
        for name, limits in readings.items() if isinstance(readings, dict) else ():
            for key, inner in limits.items() if isinstance(limits, dict) else ():
                if isinstance(inner, dict):
                    raise ValueError(  # noqa: TRY004 - as above
                        f'{name}.{key} is one name with a dot: write it in quotes, "{name}.{key}"'
                    )
        return readings


def guard_problems(
    guards: GuardsSection | None,
    instruments: Mapping[str, InstrumentSection],
    sweeps: Sequence[SweepSection],
    *,
    block: int,
) -> Iterator[tuple[KeyPath, str]]:
    """Yield what does not fit the rest of the campaign file: key and message.

    Parameters
    ----------
    guards
        The section, if there is one.
    instruments
        The campaign's ``[instruments]``.
    sweeps
        The campaign's ``[[sweep]]``.
    block
        Vectors that are read at a time: a check lies between two blocks.
    """
    if guards is None:
        return
    known = guards.known_answer
    if known is not None and known.every_vectors < block:
        message = (
            f"is {known.every_vectors}: must be at least vectors.block, {block}, because checks "
            "lie between blocks"
        )
        yield ("guards", "known_answer", "every_vectors"), message
    quantities = {
        f"{name}.{key}": quantity
        for name, section in instruments.items()
        for key, quantity in section.quantities.items()
    }
    for name, limits in guards.readings.items():
        path = ("guards", "readings", name)
        if name not in quantities:
            there = f"there are {', '.join(quantities)}" if quantities else "there are none"
            yield path, f"no instrument has the quantity {quoted(name)}: {there}"
            continue
        ever = quantities[name].readings()
        for key, value in (("lowest", limits.lowest), ("highest", limits.highest)):
            if value is not None and value not in ever:
                message = (
                    f"is {value:g}: must be within {ever}, because a reading outside ends the "
                    "campaign at once, so the guard would never pause it"
                )
                yield (*path, key), message
        values = _values_beyond(limits, name, quantities[name].value, sweeps)
        if values:
            message = (
                f"allows {limits}, but the campaign sets {name} to {values}: the guard would "
                "stop it there, and again whenever it is resumed; widen the limits or leave "
                "the value out"
            )
            yield path, message


def _values_beyond(
    limits: LimitsOfReading, name: str, value: float | None, sweeps: Sequence[SweepSection]
) -> str:
    """Return the values that the campaign sets a quantity to although its guard refuses them."""
    set_to = [] if value is None else [value]
    swept = [value for sweep in sweeps if sweep.quantity == name for value in sweep.values]
    refused = [value for value in swept or set_to if not limits.holds(value)]
    return ", ".join(f"{value:g}" for value in refused)
