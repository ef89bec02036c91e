"""Which formats a grid stands for."""

from pathlib import Path

import pytest

from hil.core.errors import ConfigError
from hil.core.nmpu_format import NmpuFormat
from hil.explore.grid import (
    DEFAULT_GRID,
    Candidate,
    Sweep,
    enumerate_formats,
    load_grid,
    parse_axes,
)

BASE = NmpuFormat()


def formats(*sweeps: Sweep, base: NmpuFormat = BASE) -> tuple[Candidate, ...]:
    return enumerate_formats(base, sweeps, source="here")


def only_format(**changes: str) -> NmpuFormat:
    base, changed = formats({name: (value,) for name, value in changes.items()})
    assert base.fmt == BASE
    assert changed.fmt is not None
    return changed.fmt


def test_grid_is_the_base_and_then_the_product_last_axis_fastest() -> None:
    names = [item.name for item in formats({"scale_bits": ("7", "5"), "cut_pre": ("1", "2")})]
    assert names == [
        "base",
        "scale_bits=7,cut_pre=1",
        "scale_bits=7,cut_pre=2",
        "scale_bits=5,cut_pre=1",
        "scale_bits=5,cut_pre=2",
    ]


def test_format_that_several_sweeps_reach_comes_once() -> None:
    found = formats({"scale_bits": ("8", "6")}, {"scale_frac": ("5",)}, {"off_bits": ("8",)})
    assert [item.name for item in found] == ["base", "scale_bits=6"]


def test_scale_bits_change_the_fraction_and_keep_the_integer_bits() -> None:
    assert only_format(scale_bits="5") == NmpuFormat(scale_int=1, scale_frac=4)


def test_narrower_offset_loses_range_not_step() -> None:
    assert only_format(off_bits="5") == NmpuFormat(off_bits=5, off_int=4, off_frac=1)


def test_finer_offset_of_the_same_width_loses_range() -> None:
    assert only_format(off_frac="3") == NmpuFormat(off_bits=8, off_int=5, off_frac=3)


def test_offset_integer_bits_alone_widen_the_register() -> None:
    assert only_format(off_int="9") == NmpuFormat(off_bits=10, off_int=9, off_frac=1)


def test_base_that_counts_the_sign_apart_keeps_counting_it_apart() -> None:
    base = NmpuFormat(off_bits=9)  # 7 + 1, and the sign
    narrow = formats({"off_bits": ("6",)}, base=base)[1].fmt
    assert narrow == NmpuFormat(off_bits=6, off_int=4, off_frac=1)


def test_values_that_contradict_each_other_stay_listed_with_the_reason() -> None:
    refused = [
        (item.name, item.refusal)
        for item in formats({"scale_bits": ("8", "2"), "off_frac": ("1", "2")})
        if item.fmt is None
    ]
    assert refused == [
        ("scale_bits=2,off_frac=2", "off_frac = 2: must be at most scale_frac + shift = 1")
    ]


def test_default_grid_has_58_possible_formats() -> None:
    # 6 x 6 registers; 6 shared; and 3 + 3 + 3 + 4 + 3 excursions. The base is among the first 36.
    found = formats(*DEFAULT_GRID)
    assert len(found) == 58
    assert all(item.fmt is not None for item in found)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (["offbits=3"], "'offbits' is no axis; did you mean 'off_bits'?"),
        (["zzz=3"], "axes: scale_bits, in_bits"),
        (["shift=1"], "shift is chosen for each core"),
        (["off_bits"], "must be NAME=VALUE,VALUE"),
        (["off_bits=4,,5"], "has an empty value"),
        (["off_bits=4,5,4"], "names a value twice: 4"),
        (["off_bits=4", "off_bits=5"], "axis off_bits is there twice"),
    ],
)
def test_axis_that_cannot_be_read_is_refused(axes: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_axes(axes)
    assert words in str(caught.value)
    assert str(caught.value).startswith("--axis ")


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ({"off_bits": ("8", "99")}, "off_bits=99: no such format: off_int = 98: must be 1 to 16"),
        ({"in_bits": ("ten",)}, "in_bits = 'ten': must be a whole number"),
        ({"scale_bits": ("many",)}, "scale_bits = 'many': must be a whole number"),
        ({"rounding": ("up",)}, "'up' is not a valid Rounding"),
        ({"scale_bits": ("8",), "scale_frac": ("7",)}, "set the same bits; use one"),
    ],
)
def test_value_that_no_format_can_have_is_an_error(sweep: Sweep, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        formats(sweep)
    assert words in str(caught.value)


def test_grid_file_says_the_same_as_axes(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(
        "schema_version = 1\n[[sweep]]\noff_bits = [6, 7, 8]\nshared_scale = [true, false]\n"
    )
    assert load_grid(path) == parse_axes(["off_bits=6..8", "shared_scale=true,false"])


def test_every_problem_of_a_grid_file_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text("schema_version = 1\n[[sweep]]\noff_bit = [6]\ncut_pre = []\n")
    with pytest.raises(ConfigError) as caught:
        load_grid(path)
    assert [problem.where for problem in caught.value.problems] == [
        "sweep[0].off_bit",
        "sweep[0].cut_pre",
    ]
