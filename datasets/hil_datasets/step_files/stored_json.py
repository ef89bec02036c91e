"""From the texts that a step file holds as JSON to what they say; ValueError for what cannot be."""

import json
from dataclasses import fields

from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ChipIdentity
from hil_datasets.step_files.stored_errors import errors_from_json


def read_names(text: str) -> list[str]:
    """Return a list of names."""
    values = json.loads(text)
    if not isinstance(values, list) or not all(isinstance(word, str) for word in values):
        raise ValueError("must be a list of texts")
    return values


def read_texts(text: str) -> dict[str, str]:
    """Return an object of texts."""
    values = json.loads(text)
    if not isinstance(values, dict) or not all(isinstance(word, str) for word in values.values()):
        raise ValueError("must be an object of texts")
    return values


def read_chip_identity(text: str) -> ChipIdentity:
    """Return the identity of a chip."""
    return ChipIdentity(**read_texts(text))


def read_nmpu_format(text: str) -> NmpuFormat:
    """Return the parameters of an NMPU."""
    values = json.loads(text)
    kinds = {field.name: field.type for field in fields(NmpuFormat)}
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        raise ValueError(f"must be an object of {', '.join(kinds)}")
    for name, kind in kinds.items():
        wanted = kind if kind in {int, bool} else str
        if type(values[name]) is not wanted:
            raise ValueError(f"{name} is {values[name]!r}")
    return NmpuFormat(**values)


def read_errors(text: str) -> dict[str, float]:
    """Return the errors of each correction."""
    return errors_from_json(json.loads(text))


def read_count_or_none(text: str) -> int | None:
    """Return a count, or that there is none."""
    value = json.loads(text)
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"is {value!r}: must be null, or 0 or more")
    return value
