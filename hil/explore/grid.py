"""Which formats a study looks at: axes, their products, and what NMPU they make.

An axis is a parameter of `NmpuFormat` with the values it takes; a sweep is the product of its
axes; a grid is a list of sweeps around one base format. Two axes stand for more than one
parameter, because widths hang together:

- ``scale_bits`` is the width of a scale register; it sets ``scale_frac``, and ``scale_int`` stays;
- ``off_bits`` and ``off_frac`` leave the rest of the offset register to ``off_int``, unless that is
  an axis itself; ``off_int`` alone sets ``off_bits``.
"""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hil.core.errors import ConfigError, Problem
from hil.core.nmpu_format import NmpuFormat
from hil.core.toml_file import parse_toml, read_toml_bytes

SCALE_BITS = "scale_bits"
"""The axis that sets the whole width of a scale."""
AXIS_NAMES = (
    SCALE_BITS,
    *(parameter.name for parameter in fields(NmpuFormat) if parameter.name != "shift"),
)
"""Every axis: the parameters of the format but the shift, which the calibration chooses."""
_WORDS = {"true": "1", "false": "0"}

Sweep = Mapping[str, Sequence[str]]
"""Axis name to its values, as text; the formats are the product of the axes."""

DEFAULT_GRID: tuple[Sweep, ...] = (
    {SCALE_BITS: ("8", "7", "6", "5", "4", "3"), "off_bits": ("9", "8", "7", "6", "5", "4")},
    {"shared_scale": ("1",), SCALE_BITS: ("8", "7", "6", "5", "4", "3")},
    {"off_frac": ("0", "2", "3")},
    {"in_bits": ("9", "11", "12")},
    {"cut_pre": ("2", "4", "6")},
    {"rounding": ("floor", "half_even", "half_away", "toward_zero")},
    {"acc_bits": ("8", "9", "10")},
)
"""The registers' widths against each other, then every other parameter by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One combination of a grid."""

    changes: dict[str, str] = field(hash=False)
    """Axis name to value, as asked for; empty for the base format."""
    fmt: NmpuFormat | None
    """The format, shift 0; None if the values contradict each other."""
    refusal: str = ""
    """How they contradict each other."""

    @property
    def name(self) -> str:
        """The changes as text; ``base`` if there are none."""
        return ",".join(f"{name}={value}" for name, value in self.changes.items()) or "base"


class _GridFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    sweep: list[dict[str, list[int | bool | str]]] = Field(min_length=1)


def parse_axes(texts: Sequence[str]) -> tuple[Sweep, ...]:
    """Read ``NAME=VALUE,VALUE`` texts as the axes of one sweep.

    Raises
    ------
    ConfigError
        If a text has another form, a name is no axis or comes twice, or a value comes twice.

    Examples
    --------
    >>> parse_axes(["off_bits=6..8", "rounding=floor,half_up"])
    ({'off_bits': ('6', '7', '8'), 'rounding': ('floor', 'half_up')},)
    """
    sweep: dict[str, tuple[str, ...]] = {}
    for text in texts:
        source = f"--axis {text}"
        name, equals, listed = (part.strip() for part in text.partition("="))
        if not equals or not listed:
            message = "must be NAME=VALUE,VALUE, as in scale_bits=4,6,8 or off_bits=4..8"
            raise ConfigError(source, [Problem("", message)])
        problems = _name_problems(name, "")
        if name in sweep:
            problems.append(Problem("", f"axis {name} is there twice; put its values in one list"))
        values = tuple(
            value for part in listed.split(",") for value in _expand(part.strip().lower())
        )
        problems += _value_problems(values, "")
        if problems:
            raise ConfigError(source, problems)
        sweep[name] = values
    return (sweep,)


def load_grid(path: Path) -> tuple[Sweep, ...]:
    """Read a grid file: TOML with a table ``[[sweep]]`` of lists for each sweep.

    Raises
    ------
    ConfigError
        If it is missing or wrong; every problem is listed with its key.
    """
    parsed = parse_toml(_GridFile, read_toml_bytes(path), source=str(path))
    problems: list[Problem] = []
    sweeps = []
    for position, axes in enumerate(parsed.sweep):
        sweep = {name: tuple(_as_text(value) for value in values) for name, values in axes.items()}
        for name, values in sweep.items():
            where = f"sweep[{position}].{name}"
            problems += _name_problems(name, where) + _value_problems(values, where)
        sweeps.append(sweep)
    if problems:
        raise ConfigError(str(path), problems)
    return tuple(sweeps)


def enumerate_formats(
    base: NmpuFormat, sweeps: Sequence[Sweep], *, source: str
) -> tuple[Candidate, ...]:
    """List every combination of a grid, the base format first, each format once.

    Parameters
    ----------
    base
        The format that the axes change, shift 0.
    sweeps
        Axes to combine, sweep by sweep.
    source
        Where the grid comes from, for messages.

    Returns
    -------
    Combinations in the order of the axes, the last one fastest. Values that contradict each other
    stay in the list, with the reason.

    Raises
    ------
    ConfigError
        If two axes set the same parameter, or a value is impossible whatever the others are.

    Examples
    --------
    >>> for candidate in enumerate_formats(
    ...     NmpuFormat(), [{"scale_bits": ("8", "2"), "off_frac": ("1", "2")}], source="here"):
    ...     print(candidate.name, candidate.refusal)
    base
    scale_bits=8,off_frac=2
    scale_bits=2,off_frac=1
    scale_bits=2,off_frac=2 off_frac = 2: must be at most scale_frac + shift = 1
    """
    found = {base.to_text(): Candidate(changes={}, fmt=base)}
    problems: list[Problem] = []
    for sweep in sweeps:
        if SCALE_BITS in sweep and "scale_frac" in sweep:
            problems.append(Problem("", "scale_bits and scale_frac set the same bits; use one"))
            continue
        candidates = [
            _candidate(base, dict(zip(sweep, values, strict=True)))
            for values in itertools.product(*sweep.values())
        ]
        problems += _impossible_values(sweep, candidates)
        for candidate in candidates:
            key = candidate.fmt.to_text() if candidate.fmt else candidate.name
            found.setdefault(key, candidate)
    if problems:
        raise ConfigError(source, problems)
    return tuple(found.values())


def _candidate(base: NmpuFormat, changes: dict[str, str]) -> Candidate:
    try:
        values = _with_dependents(base, changes)
        text = ",".join(f"{name}={value}" for name, value in values.items())
        return Candidate(changes=changes, fmt=NmpuFormat.from_text(text))
    except ValueError as error:
        return Candidate(changes=changes, fmt=None, refusal=str(error))


def _with_dependents(base: NmpuFormat, changes: Mapping[str, str]) -> dict[str, str]:
    """Return every parameter as text, those that follow from others worked out."""
    values = dict(part.split("=") for part in base.to_text().split(",")) | dict(changes)
    if SCALE_BITS in values:
        bits = _whole(SCALE_BITS, values.pop(SCALE_BITS))
        values["scale_frac"] = str(bits - _whole("scale_int", values["scale_int"]))
    sign_bits = base.off_bits - base.off_int - base.off_frac
    if {"off_bits", "off_frac"} & set(changes) and "off_int" not in changes:
        rest = _whole("off_bits", values["off_bits"]) - _whole("off_frac", values["off_frac"])
        values["off_int"] = str(rest - sign_bits)
    elif "off_int" in changes and "off_bits" not in changes:
        bits = _whole("off_int", values["off_int"]) + _whole("off_frac", values["off_frac"])
        values["off_bits"] = str(bits + sign_bits)
    return values


def _impossible_values(sweep: Sweep, candidates: Sequence[Candidate]) -> list[Problem]:
    """Name every value of a sweep that no combination can have, with the first reason."""
    problems = []
    for name, values in sweep.items():
        for value in values:
            having = [candidate for candidate in candidates if candidate.changes[name] == value]
            if all(candidate.fmt is None for candidate in having):
                reason = having[0].refusal
                problems.append(Problem(f"{name}={value}", f"no such format: {reason}"))
    return problems


def _name_problems(name: str, where: str) -> list[Problem]:
    if name in AXIS_NAMES:
        return []
    if name == "shift":
        return [Problem(where, "shift is chosen for each core by the calibration: no axis")]
    close = difflib.get_close_matches(name, AXIS_NAMES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"axes: {', '.join(AXIS_NAMES)}"
    return [Problem(where, f"{name!r} is no axis; {hint}")]


def _value_problems(values: Sequence[str], where: str) -> list[Problem]:
    if not values or "" in values:
        return [Problem(where, "has an empty value")]
    twice = sorted({value for value in values if values.count(value) > 1})
    return [Problem(where, f"names a value twice: {', '.join(twice)}")] if twice else []


def _expand(part: str) -> list[str]:
    first, dots, last = part.partition("..")
    if dots and first.isdecimal() and last.isdecimal() and int(last) - int(first) in range(64):
        return [str(value) for value in range(int(first), int(last) + 1)]
    return [_WORDS.get(part, part)]


def _as_text(value: int | bool | str) -> str:  # noqa: FBT001 - a TOML value
    return str(int(value)) if isinstance(value, bool) else str(value)


def _whole(name: str, text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise ValueError(f"{name} = {text!r}: must be a whole number")
    return int(text)
