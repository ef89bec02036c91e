"""A campaign with all that is said anywhere: as canonical JSON with its hash, and as TOML."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from pydantic import BaseModel
from tomlkit.items import Table

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.toml_file import Place, check_document
from hil.core.toml_lines import KeyPath
from hil_datasets.durable import finished_file, names_failed_writes
from hil_datasets.journal import last_beginning
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import RunDirectory

ModelT = TypeVar("ModelT", bound=BaseModel)

FIRST_CONFIG = "campaign"
"""Name, without its endings, of the files with the configuration that a run began with."""

DEFAULT_REMARK = "default"
"""Stands beside what nobody has set."""


def resolved_document(config: BaseModel) -> dict[str, Any]:
    """Return a checked configuration as plain tables and values, defaults included.

    What is not set and has no value is left out, and so is what was only a way to say it:
    ``include``.
    """
    return config.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"include"})


def canonical_json(config: BaseModel) -> bytes:
    """Return a checked configuration as JSON of which there is only one form.

    Keys sorted, no blanks, UTF-8 without escapes, numbers in their shortest form that reads back
    the same.
    """
    text = json.dumps(
        resolved_document(config),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return text.encode()


def resolved_sha256(config: BaseModel) -> str:
    """Return the hash of the canonical JSON: equal for files that say the same in other words."""
    return hashlib.sha256(canonical_json(config)).hexdigest()


def parse_json(model: type[ModelT], content: bytes, *, source: str) -> ModelT:
    """Check what `canonical_json` wrote.

    Raises
    ------
    ConfigError
        If it is no JSON, or not of the model; every problem is listed.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(source, [Problem("", f"is no JSON: {error}")]) from error
    if not isinstance(document, dict):
        raise ConfigError(source, [Problem("", "is no JSON object")])
    return check_document(model, document, source=source, place_of=lambda _: Place(source))


def resolved_path(run: RunDirectory, name: str = FIRST_CONFIG) -> Path:
    """Return the file in which a run keeps its resolved configuration."""
    return run.path / f"{name}.resolved.json"


def store_resolved(run: RunDirectory, config: BaseModel, *, name: str = FIRST_CONFIG) -> None:
    """Keep a resolved configuration in a run, beside the campaign file, for good.

    Parameters
    ----------
    run
        The run.
    config
        The configuration.
    name
        Another one if the run goes on with a changed configuration.

    Raises
    ------
    DatasetError
        If it cannot be written.
    """
    path = resolved_path(run, name)
    with names_failed_writes(path), finished_file(path) as part:
        part.write_bytes(canonical_json(config))


def read_resolved(run: RunDirectory) -> bytes:
    """Return the resolved configuration that a run has gone on with last.

    Raises
    ------
    DatasetError
        If it cannot be read, or is not the one that its journal tells of.
    """
    beginning = last_beginning(run.events())
    path = resolved_path(run, config_name(beginning))
    content = read_regular(path)
    wanted = beginning.get("resolved_sha256")
    if wanted is not None and hashlib.sha256(content).hexdigest() != wanted:
        message = "was changed since the run: its hash differs from the recorded one"
        raise DatasetError(str(path), [Problem("", message)])
    return content


def config_name(beginning: Mapping[str, Any]) -> str:
    """Return the name of the configuration that an event says a run went on with."""
    return str(beginning.get("config", FIRST_CONFIG))


def commented_toml(document: dict[str, Any], remark_of: Callable[[KeyPath], str]) -> str:
    """Return tables and values as TOML with a remark beside each.

    Parameters
    ----------
    document
        Tables and values.
    remark_of
        What to say of a key; nothing where empty.
    """
    whole = tomlkit.document()
    _fill(whole, document, (), remark_of)
    return tomlkit.dumps(whole)


def _fill(
    table: tomlkit.TOMLDocument | Table,
    values: dict[str, Any],
    path: KeyPath,
    remark_of: Callable[[KeyPath], str],
) -> None:
    # Values first: after the header of an inner table they would belong to that one.
    for key, value in values.items():
        if not isinstance(value, dict):
            item = tomlkit.item(value)
            remark = remark_of((*path, key))
            if remark:
                item.comment(remark)
            table.add(key, item)
    for key, value in values.items():
        if isinstance(value, dict) and value:
            inner = tomlkit.table(is_super_table=all(isinstance(v, dict) for v in value.values()))
            _fill(inner, value, (*path, key), remark_of)
            table.add(key, inner)
