"""The campaign file's ``[[sweep]]`` and ``[steps]``: what is visited, and what is done there."""

import math
import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hil.core.legible import one_line, quoted

_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|min|h|d)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 3650 * 86400.0
_SHORTEST_S = 1.0
_QUANTITY = re.compile(r"[a-z][a-z0-9_]{0,31}\.[a-z][a-z0-9_]{0,31}")


def duration_s(text: str) -> float:
    """Return a duration in seconds.

    Raises
    ------
    ValueError
        If it is none, or not within 1 s to 3650 d.

    Examples
    --------
    >>> duration_s("60s"), duration_s("1.5h"), duration_s("3d")
    (60.0, 5400.0, 259200.0)
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{quoted(text)} is no duration: write 60s, 15min, 8h or 3d")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ValueError(f"{quoted(text)}: must be 1s to 3650d")
    return seconds


def _is_duration(text: str) -> str:
    duration_s(text)
    return text


def _is_quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(one_line(text)):
        raise ValueError(
            f"{quoted(text)} is no quantity: must be INSTRUMENT.QUANTITY, such as "
            "chamber.temperature"
        )
    return text


def _is_text(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        unit, size = next(
            ((unit, size) for unit, size in reversed(_SECONDS.items()) if value % size == 0),
            ("s", 1.0),
        )
        raise ValueError(  # noqa: TRY004 - one error for what is in the file
            f'is {value:g}: must be text with a unit, such as "{value / size:g}{unit}"'
        )
    return value


def _is_table(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError(  # noqa: TRY004 - one error for what is in the file
            f"is {quoted(value)}: must be a table of quantities and what they are set to, such as "
            '{ "chamber.temperature" = 25 }'
        )
    return value


Duration = Annotated[str, AfterValidator(_is_duration), BeforeValidator(_is_text)]
QuantityName = Annotated[str, AfterValidator(_is_quantity)]
Settings = Annotated[dict[QuantityName, float], BeforeValidator(_is_table)]
"""Quantities and what they are set to."""


class SweepSection(BaseModel):
    """One quantity of an instrument, taken through several values."""

    model_config = _STRICT

    quantity: QuantityName
    """``INSTRUMENT.QUANTITY``, one that can be set."""
    values: list[float] = Field(min_length=1, max_length=1000)
    """Its values, in the order they are visited."""


class _VisitedStep(BaseModel):
    model_config = _STRICT

    at: Settings = {}
    """Only in visits with these settings; in every visit where left out."""


class ProgramStep(_VisitedStep):
    """Write the weights and see that they are there."""

    vectors: int = Field(default=32, ge=1, le=1_000_000)
    """Held-out vectors that are read."""
    error_limit: float = Field(default=0.7, gt=0, le=10)
    """Largest relative L2 error of the uncorrected products after one gain."""
    attempts: int = Field(default=2, ge=1, le=10)
    """How often it is tried; each one wears the core."""
    every_visit: bool = False
    """Whether cores are programmed in each of its visits, not in the first one only."""


class CalibrateStep(_VisitedStep):
    """Fit, quantise, load, verify."""


class ProbeStep(_VisitedStep):
    """Judge the correction in use by a few vectors."""

    vectors: int = Field(default=64, ge=1, le=1_000_000)
    """Held-out vectors that are read."""


class VerifyStep(_VisitedStep):
    """Load the correction in use and judge it by all vectors held out."""


class CharacteriseStep(_VisitedStep):
    """Read vectors several times over."""

    vectors: int = Field(default=64, ge=1, le=1_000_000)
    """Held-out vectors that are read."""
    repeats: int = Field(default=8, ge=2, le=1000)
    """How often each is read."""


class DriftWatchStep(BaseModel):
    """Probe at ages that lie evenly on a logarithmic scale; calibrate again where needed."""

    model_config = _STRICT

    first: Duration = "60s"
    """Age of the cores at the first visit, since they were programmed."""
    until: Duration
    """Age at the last visit."""
    per_decade: float = Field(default=3, gt=0, le=100)
    """Visits for each factor of ten."""
    vectors: int = Field(default=64, ge=1, le=1_000_000)
    """Held-out vectors of each probe."""
    error_limit: float = Field(gt=0, le=10)
    """A probe with a larger error has the core calibrated again."""
    at: Settings = {}
    """Settings of its visits; those of the last visit before where left out."""

    @model_validator(mode="after")
    def _goes_forward(self) -> Self:
        if duration_s(self.first) > duration_s(self.until):
            raise ValueError(f"until is {self.until}: must be first, {self.first}, or later")
        return self

    @property
    def ages_s(self) -> tuple[float, ...]:
        """Ages of the visits, in seconds; the last one is ``until``."""
        first_s, until_s = duration_s(self.first), duration_s(self.until)
        count = math.ceil(self.per_decade * math.log10(until_s / first_s) - 1e-9)
        before = (first_s * 10 ** (place / self.per_decade) for place in range(count))
        return (*before, until_s)


class StepsSection(BaseModel):
    """Which kinds of steps are taken."""

    model_config = _STRICT

    program: ProgramStep | None = None
    """Write the weights, with verification."""
    calibrate: CalibrateStep | None = None
    """Fit, quantise, load, verify."""
    probe: ProbeStep | None = None
    """Judge the correction in use by a few vectors."""
    verify: VerifyStep | None = None
    """Load the correction in use and judge it by all vectors held out."""
    characterise: CharacteriseStep | None = None
    """Read vectors several times over."""
    drift_watch: DriftWatchStep | None = Field(default=None, alias="drift-watch")
    """Probe over days, and calibrate again where needed."""

    @model_validator(mode="after")
    def _names_steps(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("names no step; leave it out for calibrations alone")
        return self


STEPS_WHERE_NONE = StepsSection(calibrate=CalibrateStep())
"""What a campaign without ``[steps]`` does."""
