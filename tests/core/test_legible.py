import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.legible import cut_short, one_line, printable, quoted, shown_beside


@given(st.text(max_size=200), st.integers(12, 100))
@settings(max_examples=100, deadline=None)
def test_cut_text_keeps_its_limit_its_start_and_its_end(text: str, longest: int) -> None:
    cut = cut_short(text, longest=longest)
    assert len(cut) <= longest
    assert cut[:5] == text[:5]
    assert cut[-3:] == text[-3:]


@pytest.mark.parametrize("text", ["", "a" * 60], ids=["empty", "longest"])
def test_text_that_fits_is_left_alone(text: str) -> None:
    assert cut_short(text) == text


def test_long_value_is_quoted_with_both_its_ends() -> None:
    assert quoted("a" * 100 + ".toml") == "'" + "a" * 41 + "..." + "a" * 9 + ".toml'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9 \u00b5", "caf\u00e9 \u00b5"),
        ("a\x1b[31mb", "a?[31mb"),
        ("\x9b\x07\r\n\0", "?????"),
        ("\u202eabc", "?abc"),
    ],
    ids=["letters", "escape", "controls", "right-to-left"],
)
def test_only_what_a_terminal_may_act_on_is_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("letter", ["\0", "\n", "\x1b", "\x7f", "\x80", "\x9f"], ids=ascii)
def test_control_character_is_refused(letter: str) -> None:
    with pytest.raises(ValueError, match="must be without control characters"):
        one_line(f"a{letter}b")


def test_text_of_other_scripts_is_one_line() -> None:
    text = "\u00a0\u00e9\u4e2d ~"
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("value", "limit", "shown"),
    [
        (0.00123, 0.001, "0.00123"),
        (0.1484321, 0.1484, "0.14843"),
        (0.14836, 0.1484, "0.148"),
        (8.000001, 8.0, "8.000001"),
        (0.1 + 0.2, 0.3, "0.30000000000000004"),
        (8.0, 8.0, "8"),
        (12.34, 8.0, "12.3"),
    ],
)
def test_value_shows_enough_digits_to_tell_its_side_of_a_limit(
    value: float, limit: float, shown: str
) -> None:
    assert shown_beside(value, limit) == shown
