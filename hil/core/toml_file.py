"""Reading a TOML file into a checked model, with every problem named at once."""

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hil.core.errors import ConfigError, Problem

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_toml_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    ConfigError
        If it is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ConfigError(str(path), [Problem("", reason or str(error))]) from error


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
        If it is no TOML, or has unknown keys, wrong types or impossible values; every problem
        is listed with its key path.
    """
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(source, [Problem("", f"is no TOML: {error}")]) from error
    try:
        # Through JSON, because its strict mode still takes words for enumerations.
        return model.model_validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        problems = [_problem(model, details) for details in error.errors(include_url=False)]
        raise ConfigError(source, problems) from error


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
    if details["type"] == "value_error" or isinstance(details["input"], Mapping):
        return Problem(where, message)
    return Problem(where, f"{message}, got {details['input']!r}")


def _key_path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys known at a place, walking through ``X | None`` and lists of X."""
    inner: Any = model
    for part in loc:
        if isinstance(part, str):
            inner = get_type_hints(inner).get(part) if _keys_of(inner) else None
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
