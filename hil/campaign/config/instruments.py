"""The campaign file's ``[instruments]``: described quantities, checked against their limits."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hil.core.legible import one_line, quoted
from hil_drivers.instruments.instrument import ANY_NUMBER, Limits, QuantitySpec, Ramp, Settle
from hil_drivers.instruments.pymeasure_instrument import (
    PymeasureInstrumentSpec,
    PymeasureQuantity,
    check_attribute,
)
from hil_drivers.instruments.pymeasure_link import PymeasureAddress, check_driver
from hil_drivers.instruments.scpi_instrument import (
    ERROR_QUERY,
    ScpiInstrumentSpec,
    ScpiQuantity,
    check_command,
)
from hil_drivers.open_transport import FORMS, is_resource
from hil_drivers.plain_resource import plain_resource

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
_LONGEST_S = 1e6
_NAME = re.compile("[a-z][a-z0-9_]{0,31}")

MOCK = "mock://"
"""Stands before the name of an instrument of the campaign's own mock device."""
MOCK_INSTRUMENTS = ("chamber", "supply")
"""Instruments that the mock device has."""

QuantityT = TypeVar("QuantityT")

OneLine = Annotated[str, AfterValidator(one_line)]


def _names_things(things: dict[str, Any]) -> dict[str, Any]:
    for name in things:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{quoted(name)} is no name: must be a lower-case letter, then up to 31 lower-case "
                "letters, digits and underscores"
            )
    return things


class SettleSection(BaseModel):
    """When a quantity has come to rest."""

    model_config = _STRICT

    tolerance: float = Field(gt=0)
    """How far a reading may be from the value set."""
    stable_s: float = Field(default=0.0, ge=0, le=_LONGEST_S)
    """For how long without a break."""
    timeout_s: float = Field(gt=0, le=_LONGEST_S)
    """How long it may take."""
    every_s: float = Field(default=1.0, gt=0, le=3600)
    """Time between readings."""

    @model_validator(mode="after")
    def _leaves_time(self) -> Self:
        if self.stable_s >= self.timeout_s:
            raise ValueError(
                f"stable_s is {self.stable_s:g}: must be less than timeout_s, {self.timeout_s:g}"
            )
        return self


class QuantitySection(BaseModel):
    """One quantity of an instrument."""

    model_config = _STRICT

    query: OneLine = Field(min_length=1)
    """SCPI query, or pymeasure attribute, that gives a reading."""
    set: OneLine | None = Field(default=None, min_length=1)
    """SCPI command with ``{value}``, or pymeasure attribute; left out for what is only read."""
    read_back: OneLine | None = None
    """SCPI query, or pymeasure attribute, of the setpoint; empty for none."""
    field: int | None = Field(default=None, ge=1, le=1000)
    """Which of several numbers in the answer to ``query``."""
    unit: OneLine = Field(default="", max_length=32)
    """Unit, for people and files."""
    lower: float | None = None
    """Lowest value that may ever be set."""
    upper: float | None = None
    """Highest value that may ever be set."""
    reading_lower: float | None = None
    """Lowest reading that is not a danger; `lower` less the tolerance where left out."""
    reading_upper: float | None = None
    """Highest reading that is not a danger; `upper` and the tolerance where left out."""
    resolution: float | None = Field(default=None, ge=0)
    """How far a setpoint read back may be from the one sent."""
    ramp_per_s: float | None = Field(default=None, gt=0)
    """Largest change in a second."""
    ramp_step_s: float = Field(default=1.0, gt=0, le=3600)
    """Time before each step of a ramp."""
    settle: SettleSection | None = None
    """When it has come to rest."""
    value: float | None = None
    """What the campaign sets it to before its steps."""
    safe: float | None = None
    """What it is set to at the end."""
    safe_at_once: bool = False
    """Whether the safe value is sent without a ramp."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.set is None:
            self._check_only_read()
        elif self.lower is None or self.upper is None:
            raise ValueError("can be set: needs hard limits, lower and upper")
        else:
            limits = Limits(self.lower, self.upper)
            for key, value in (("value", self.value), ("safe", self.safe)):
                if value is not None and value not in limits:
                    raise ValueError(f"{key} is {value:g}: must be within the limits {limits}")
        self.readings()
        return self

    def _check_only_read(self) -> None:
        keys = ("read_back", "lower", "upper", "ramp_per_s", "settle", "value", "safe")
        given = [key for key in keys if getattr(self, key) is not None]
        if given:
            raise ValueError(f"is only read, it has no set: takes no {', '.join(given)}")

    def readings(self) -> Limits:
        """Return what a reading may ever be."""
        tolerance = self.settle.tolerance if self.settle else self.resolution or 0.0
        lower = ANY_NUMBER.lower if self.lower is None else self.lower - tolerance
        upper = ANY_NUMBER.upper if self.upper is None else self.upper + tolerance
        return Limits(
            lower if self.reading_lower is None else self.reading_lower,
            upper if self.reading_upper is None else self.reading_upper,
        )

    def spec(self, name: str) -> QuantitySpec:
        """Return what may be done to it."""
        settle, ramp = self.settle, None
        if self.ramp_per_s is not None:
            ramp = Ramp(per_s=self.ramp_per_s, step_s=self.ramp_step_s)
        limits = None
        if self.lower is not None and self.upper is not None:
            limits = Limits(self.lower, self.upper)
        return QuantitySpec(
            name=name,
            unit=self.unit,
            limits=limits,
            readings=self.readings(),
            resolution=self.resolution,
            settle=None
            if settle is None
            else Settle(
                tolerance=settle.tolerance,
                stable_s=settle.stable_s,
                timeout_s=settle.timeout_s,
                every_s=settle.every_s,
            ),
            ramp=ramp,
            safe=self.safe,
            safe_at_once=self.safe_at_once,
        )


class InstrumentSection(BaseModel):
    """One instrument, described by SCPI commands or by a pymeasure class."""

    model_config = _STRICT

    resource: OneLine
    """VISA resource string, ``mock://chamber`` or ``mock://supply``."""
    driver: OneLine | None = None
    """A plug-in of the group ``hil.instruments``; ``pymeasure`` or ``scpi`` where left out."""
    pymeasure: OneLine | None = None
    """``package.module:Class``; the quantities then name attributes."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Further arguments of the pymeasure class."""
    identity: OneLine = ""
    """Regular expression that the whole answer to ``*IDN?`` must match."""
    timeout_s: float = Field(default=5.0, gt=0, le=3600)
    """How long an answer may take."""
    error_query: OneLine = ERROR_QUERY
    """Asks for the oldest error; empty where the instrument has no error queue."""
    start: list[OneLine] = []
    """Commands, or pymeasure methods, when it was identified."""
    stop: list[OneLine] = []
    """Commands, or pymeasure methods, after its quantities were made safe."""
    quantities: Annotated[
        dict[str, QuantitySection], Field(min_length=1), AfterValidator(_names_things)
    ]
    """Its quantities by name."""

    @property
    def driver_name(self) -> str:
        """The plug-in that opens it."""
        return self.driver or ("scpi" if self.pymeasure is None else "pymeasure")

    @model_validator(mode="after")
    def _can_be_opened(self) -> Self:
        if self.resource.startswith(MOCK):
            if self.resource.removeprefix(MOCK) not in MOCK_INSTRUMENTS:
                known = " or ".join(MOCK + name for name in MOCK_INSTRUMENTS)
                raise ValueError(f"{quoted(self.resource)}: no such mock instrument: use {known}")
        elif not is_resource(self.resource):
            raise ValueError(f"{quoted(self.resource)} is no resource: use {FORMS}")
        try:
            re.compile(self.identity)
        except re.error as error:
            raise ValueError(f"identity is no regular expression: {error}") from error
        check = check_command if self.pymeasure is None else check_attribute
        for text in (*self.start, *self.stop):
            check(text)
        if self.pymeasure is None:
            self._check_scpi()
        else:
            check_driver(self.pymeasure)
            self.pymeasure_spec("instrument", self.resource)
            self._check_attributes()
        return self

    def _check_attributes(self) -> None:
        setters: dict[str, str] = {}
        for name, quantity in self.quantities.items():
            first = setters.setdefault(quantity.set or f"only read: {name}", name)
            if first != name:
                raise ValueError(
                    f"{name}: {quoted(quantity.set or '')} would set {first} past its limits: one "
                    "quantity only may set it"
                )

    def _check_scpi(self) -> None:
        if self.options:
            raise ValueError("options are for a pymeasure class")
        self.scpi_spec("instrument")

    def scpi_spec(self, name: str) -> ScpiInstrumentSpec:
        """Return the instrument as commands."""
        return ScpiInstrumentSpec(
            quantities=self._quantities(
                name,
                lambda spec, quantity: ScpiQuantity(
                    spec=spec,
                    query=quantity.query,
                    set_command=quantity.set,
                    read_back=quantity.read_back,
                    field=quantity.field,
                ),
            ),
            identity=self.identity,
            timeout_s=self.timeout_s,
            error_query=self.error_query,
            start=tuple(self.start),
            stop=tuple(self.stop),
        )

    def pymeasure_spec(self, name: str, resource: str) -> PymeasureInstrumentSpec:
        """Return the instrument as attributes of a pymeasure class, at a resource."""
        return PymeasureInstrumentSpec(
            address=PymeasureAddress(
                driver=self.pymeasure or "",
                resource=resource,
                timeout_s=self.timeout_s,
                options=self.options,
                has_error_queue=bool(self.error_query),
            ),
            quantities=self._quantities(
                name,
                lambda spec, quantity: PymeasureQuantity(
                    spec=spec,
                    query=quantity.query,
                    set_attribute=quantity.set,
                    read_back=quantity.read_back,
                    field=quantity.field,
                ),
            ),
            identity=self.identity,
            start=tuple(self.start),
            stop=tuple(self.stop),
        )

    def _quantities(
        self, name: str, make: Callable[[QuantitySpec, QuantitySection], QuantityT]
    ) -> dict[str, QuantityT]:
        return {
            key: make(section.spec(f"{name}.{key}"), section)
            for key, section in self.quantities.items()
        }


def _have_resources_of_their_own(
    sections: dict[str, InstrumentSection],
) -> dict[str, InstrumentSection]:
    names: dict[str, str] = {}
    for name, section in sections.items():
        first = names.setdefault(plain_resource(section.resource), name)
        if first != name:
            raise ValueError(
                f"{name} has the resource of {first}, {quoted(section.resource)}: its limits would "
                "not hold there; put the quantities of both into one"
            )
    return sections


InstrumentsSection = Annotated[
    dict[str, InstrumentSection],
    AfterValidator(_names_things),
    AfterValidator(_have_resources_of_their_own),
]
"""The instruments of a campaign by name."""
