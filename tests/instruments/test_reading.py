"""Only a finite decimal number is a reading."""

import pytest

from hil.core.errors import ReadingError
from hil_drivers.instruments.reading import parse_reading


@pytest.mark.parametrize(
    ("answer", "value"),
    [("25", 25.0), ("+2.5E+01", 25.0), ("-.5", -0.5), ("25.", 25.0), (" 25.0 ", 25.0), ("0", 0.0)],
)
def test_every_decimal_form_is_read(answer: str, value: float) -> None:
    assert parse_reading(answer, field=None, query="T?") == value


@pytest.mark.parametrize(
    "answer",
    ["", "rubbish", "25 C", "nan", "inf", "-inf", "1_000", "0x10", "25,26", "--1", "1e", "٢٥"],
)
def test_rubbish_is_no_reading(answer: str) -> None:
    with pytest.raises(ReadingError, match=r"^T\?: answered"):
        parse_reading(answer, field=None, query="T?")


@pytest.mark.parametrize("answer", ["9.91E37", "9.9E+37", "-9.9e37", "1e400"])
def test_scpi_overflow_and_not_a_number_are_no_reading(answer: str) -> None:
    with pytest.raises(ReadingError, match="an overflow, or no number at all"):
        parse_reading(answer, field=None, query="T?")


def test_field_names_one_of_several_numbers() -> None:
    answer = "+2.5E-01,+1.25E-06,+9.91E+37"
    assert parse_reading(answer, field=2, query="READ?") == 1.25e-06
    with pytest.raises(ReadingError, match="there is no field 4"):
        parse_reading(answer, field=4, query="READ?")
