from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from nmpu_oracle import nmpu_formats

DEFAULT_TEXT = (
    "in_bits=10,scale_int=1,scale_frac=7,off_int=7,off_frac=1,off_bits=8,shift=0,cut_pre=0,"
    "rounding=half_up,acc_bits=12,out_bits=8,saturate=1,symmetric=0,merge=after_subtract,"
    "offset_at=after_shift,shared_scale=0"
)

ACCEPTED_AT_THE_LIMITS: list[dict[str, Any]] = [
    {"in_bits": 1},
    {"in_bits": 16},
    {"scale_int": 0},
    {"scale_int": 8, "scale_frac": 0, "off_frac": 0, "off_bits": 7},
    {"scale_int": 0, "scale_frac": 8},
    {"scale_int": 1, "scale_frac": 0, "off_int": 8, "off_frac": 0},
    {"off_int": 1, "off_bits": 2},
    {"off_int": 16, "off_frac": 0, "off_bits": 16},
    {"off_int": 1, "off_frac": 8, "off_bits": 9, "shift": 1},
    {"shift": 15},
    {"shift": 15, "scale_int": 0, "scale_frac": 8, "cut_pre": 23, "off_frac": 0, "off_bits": 7},
    {"acc_bits": 2},
    {"acc_bits": 30},
    {"out_bits": 2},
]


@pytest.mark.parametrize("parameters", ACCEPTED_AT_THE_LIMITS, ids=str)
def test_values_at_the_limits_are_accepted(parameters: dict[str, Any]) -> None:
    fmt = NmpuFormat(**parameters)
    assert {name: getattr(fmt, name) for name in parameters} == parameters


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("in_bits", 0, "1 to 16"),
        ("in_bits", 17, "1 to 16"),
        ("scale_int", -1, "0 to 8"),
        ("scale_int", 9, "0 to 8"),
        ("scale_frac", -1, "0 to 8"),
        ("scale_frac", 9, "0 to 8"),
        ("off_int", 0, "1 to 16"),
        ("off_int", 17, "1 to 16"),
        ("off_frac", -1, "0 to 8"),
        ("off_frac", 9, "0 to 8"),
        ("off_bits", 1, "2 to 16"),
        ("off_bits", 17, "2 to 16"),
        ("shift", -1, "0 to 15"),
        ("shift", 16, "0 to 15"),
        ("cut_pre", -1, "0 to 23"),
        ("cut_pre", 24, "0 to 23"),
        ("acc_bits", 1, "2 to 30"),
        ("acc_bits", 31, "2 to 30"),
        ("out_bits", 1, "2 to 8"),
        ("out_bits", 9, "2 to 8"),
    ],
)
def test_values_beyond_a_limit_are_refused(name: str, value: int, limits: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} = {value}: must be {limits}$"):
        NmpuFormat(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scale_int": 2}, r"scale_int \+ scale_frac = 9: must be 1 to 8"),
        ({"scale_int": 0, "scale_frac": 0}, r"scale_int \+ scale_frac = 0"),
        ({"off_bits": 7}, r"off_bits = 7: must be off_int \+ off_frac = 8, or one more"),
        ({"off_bits": 10}, r"off_bits = 10: must be"),
        (
            {"scale_frac": 1, "off_frac": 2, "off_int": 6},
            r"off_frac = 2: must be at most scale_frac \+ shift = 1",
        ),
        ({"cut_pre": 7}, r"cut_pre = 7: must be at most the 6 bits"),
        ({"cut_pre": 9, "shift": 2}, r"cut_pre = 9: must be at most the 8 bits"),
        (
            {
                "offset_at": "before_shift", "scale_frac": 1, "off_frac": 2, "off_int": 6,
                "shift": 3,
            },
            r"off_frac = 2: must be at most scale_frac = 1 where",
        ),
        ({"symmetric": True, "saturate": False}, r"symmetric = true: means nothing"),
        ({"rounding": "nearest"}, r"'nearest' is not a valid Rounding"),
        ({"merge": "sum"}, r"'sum' is not a valid Merge"),
        ({"offset_at": "end"}, r"'end' is not a valid OffsetAt"),
    ],
)  # fmt: skip
def test_contradictory_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NmpuFormat(**parameters)


def test_words_become_enumeration_members() -> None:
    fmt = NmpuFormat(
        rounding="floor",  # type: ignore[arg-type]
        merge="per_branch",  # type: ignore[arg-type]
        offset_at="before_shift",  # type: ignore[arg-type]
    )
    assert fmt.rounding is Rounding.FLOOR
    assert fmt.merge is Merge.PER_BRANCH
    assert fmt.offset_at is OffsetAt.BEFORE_SHIFT


def test_defaults_are_the_published_widths() -> None:
    assert NmpuFormat().to_text() == DEFAULT_TEXT


def test_an_offset_before_the_shift_weighs_less() -> None:
    before = NmpuFormat(shift=3, offset_at=OffsetAt.BEFORE_SHIFT).offset_format
    after = NmpuFormat(shift=3).offset_format
    assert (before.step, after.step) == (0.0625, 0.5)


@pytest.mark.parametrize(
    ("parameters", "ends"),
    [({}, (-128, 127)), ({"symmetric": True}, (-127, 127)), ({"out_bits": 4}, (-8, 7))],
    ids=["default", "symmetric", "narrow"],
)
def test_output_ends_follow_from_the_format(
    parameters: dict[str, Any], ends: tuple[int, int]
) -> None:
    fmt = NmpuFormat(**parameters)
    assert (fmt.lowest_output, fmt.highest_output) == ends


def test_with_shift_changes_the_shift_alone() -> None:
    expected = DEFAULT_TEXT.replace("shift=0", "shift=4", 1)
    assert NmpuFormat().with_shift(4).to_text() == expected


@given(fmt=nmpu_formats())
def test_text_form_round_trips(fmt: NmpuFormat) -> None:
    assert NmpuFormat.from_text(fmt.to_text()) == fmt


@given(fmt=nmpu_formats())
def test_text_form_is_printable_ascii_without_quotes(fmt: NmpuFormat) -> None:
    text = fmt.to_text()
    assert text.isascii()
    assert text.isprintable()
    assert '"' not in text


def test_dictionary_form_holds_plain_values_only() -> None:
    assert {type(value) for value in NmpuFormat().to_dict().values()} == {int, bool, str}


def test_left_out_parameters_keep_their_defaults() -> None:
    assert NmpuFormat.from_text("shift=3, rounding=floor").to_text() == DEFAULT_TEXT.replace(
        "shift=0", "shift=3", 1
    ).replace("half_up", "floor")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shifts=3", r"'shifts' is no NMPU parameter; there are in_bits, scale_int"),
        ("shift", r"shift = '': must be a whole number"),
        ("shift=two", r"shift = 'two': must be a whole number"),
        ("shift=2.5", r"shift = '2.5': must be a whole number"),
        ("shift=-1", r"shift = -1: must be 0 to 15"),
        ("shift=1,shift=2", r"shift: is there twice"),
        ("saturate=2", r"saturate = '2': must be 0 or 1"),
        ("saturate=true", r"saturate = 'true': must be 0 or 1"),
        ("rounding=up", r"'up' is not a valid Rounding"),
        ("cut_pre=7", r"cut_pre = 7"),
    ],
)
def test_text_that_is_no_format_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NmpuFormat.from_text(text)


def _registers(**changed: Any) -> NmpuRegisters:
    arrays: dict[str, Any] = {
        "scale_p": np.array([128, 255], np.uint8),
        "scale_n": np.array([128, 0], np.uint8),
        "offset": np.array([-128, 127], np.int16),
        "swap": np.array([False, True]),
    }
    return NmpuRegisters(**(arrays | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale_p": np.array([1, 2], np.int16)}, "scale_p: must be uint8 of shape"),
        ({"scale_n": np.array([1], np.uint8)}, r"scale_n: .* got uint8 of shape \(1,\)"),
        ({"offset": np.array([1, 2])}, "offset: must be int16 .* got int64"),
        ({"swap": np.array([0, 1], np.uint8)}, "swap: must be bool"),
        ({"scale_p": np.zeros((2, 1), np.uint8)}, "scale_p: must be uint8"),
    ],
    ids=["scale-dtype", "short", "offset-dtype", "swap-dtype", "two-axes"],
)
def test_registers_of_wrong_type_or_shape_are_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _registers(**changed)


def test_registers_refuse_to_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        _registers().scale_p[0] = 1


@pytest.mark.parametrize(
    ("fmt", "message"),
    [
        (NmpuFormat(scale_int=0), "scale_p of column 0 is 128: must be 0 to 127"),
        (NmpuFormat(off_int=6, off_bits=7), "offset of column 0 is -128: must be -64 to 63"),
        (NmpuFormat(shared_scale=True), r"scale_n of column 1: must equal scale_p"),
    ],
    ids=["scale", "offset", "shared"],
)
def test_codes_that_a_format_does_not_hold_are_named(fmt: NmpuFormat, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _registers().check_fits(fmt)


def test_codes_at_the_register_ends_fit() -> None:
    _registers().check_fits(NmpuFormat())


def test_codes_have_one_row_per_register() -> None:
    assert _registers().to_codes().tolist() == [[128, 255], [128, 0], [-128, 127], [0, 1]]


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 255), st.integers(0, 255), st.integers(-(2**15), 2**15 - 1),
            st.integers(0, 1),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_register_codes_round_trip(rows: list[tuple[int, int, int, int]]) -> None:
    codes = np.array(rows, np.int16).reshape(len(rows), 4).T
    assert np.array_equal(NmpuRegisters.from_codes(codes).to_codes(), codes)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[1], [1], [1]], r"shape \(4, column\), got \(3, 1\)"),
        ([1, 1, 1, 1], r"shape \(4, column\), got \(4,\)"),
        ([[256], [0], [0], [0]], "scale register code must be 0 to 255"),
        ([[0], [-1], [0], [0]], "scale register code must be 0 to 255"),
        ([[0], [0], [0], [2]], "swap bit must be 0 or 1"),
        ([[0], [0], [0], [-1]], "swap bit must be 0 or 1"),
    ],
)
def test_codes_that_are_no_registers_are_refused(codes: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NmpuRegisters.from_codes(np.array(codes, np.int16))


def test_registers_compare_by_their_codes() -> None:
    assert _registers() == _registers()
    assert _registers() != _registers(swap=np.array([True, True]))
    assert _registers() != "registers"


def test_registers_are_no_dictionary_keys() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(_registers())
