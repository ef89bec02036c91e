"""The text of messages: headers, parameters, blocks, error words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_drivers.scpi import ScpiError, encode_block, matches, split_parameters


@pytest.mark.parametrize(
    ("pattern", "header"),
    [
        ("*IDN?", "*idn?"),
        ("TEMPerature?", "TEMP?"),
        ("TEMPerature?", "temperature?"),
        ("CORE:PROGram", ":core:prog"),
        ("FETCh:COUNts?", "fetc:counts?"),
        ("SYSTem:ERRor[:NEXT]?", "SYST:ERR?"),
        ("SYSTem:ERRor[:NEXT]?", "system:error:next?"),
        ("FOURphase", "four"),
    ],
)
def test_long_and_short_forms_match_in_any_case(pattern: str, header: str) -> None:
    assert matches(pattern, header)


@pytest.mark.parametrize(
    ("pattern", "header"),
    [
        ("TEMPerature?", "TEMP"),
        ("TEMPerature?", "TEMPER?"),
        ("TEMPerature?", "TEM?"),
        ("CORE:SELect", "CORE:SEL?"),
        ("CORE:SELect", "SEL"),
        ("CORE:SELect", "::CORE:SEL"),
        ("SYSTem:ERRor[:NEXT]?", "SYST:NEXT?"),
        ("SAFE", ""),
    ],
)
def test_other_spellings_do_not_match(pattern: str, header: str) -> None:
    assert not matches(pattern, header)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", []),
        ("   ", []),
        ("1", ["1"]),
        (" 1 , 2", ["1", "2"]),
        ("1,,2", ["1", "", "2"]),
        ('"a,b",c', ["a,b", "c"]),
        ("'it;s'", ["it;s"]),
        ("'say \"hi\"'", ['say "hi"']),
        ('"open, never closed', ['"open, never closed']),
        ('""', [""]),
    ],
)
def test_parameters_are_split_outside_quotes(text: str, parameters: list[str]) -> None:
    assert split_parameters(text) == parameters


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_text_breaks_the_splitting(text: str) -> None:
    assert sum(map(len, split_parameters(text))) <= len(text)


@pytest.mark.parametrize(
    ("size", "start"),
    [(0, b"#10"), (9, b"#19"), (10, b"#210"), (999, b"#3999"), (123456, b"#6123456")],
)
def test_block_begins_with_its_length(size: int, start: bytes) -> None:
    assert encode_block(bytes(size)) == start + bytes(size)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "No error"),
        (-102, "Syntax error"),
        (-108, "Parameter not allowed"),
        (-109, "Missing parameter"),
        (-113, "Undefined header"),
        (-160, "Block data error"),
        (-200, "Execution error"),
        (-221, "Settings conflict"),
        (-222, "Data out of range"),
        (-224, "Illegal parameter value"),
        (-230, "Data corrupt or stale"),
        (-240, "Hardware error"),
        (-251, "Missing mass storage"),
        (-350, "Queue overflow"),
    ],
)
def test_error_words_are_those_of_the_standard(number: int, words: str) -> None:
    assert ScpiError(number).words == words
