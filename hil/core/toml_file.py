"""Reading a TOML file into a checked model, with every problem named at once."""

import json
import re
import tomllib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import date, time
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hil.core.errors import ConfigError, Problem
from hil.core.hints import did_you_mean, same_meaning
from hil.core.legible import cut_short, printable, quoted
from hil.core.regular_file import read_regular_file, too_large
from hil.core.toml_lines import DEEPEST, KeyLines, KeyPath, find_key_lines, find_long_key

ModelT = TypeVar("ModelT", bound=BaseModel)

LARGEST_TOML = 1 << 20
"""Most bytes of a TOML file, 1 MiB: far more than anybody writes by hand."""
MOST_PROBLEMS = 100
"""How many problems of one file are listed."""
_TOO_DEEP = f"is nested too deep: must be at most {DEEPEST} levels"
_LONGEST_REASON = 200
"""Characters of a parser's own message."""
_AT_LINE = re.compile(r"\(at line (\d+), column ")
_ENDLESS_NUMBER = re.compile(r"[\d_]{4300}")
_WORD = re.compile("'([^']*)'")


class Place(NamedTuple):
    """Where a value was set."""

    source: str
    """File, environment variable or option."""
    line: int | None = None
    """Line of the file, from 1; None where there is none."""


def read_toml_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    ConfigError
        If it is missing or unreadable, no regular file, or larger than `LARGEST_TOML`.
    """
    return read_regular_file(path, largest=LARGEST_TOML)


class TomlText:
    """The content of a TOML file, taken apart once."""

    def __init__(self, content: bytes, *, source: str) -> None:
        """Read the content.

        Raises
        ------
        ConfigError
            If it is no TOML, or larger than `LARGEST_TOML`.
        """
        if len(content) > LARGEST_TOML:
            raise ConfigError(source, [Problem("", too_large(len(content), LARGEST_TOML))])
        self.source = source
        self._text = _decoded(content, source)
        self.document = _parse(self._text, source)

    @cached_property
    def _lines(self) -> KeyLines:
        # Found only when somebody asks: a file without a problem needs none.
        try:
            return find_key_lines(self._text.replace("\r\n", "\n"))
        except ValueError:  # what the parser takes and the scanner does not: no lines, no harm
            return KeyLines(lines={}, repetitions=())

    def place(self, path: KeyPath) -> Place:
        """Return where a key is, or the table that should have it."""
        return Place(self.source, self._lines.line_of(path))


def parse_toml(model: type[ModelT], content: bytes, *, source: str) -> ModelT:
    """Check the content of a TOML file against a model.

    Parameters
    ----------
    model
        What it must look like.
    content
        The file's bytes.
    source
        Its name, for messages.

    Raises
    ------
    ConfigError
        If it is no TOML, holds what no model takes (dates, integers beyond 64 bits, too deep
        nesting), or has unknown keys, wrong types or impossible values; every problem is listed
        with its key path and line.
    """
    text = TomlText(content, source=source)
    return check_document(model, text.document, source=source, place_of=text.place)


def check_document(
    model: type[ModelT],
    document: dict[str, Any],
    *,
    source: str,
    place_of: Callable[[KeyPath], Place],
) -> ModelT:
    """Check a document against a model.

    Parameters
    ----------
    model
        What it must look like.
    document
        Tables, lists and values as the TOML parser gives them.
    source
        Name of the file it is from, for messages.
    place_of
        Where a key was set.

    Raises
    ------
    ConfigError
        If something is wrong with it; every problem is listed.
    """
    foreign = foreign_values(document)
    found = [(path, Problem(key_path(path), message)) for path, message in foreign.items()]
    errors: list[tuple[KeyPath, list[ErrorDetails]]] = []
    try:
        # Through JSON, because its strict mode still takes words for enumerations.
        checked = model.model_validate_json(json.dumps(_without(document, foreign)), strict=True)
    except ValidationError as error:
        errors = _validation_errors(document, error, foreign)
    if not (found or errors):
        return checked
    count = len(found) + len(errors)
    found += [(path, _problem(model, path, several)) for path, several in errors[:MOST_PROBLEMS]]
    problems = []
    for path, problem in found[:MOST_PROBLEMS]:
        place = place_of(_blamed(document, path, problem.message))
        elsewhere = "" if place.source == source else place.source
        problems.append(replace(problem, line=place.line, source=elsewhere))
    if count > MOST_PROBLEMS:
        problems.append(Problem("", f"and {count - MOST_PROBLEMS} more problems"))
    raise ConfigError(source, problems)


def _decoded(content: bytes, source: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(source, [Problem("", f"is no TOML: {error}", line)]) from error
    if text.startswith("\ufeff"):
        reason = "begins with a byte-order mark: save it as UTF-8 without one"
        raise ConfigError(source, [Problem("", f"is no TOML: {reason}", 1)])
    return text


def _parse(text: str, source: str) -> dict[str, Any]:
    line = None
    if found := find_long_key(text):
        # Not left to the parser: its time grows with the square of a key's length.
        raise ConfigError(source, [Problem(key_path(found[0]), _TOO_DEEP, found[1])])
    try:
        return tomllib.loads(text)
    except RecursionError:
        reason = "nested too deep"
    except ValueError as error:  # not only tomllib's own: Python refuses integers of 5000 digits
        reason = printable(cut_short(str(error), longest=_LONGEST_REASON))
        if repeated := _repetitions(text):
            raise ConfigError(source, repeated) from error
        if long := _ENDLESS_NUMBER.search(text):
            line = text.count("\n", 0, long.start()) + 1
            reason = "has an integer of thousands of digits"
        elif at := _AT_LINE.search(reason):
            line, reason = int(at[1]), _AT_LINE.sub("(column ", reason)
    raise ConfigError(source, [Problem("", f"is no TOML: {reason}", line)])


def _repetitions(text: str) -> list[Problem]:
    try:
        repetitions = find_key_lines(text.replace("\r\n", "\n")).repetitions
    except ValueError:
        return []
    return [
        Problem(
            key_path(repetition.path),
            f"is set twice, here and in line {repetition.first}",
            repetition.second,
        )
        for repetition in repetitions
    ]


def foreign_values(document: dict[str, Any]) -> dict[KeyPath, str]:
    """Return what TOML allows and JSON, or every model, does not, and why."""
    messages = {}
    waiting: deque[tuple[KeyPath, Any]] = deque([((), document)])
    while waiting:  # no recursion: this is what measures the depth
        path, value = waiting.popleft()
        if isinstance(value, dict | list):
            children = value.items() if isinstance(value, dict) else enumerate(value)
            if len(path) < DEEPEST:
                waiting.extend(((*path, key), child) for key, child in children)
            else:
                messages[path] = _TOO_DEEP
        elif isinstance(value, date | time):
            kind = "date" if isinstance(value, date) else "time"
            messages[path] = f"is a {kind}: must be text in quotes, a number, true or false"
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            messages[path] = "is an integer beyond 64 bits: must be -2^63 to 2^63 - 1"
    return messages


def _without(document: dict[str, Any], foreign: Iterable[KeyPath]) -> dict[str, Any]:
    """Return a document in which nothing stands for what cannot be checked."""
    taken_out = set(foreign)
    if not taken_out:
        return document

    def cleaned(value: Any, path: KeyPath) -> Any:
        if path in taken_out:
            return None
        if isinstance(value, dict):
            return {key: cleaned(child, (*path, key)) for key, child in value.items()}
        if isinstance(value, list):
            return [cleaned(child, (*path, number)) for number, child in enumerate(value)]
        return value

    whole: dict[str, Any] = cleaned(document, ())
    return whole


def _validation_errors(
    document: dict[str, Any],
    error: ValidationError,
    foreign: Mapping[KeyPath, str],
) -> list[tuple[KeyPath, list[ErrorDetails]]]:
    """Return what is wrong with each value, except those around or inside a foreign one."""
    around = {path[:length] for path in foreign for length in range(len(path) + 1)}
    gathered: dict[tuple[KeyPath, bool], list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        path, is_missing = details["loc"], details["type"] == "missing"
        # The alternatives of a union are errors of one value, each with a name of pydantic's own.
        path = path if is_missing else _existing(document, path)
        inside = any(path[:length] in foreign for length in range(len(path)))
        if path not in around and not inside:
            gathered.setdefault((path, is_missing), []).append(details)
    return [(path, several) for (path, _), several in gathered.items()]


def _existing(document: Any, path: KeyPath) -> KeyPath:
    """Return as much of a path as leads to something in the document."""
    inner = document
    for length, part in enumerate(path):
        if isinstance(inner, list):
            is_there = isinstance(part, int) and 0 <= part < len(inner)
        else:
            is_there = isinstance(inner, dict) and part in inner
        if not is_there:
            return path[:length]
        inner = inner[part]
    return path


def _blamed(document: Any, path: KeyPath, message: str) -> KeyPath:
    """Return the key that a table's message begins with, if it is one of the table's."""
    words = message.split(maxsplit=1)
    deeper = (*path, *words[0].rstrip(":,").split(".")) if words else path
    return deeper if _existing(document, deeper) == deeper else path


def _problem(model: type[BaseModel], path: KeyPath, several: list[ErrorDetails]) -> Problem:
    details, where = several[0], key_path(path)
    if details["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        known = _fields_at(model, path[:-1])
        hint = same_meaning(str(path[-1]), known) or did_you_mean(str(path[-1]), known)
        hint = hint or f"known keys: {', '.join(known)}"
        return Problem(where, f"unknown key; {hint}")
    is_one_table = details["type"] == "list_type" and isinstance(details["input"], Mapping)
    if is_one_table and _fields_at(model, path):
        return Problem(where, f"is one table, and may be several: write [[{where}]]")
    if details["type"] == "missing":
        return Problem(where, "is missing")
    message = details["msg"].removeprefix("Value error, ")
    for other in several[1:]:
        message += f" or {other['msg'].removeprefix('Input should be ')}"
    value = details["input"]
    if details["type"] == "value_error" or isinstance(value, Mapping):
        return Problem(where, message.replace(repr(value), quoted(value)))
    message = f"{message}, got {quoted(value)}"
    if details["type"] in {"enum", "literal_error"} and isinstance(value, str):
        hint = did_you_mean(value, _WORD.findall(details["ctx"]["expected"]))
        message += f"; {hint}" if hint else ""
    return Problem(where, message)


def key_path(loc: KeyPath) -> str:
    """Return a path as the file has to spell it: ``a."b.c"[0]``, cut short if it is endless."""
    path = ""
    for part in loc:
        name = printable(cut_short(str(part)))
        name = f'"{name}"' if "." in name else name
        path += f"[{name}]" if isinstance(part, int) else f".{name}" if path else name
    return cut_short(path, longest=_LONGEST_REASON)


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys known at a place, walking through ``X | None`` and lists of X."""
    inner: Any = model
    for part in loc:
        if isinstance(part, str):
            # Names of the user's own choosing are no keys: below them lies the values' kind.
            inner = _hints_by_key(inner).get(part, inner) if _keys_of(inner) else inner
        inner = next((kind for kind in _leaves(inner) if _keys_of(kind)), None)
    return _keys_of(inner)


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)


def _keys_of(kind: Any) -> list[str]:
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    known = getattr(kind, "model_fields", {})
    return [field.alias or name for name, field in known.items()]


def _hints_by_key(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    known = getattr(kind, "model_fields", {})
    return hints | {field.alias: hints[name] for name, field in known.items() if field.alias}
