"""A mapping file is checked as a whole: every problem with its key and its line."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from foreign_recordings import HEAD
from hil.core.errors import ConfigError
from hil.recorded.convert.mapping import Mapping
from hil.recorded.convert.mapping_check import load_mapping

FITS = HEAD.format(form="fits") + '[fits]\nrule = "difference"\naxes = ["core", "column"]\n'
COUNTS = (
    HEAD.format(form="counts")
    + '[counts]\nrule = "pair"\narray = "c"\naxes = ["vector", "polarity", "column"]\n'
    + '[inputs]\narray = "x"\naxes = ["vector", "row"]\n'
    + '[weights]\narray = "w"\naxes = ["row", "column"]\n'
)
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mapping-file.md"


def problems(tmp_path: Path, text: str) -> str:
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_mapping(path)
    return str(refused.value).replace(f"{tmp_path}/", "")


def test_every_problem_is_told_with_key_and_line(tmp_path: Path) -> None:
    text = FITS.replace('serial = "A-7"', "serial = 7").replace(
        "temperature_c = 27.5", "temperatur_c = 27.5"
    )
    told = problems(tmp_path, text)
    assert "map.toml: 3 problems:" in told
    assert "map.toml:8: chip.serial: Input should be a valid string, got 7" in told
    assert "map.toml:12: measured.temperatur_c: unknown key; did you mean 'temperature_c'?" in told
    assert "map.toml:10: measured.temperature_c: is missing" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            FITS.replace('utc = "2024-02-03T04:05:06+00:00"', 'utc = "yesterday"'),
            "map.toml:11: measured.utc: 'yesterday' is no time",
        ),
        (
            FITS.replace("04:05:06+00:00", "05:05:06+01:00"),
            "measured.utc: is not UTC: write 2024-02-03T04:05:06+00:00",
        ),
        (
            FITS + '[visits]\nquantity = "voltage"\nvalues = [1.0]\n',
            "visits.quantity: 'voltage' is",
        ),
        (
            FITS + '[visits]\nquantity = "s.v"\nvalues = [1.0, 1.0]\n',
            "visits.values: holds a value twice",
        ),
        (
            FITS + '[visits]\nquantity = "s.v"\nvalues = [1.0]\n[take]\nvisit = [0, 1]\n',
            "map.toml:18: visits.values: has 1 values, and take.visit takes 2 places",
        ),
        (FITS.replace('"core", "column"', '"core"'), "fits.axes: lacks the axis column"),
        (
            FITS.replace('"core", "column"', '"column", "row"'),
            "map.toml:15: fits.axes[1]: row is no axis of fits",
        ),
        (
            FITS.replace('"core", "column"', '"column", "visit", "visit"'),
            "fits.axes[2]: visit is there twice",
        ),
        (
            FITS.replace('"core", "column"', '"column", "read_mode"'),
            "axes: read_mode is missing: fits has this axis",
        ),
        (FITS + "[take]\nvisit = [1]\n", "map.toml:17: take.visit: no source has the axis visit"),
        (COUNTS + "[stimulus]\nvectors = 500\n", "stimulus: belongs to form"),
        (FITS + "[stimulus]\nvectors = 280\n", "must leave 32 for the fit"),
        (FITS + "[stimulus]\nx_per_product = 200\n", "leaves 1 whole products from x_lowest"),
        (FITS + "[stimulus]\nx_per_product = 1e-9\n", "stimulus.x_per_product: is too small"),
        (HEAD.format(form="fits"), 'fits: is missing: form = "fits" needs it'),
        (FITS + '[inputs]\narray = "x"\naxes = ["vector", "row"]\n', "inputs: belongs to form"),
        (COUNTS.partition("[weights]")[0], "weights: is missing, and so is expected"),
        (
            COUNTS.replace('array = "w"\n', ""),
            "weights: must have one of array, arrays and columns",
        ),
        (
            COUNTS.replace('array = "w"', 'arrays = ["w", "v"]'),
            'weights.arrays: is for counts with rule = "pair"',
        ),
        (
            COUNTS.replace('array = "x"\naxes = ["vector", "row"]', 'columns = ["x"]'),
            "inputs.columns[0]: is 'x': must have {row} once",
        ),
        (
            COUNTS.replace('array = "x"', 'files = "a{die}.npz"\narray = "x"'),
            "inputs.files: has the placeholder {die}: must be one of {core}, {read_mode}, {visit}",
        ),
        (COUNTS.replace('rule = "pair"', "rule = 'pair'\nscale = 0"), "counts.scale: is 0"),
        (COUNTS + "[nmpu]\nshift = 2\n", "nmpu.shift: is chosen per core by the calibration"),
    ],
)
def test_what_cannot_be_meant_together_is_told(tmp_path: Path, text: str, message: str) -> None:
    assert message in problems(tmp_path, text)


def keys_of(model: type[BaseModel], section: str = "") -> list[str]:
    fields = model.model_fields if section == "" else {}
    if section:
        annotation = model.model_fields[section].annotation
        inner = next(
            kind
            for kind in (annotation, *getattr(annotation, "__args__", ()))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        )
        fields = inner.model_fields
    return list(fields)


SECTIONS = ["chip", "measured", "steps", "axes", "take", "visits", "csv", "counts", "fits"]


@pytest.mark.parametrize("section", [*SECTIONS, "stimulus", "vectors"])
def test_page_names_every_key_of_a_section(section: str) -> None:
    part = PAGE.read_text().split(f"## `[{section}]`")[1].split("\n## ")[0]
    documented = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
    assert documented == keys_of(Mapping, section)


def test_page_names_every_section() -> None:
    page = PAGE.read_text()
    for name in keys_of(Mapping):
        assert f"`{name}`" in page or f"`[{name}]`" in page, name
