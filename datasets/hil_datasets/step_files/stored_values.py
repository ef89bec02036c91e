"""Attributes and arrays of a step file, and errors that say where in it they are wrong."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil_datasets.step_files.stored_json import read_names

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredValues:
    """What a step file holds; every look at an impossible value raises DatasetError."""

    source: str
    """Name of the file, for messages."""
    attributes: Mapping[str, Any]
    """Value per path of `STEP_ATTRIBUTES`, JSON as its text."""
    arrays: Mapping[str, npt.NDArray[Any]]
    """Array per path of `STEP_DATASETS`."""

    def names(self, attribute: str) -> list[str]:
        """Return a list of names that is stored as JSON."""
        return self.made(attribute, read_names)

    def made(self, name: str, make: Callable[[str], T]) -> T:
        """Return what `make` makes of an attribute."""
        try:
            return make(self.attributes[name])
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            owner, _, short_name = name.rpartition("/")
            raise self.error(f"/{owner}", f"attribute {short_name}: {error}") from error

    def count(self, name: str, *, lowest: int = 0, highest: int | None = None) -> int:
        """Return an attribute of the file, lowest <= number <= highest."""
        value = int(self.attributes[name])
        if value < lowest or (highest is not None and value > highest):
            allowed = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
            raise self.error("/", f"attribute {name}: is {value}: must be {allowed}")
        return value

    def finite(self, name: str) -> float:
        """Return an attribute that is a number."""
        value = float(self.attributes[name])
        if not math.isfinite(value):
            owner, _, short_name = name.rpartition("/")
            raise self.error(f"/{owner}", f"attribute {short_name}: is {value}: must be finite")
        return value

    def check_codes(self, name: str, allowed_bits: int, rule: str) -> None:
        """Refuse an array with bits beside the allowed ones; `rule` is said of the first."""
        codes = self.arrays[name]
        is_wrong = (codes & ~codes.dtype.type(allowed_bits)) != 0
        if is_wrong.any():
            column = int(np.argmax(is_wrong))
            raise self.error(f"/{name}", f"of column {column} is {codes[column]}: {rule}")

    def error(self, where: str, message: str) -> DatasetError:
        """Return the error that something at this place of the file is wrong."""
        return DatasetError(self.source, [Problem(where, message)])
