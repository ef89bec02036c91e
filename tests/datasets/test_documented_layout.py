"""The reference pages are held to the tables and names that the code writes."""

from pathlib import Path

import pytest

from hil.core.correction import ColumnFlag
from hil_datasets.export.csv_format import FIELDS
from hil_datasets.index import ABSENT, TILE_TABLES
from hil_datasets.step_files.schema import (
    CORRECTION_NAMES,
    FORMAT_VERSION,
    STEP_ATTRIBUTES,
    STEP_DATASETS,
    DatasetSpec,
)

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def layout() -> str:
    return (REFERENCE / "run-directory.md").read_text()


@pytest.fixture(scope="module")
def exports() -> str:
    return (REFERENCE / "exports.md").read_text()


def table_under(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    part = page.split(f"\n{heading}\n")[1]
    lines = part[part.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def row_of(spec: DatasetSpec) -> list[str]:
    return [f"`{spec.path}`", spec.dtype, ", ".join(spec.axes), spec.units, spec.long_name]


def test_page_lists_every_dataset_as_it_is_written(layout: str) -> None:
    assert table_under(layout, "### Datasets") == [row_of(spec) for spec in STEP_DATASETS]


def test_page_lists_every_attribute_as_it_is_written(layout: str) -> None:
    assert table_under(layout, "### Attributes") == [
        [f"`{spec.path}`", str(spec.kind), spec.meaning] for spec in STEP_ATTRIBUTES
    ]


def test_page_lists_every_table_per_tile(layout: str) -> None:
    assert table_under(layout, "## Index") == [row_of(spec) for spec in TILE_TABLES]


def test_page_names_the_values_that_stand_for_a_missing_file(layout: str) -> None:
    assert ABSENT == {"raw": 65535, "weights": -128, "inputs": -128, "expected": -2147483648}
    assert "65535 in `raw`, -128 in `weights` and `inputs`, -2147483648 in `expected`" in layout


def test_page_names_the_corrections_in_order(layout: str) -> None:
    assert "`correction` is " + ", ".join(f"`{name}`" for name in CORRECTION_NAMES) in layout


def test_page_names_the_version(layout: str) -> None:
    assert f"`format_version` is {FORMAT_VERSION}." in layout


def test_exports_page_lists_every_flag(exports: str) -> None:
    assert [row[:2] for row in table_under(exports, "## Flags")] == [
        [str(flag.value), f"`{str(flag.name).lower()}`"] for flag in ColumnFlag
    ]


def test_exports_page_names_the_fields_of_csv(exports: str) -> None:
    assert "\n" + ",".join(FIELDS) + "\n" in exports
