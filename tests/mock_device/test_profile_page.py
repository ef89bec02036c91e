"""The reference page of the profile says what the model says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hil_mock_device.profile import MockProfile

PAGE = (Path(__file__).parents[2] / "docs/reference/mock-profile.md").read_text("utf-8")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field


FIELDS = dict(fields(MockProfile))


def rows() -> dict[str, list[str]]:
    """Return the cells of every row whose first cell is a key: unit, range, default, mark, text."""
    found = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[0].startswith("`"):
            found[cells[0].strip("`")] = cells[1:]
    return found


def test_page_lists_exactly_the_keys_of_the_model() -> None:
    assert sorted(rows()) == sorted(FIELDS)


@pytest.mark.parametrize("key", FIELDS)
def test_default_on_the_page_is_that_of_the_model(key: str) -> None:
    default = FIELDS[key].default
    assert rows()[key][2] == ("none" if default is None else f"`{json.dumps(default)}`")


def bounds(field: FieldInfo) -> set[float]:
    names = ("ge", "gt", "le", "lt")
    return {
        float(getattr(limit, name))
        for limit in field.metadata
        for name in names
        if hasattr(limit, name)
    }


@pytest.mark.parametrize(
    "key", [key for key, field in FIELDS.items() if bounds(field) and key != "seed"]
)
def test_range_on_the_page_is_that_of_the_model(key: str) -> None:
    assert {float(number) for number in NUMBER.findall(rows()[key][1])} == bounds(FIELDS[key])


def test_every_magnitude_of_a_chip_has_a_mark() -> None:
    marks: dict[str, Any] = {
        key: cells[3].split()[0] if cells[3] else ""
        for key, cells in rows().items()
        if key == "temperature_c" or key.startswith(("array.", "counter."))
    }
    assert set(marks.values()) <= {"K", "K2", "A"}
    assert len(marks) == 23


PUBLISHED_NOISE = {
    1: [1.5, 5.9, 8.4, 9.4, 9.7],
    2: [0.8, 4.3, 4.8, 4.4, 5.3],
}


@pytest.mark.parametrize("devices", [1, 2])
def test_programming_noise_on_the_page_is_the_published_one(devices: int) -> None:
    (line,) = re.findall(rf"^\| {devices} devices? per cell \|(.*)\|$", PAGE, re.MULTILINE)
    assert [float(cell) for cell in line.split("|")] == PUBLISHED_NOISE[devices]
