"""Reading a TOML file into a checked model, with every problem named at once."""

import difflib
import json
import tomllib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hil.core.errors import ConfigError, Problem
from hil.core.legible import cut_short, printable, quoted
from hil.core.regular_file import open_regular_file

ModelT = TypeVar("ModelT", bound=BaseModel)

_DEEPEST = 32
"""Tables and lists inside each other; far deeper ones exhaust the stack of the JSON encoder."""
_LONGEST_REASON = 200
"""Characters of a parser's own message."""


def read_toml_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    ConfigError
        If it is missing or unreadable, or no regular file.
    """
    with open_regular_file(path) as stream:
        try:
            return stream.read()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(str(path), [Problem("", reason)]) from error


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
        nesting), or has unknown keys, wrong types or impossible values; every problem of the
        first of these kinds is listed with its key path.
    """
    document = _parse(content, source)
    if problems := _foreign_values(document):
        raise ConfigError(source, problems)
    try:
        # Through JSON, because its strict mode still takes words for enumerations.
        return model.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        problems = [_problem(model, details) for details in error.errors(include_url=False)]
        raise ConfigError(source, problems) from error


def _parse(content: bytes, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        reason = "nested too deep"
    except ValueError as error:  # not only tomllib's own: Python refuses integers of 5000 digits
        reason = printable(cut_short(str(error), longest=_LONGEST_REASON))
    raise ConfigError(source, [Problem("", f"is no TOML: {reason}")])


def _foreign_values(document: dict[str, Any]) -> list[Problem]:
    """Return what TOML allows and JSON, or every model, does not."""
    problems = []
    waiting: deque[tuple[tuple[int | str, ...], Any]] = deque([((), document)])
    while waiting:  # no recursion: this is what measures the depth
        loc, value = waiting.popleft()
        message = ""
        if isinstance(value, dict | list):
            children = value.items() if isinstance(value, dict) else enumerate(value)
            if len(loc) < _DEEPEST:
                waiting.extend(((*loc, key), child) for key, child in children)
            else:
                message = f"is nested too deep: must be at most {_DEEPEST} levels"
        elif isinstance(value, date | time):
            kind = "date" if isinstance(value, date) else "time"
            message = f"is a {kind}: must be text in quotes, a number, true or false"
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            message = "is an integer beyond 64 bits: must be -2^63 to 2^63 - 1"
        if message:
            problems.append(Problem(_key_path(loc), message))
    return problems


def _problem(model: type[BaseModel], details: ErrorDetails) -> Problem:
    where = _key_path(details["loc"])
    if details["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        key = str(details["loc"][-1])
        known = _fields_at(model, details["loc"][:-1])
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return Problem(where, f"unknown key; {hint}")
    if details["type"] == "missing":
        return Problem(where, "is missing")
    message = details["msg"].removeprefix("Value error, ")
    value = details["input"]
    if details["type"] == "value_error" or isinstance(value, Mapping):
        return Problem(where, message.replace(repr(value), quoted(value)))
    return Problem(where, f"{message}, got {quoted(value)}")


def _key_path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        name = printable(cut_short(str(part)))
        path += f"[{name}]" if isinstance(part, int) else f".{name}" if path else name
    return cut_short(path, longest=_LONGEST_REASON)


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys known at a place, walking through ``X | None`` and lists of X."""
    inner: Any = model
    for part in loc:
        if isinstance(part, str):
            # Names of the user's own choosing are no keys: below them lies the values' kind.
            inner = get_type_hints(inner).get(part, inner) if _keys_of(inner) else inner
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
    return list(getattr(kind, "model_fields", {}))
