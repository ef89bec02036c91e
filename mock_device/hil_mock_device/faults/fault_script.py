"""What goes wrong, and when: a fault script, as a TOML file or as text on a control channel.

::

    seed = 7

    [[fault]]
    kind = "drop"
    every = 20

    [[fault]]
    kind = "disconnect"
    header = "READ?"
    chance = 0.01
    byte = 40
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hil.core.errors import ConfigError, Problem
from hil.core.legible import quoted
from hil.core.toml_file import TomlText, check_document, read_toml_bytes
from hil_drivers.scpi import spellings
from hil_mock_device.faults.fault_kinds import (
    KEYS,
    WHEN_KEYS,
    Aftermath,
    Direction,
    Event,
    MockFault,
    Place,
)

LARGEST_SEED = 2**63 - 1
_LONGEST_S = 3600.0
_MOST = 2**31 - 1
_MOST_RULES = 1000
_FROZEN = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

_SETTING_COMMA = re.compile(r""",(?![^\[]*\])(?=(?:[^'"]|'[^']*'|"[^"]*")*$)""")
"""A comma that stands neither in a list nor in quotes."""
_WORD = re.compile(r"[A-Za-z*][A-Za-z0-9_:*?]*")
_HEADER = re.compile(r"[*:]?[A-Za-z][A-Za-z0-9:\[\]]*\??")


class FaultRule(BaseModel):
    """One kind of fault, and when it strikes.

    Exactly one of `every`, `chance` and `at` says which of its events it strikes: messages whose
    header is `header`, or multiplications or programmings of `core`, counted from 1.
    """

    model_config = _FROZEN

    kind: MockFault
    """What goes wrong."""
    every: int | None = Field(default=None, ge=1, le=_MOST)
    """Each so manieth event."""
    chance: float | None = Field(default=None, gt=0, le=1)
    """Share of the events, by chance."""
    at: tuple[Annotated[int, Field(ge=1, le=_MOST)], ...] | None = Field(default=None, min_length=1)
    """Numbers of the events."""
    times: int | None = Field(default=None, ge=1, le=_MOST)
    """How often at most; for ever if left out."""
    between_s: tuple[float, float] | None = None
    """From when until when, seconds since the rule holds; always if left out."""
    header: str | None = Field(default=None, max_length=64)
    """Only messages with this command, as the protocol writes it: ``READ?``, ``INPut:DATA``."""
    direction: Direction = Direction.ANSWER
    """Which way the bytes go that meet the fault."""
    byte: int | None = Field(default=None, ge=0, le=_MOST)
    """At which byte, from 0; by chance if left out."""
    bit: int | None = Field(default=None, ge=0, le=7)
    """Which bit of the byte; by chance if left out."""
    place: Place = Place.ANYWHERE
    """Where that byte is, if it is left to chance; for ``flip`` in the block if left out."""
    seconds: float | None = Field(default=None, ge=0, le=_LONGEST_S)
    """How long."""
    jitter_s: float = Field(default=0.0, ge=0, le=_LONGEST_S)
    """Up to so many seconds more, by chance."""
    bytes_per_s: float | None = Field(default=None, ge=1)
    """Rate of the link."""
    baud: int | None = Field(default=None, ge=1, le=_MOST)
    """Rate of the line, bits per second."""
    identity: str | None = Field(default=None, max_length=200, pattern=r"^[ !#-&(-~]+$")
    """What is answered to ``*IDN?`` instead."""
    keeps_link: bool = False
    """Whether clients stay connected; else the one that asked is cut off, its message lost."""
    then: Aftermath = Aftermath.REBOOT
    """What follows."""
    core: int | None = Field(default=None, ge=0)
    """Which core; any if left out."""
    column: int | None = Field(default=None, ge=0)
    """Which column."""
    factor: float | None = Field(default=None, ge=0, le=1000)
    """What its counts are multiplied with."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Share of the counters."""
    kelvin: float | None = Field(default=None, ge=-400, le=400)
    """How much warmer."""
    conversions: int | None = Field(default=None, ge=1, le=_MOST)
    """How many multiplications it lasts; until the faults are cleared if left out."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [self.every, self.chance, self.at].count(None) != 2:
            raise ValueError("needs one of every, chance and at")
        keys, given = KEYS[self.kind], self.model_fields_set
        if missing := keys.required - given:
            raise ValueError(f"{self.kind} needs {', '.join(sorted(missing))}")
        allowed = WHEN_KEYS | keys.required | keys.optional
        if self.event is Event.MESSAGE and self.kind is not MockFault.IDENTITY:
            allowed |= {"header"}
        if unused := given - allowed:
            raise ValueError(
                f"{self.kind} has no use for {', '.join(sorted(unused))}; it takes "
                f"{', '.join(sorted(allowed - {'kind'}))}"
            )
        if self.header is not None and not _HEADER.fullmatch(self.header):
            raise ValueError(f"header must be one command, as READ?, got {quoted(self.header)}")
        if self.between_s is not None and not 0 <= self.between_s[0] < self.between_s[1]:
            raise ValueError("between_s must be two times, the second one later")
        return self

    @property
    def event(self) -> Event:
        """What it strikes."""
        return KEYS[self.kind].event

    @property
    def is_in_block(self) -> bool:
        """Whether a byte left to chance is one of the block."""
        flips = self.kind is MockFault.FLIP and "place" not in self.model_fields_set
        return self.place is Place.BLOCK or flips

    def concerns(self, header: str) -> bool:
        """Tell whether it may strike a message with this header."""
        pattern = "*IDN?" if self.kind is MockFault.IDENTITY else self.header
        return pattern is None or header.upper().removeprefix(":") in spellings(
            pattern.removeprefix(":")
        )

    @classmethod
    def from_text(cls, text: str) -> "FaultRule":
        """Read ``kind=drop,every=20``.

        Raises
        ------
        ConfigError
            If it is none; every problem is listed.

        Examples
        --------
        >>> rule = FaultRule.from_text("kind=drop, header=READ?, at=[3, 5]")
        >>> rule.kind, rule.header, rule.at
        (<MockFault.DROP: 'drop'>, 'READ?', (3, 5))
        >>> rule.to_text()
        'kind=drop,at=[3, 5],header=READ?'
        """
        settings: dict[str, Any] = {}
        for setting in _SETTING_COMMA.split(text):
            key, equals, value = (part.strip() for part in setting.partition("="))
            if not equals or key in settings:
                problem = "must be settings NAME=VALUE, each name once, with commas between them"
                raise ConfigError(f"fault {quoted(text)}", [Problem("", problem)])
            settings[key] = _value(value)
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            problems = [
                Problem(
                    ".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")
                )
                for found in error.errors(include_url=False)
            ]
            raise ConfigError(f"fault {quoted(text)}", problems) from error

    def to_text(self) -> str:
        """Return it as `from_text` takes it."""
        given = self.model_dump(mode="json", exclude_unset=True)
        return ",".join(f"{key}={_written(value)}" for key, value in given.items())


class FaultScript(BaseModel):
    """Everything that goes wrong with a device."""

    model_config = _FROZEN

    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Decides all that is left to chance: the same seed and messages meet the same faults."""
    fault: tuple[FaultRule, ...] = Field(default=(), max_length=_MOST_RULES)
    """The rules. Of several that would strike one message, the first does; those that only slow
    the link down go together with all others."""


def load_fault_script(path: Path) -> FaultScript:
    """Read a fault script.

    Raises
    ------
    ConfigError
        If the file cannot be read, or is wrong; every problem is listed.
    """
    return parse_fault_script(read_toml_bytes(path), source=str(path))


def parse_fault_script(content: bytes, *, source: str) -> FaultScript:
    """Read the content of a fault script.

    Parameters
    ----------
    content
        The file's bytes.
    source
        Its name, for messages.

    Raises
    ------
    ConfigError
        If it is wrong; every problem is listed.
    """
    text = TomlText(content, source=source)
    rules = text.document.get("fault")
    if isinstance(rules, list) and len(rules) > _MOST_RULES:
        # Before any of them is checked: each may have several problems of its own.
        message = f"has {len(rules)} rules: must be at most {_MOST_RULES}"
        raise ConfigError(source, [Problem("fault", message, text.place(("fault",)).line)])
    return check_document(FaultScript, text.document, source=source, place_of=text.place)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a word


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else f"'{value}'"
    return json.dumps(value)
