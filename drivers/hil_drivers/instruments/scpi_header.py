"""Whether two SCPI commands set the same thing, however they are spelled.

The spelling is all there is to go by: no table of the instrument's commands is known here. Where
two commands may be the same, they are taken for the same.
"""

import re
from collections.abc import Iterator

from hil_drivers.scpi import spellings

PLACEHOLDER = "{value}"
"""Stands in a set command for the number."""

_SHORT = 4
_VOWELS = "AEIOU"
_KEYWORD = re.compile(r"(?P<letters>[^0-9]*)(?P<suffix>[0-9]*)", re.DOTALL)
_MAY_LEAD = {"SOUR"}
_MAY_END = {"LEV", "IMM", "AMPL"}
"""Keywords that SCPI lets a command leave out: ``[SOURce:]VOLTage[:LEVel][:IMMediate]``
(SCPI-99, volume 2, 19.21)."""
_CHANNELS = re.compile(r"\(@([0-9,: ]+)\)")


def short_form(keyword: str) -> str:
    """Return the short form of a keyword: four letters, or three where the fourth is a vowel.

    Source: SCPI-99, volume 1, 6.2.1; a suffix of 1 is the same as none (6.2.5.2).

    Examples
    --------
    >>> short_form("temperature"), short_form("POWer1"), short_form("OUTP2"), short_form("MODE")
    ('TEMP', 'POW', 'OUTP2', 'MODE')
    """
    match = _KEYWORD.match(keyword.upper())
    letters, suffix = (match["letters"], match["suffix"]) if match else (keyword.upper(), "")
    if len(letters) > _SHORT:
        letters = letters[: _SHORT - 1 if letters[_SHORT - 1] in _VOWELS else _SHORT]
    return letters + ("" if suffix.strip("0") == "1" else suffix)


def parts(message: str) -> Iterator[tuple[str, str]]:
    """Yield header and parameters of each command in a message, each header as a whole.

    Behind a semicolon a header may go on where the one before it stood, or begin anew: both are
    yielded.

    Examples
    --------
    >>> list(parts("TEMP:RATE 1;SETP 80"))
    [('TEMP:RATE', '1'), ('SETP', '80'), ('TEMP:SETP', '80')]
    """
    path = ""
    for part in message.split(";"):
        header, _, parameters = part.strip().partition(" ")
        if not header:
            continue
        yield header, parameters
        if path and not header.startswith((":", "*")):
            yield path + header, parameters
            header = path + header
        if not header.startswith("*"):
            path = header.rpartition(":")[0]
            path = f"{path}:" if path else ""


def is_same_header(one: str, other: str) -> bool:
    """Tell whether two headers may be the same command.

    Examples
    --------
    >>> is_same_header("TEMP:SETP", ":temperature:SETPoint")
    True
    >>> is_same_header("SOUR:VOLT:LEV", "VOLT"), is_same_header("VOLT", "VOLT2")
    (True, False)
    """
    return bool(spellings(_pattern(one)) & spellings(_pattern(other)))


def is_same_target(one: str, other: str) -> bool:
    """Tell whether two parameter texts may be of the same channel.

    Examples
    --------
    >>> is_same_target("{value},(@1)", "5, (@2)"), is_same_target("{value},(@1)", "5,(@1:3)")
    (False, True)
    """
    first, second = _channels(one), _channels(other)
    return not (first and second) or any(
        low <= highest and lowest <= high for low, high in first for lowest, highest in second
    )


def sets_the_same(message: str, set_command: str) -> bool:
    """Tell whether one of the commands of a message sets what a set command sets.

    Examples
    --------
    >>> sets_the_same("OUTP ON;:temp:setp 80", "TEMPerature:SETPoint {value}")
    True
    >>> sets_the_same("TEMP:SETP?", "TEMP:SETP {value}")
    False
    """
    known = [
        (header, parameters)
        for header, parameters in parts(set_command)
        if PLACEHOLDER in f"{header} {parameters}"
    ]
    return any(
        _is_same_command(header, parameters, *command)
        for header, parameters in parts(message)
        for command in known
    )


def _is_same_command(header: str, parameters: str, known: str, known_parameters: str) -> bool:
    stem, glued, _ = known.partition(PLACEHOLDER)
    if glued:  # no SCPI: the number follows the header without a blank
        return not header.endswith("?") and _normal(header).startswith(_normal(stem))
    return is_same_header(header, known) and is_same_target(parameters, known_parameters)


def _pattern(header: str) -> str:
    """Return the pattern, long and short form, that a header is one spelling of."""
    query = "?" if header.endswith("?") else ""
    keywords = header.strip().removesuffix("?").lstrip(":").split(":")
    while len(keywords) > 1 and short_form(keywords[0]) in _MAY_LEAD:
        keywords = keywords[1:]
    while len(keywords) > 1 and short_form(keywords[-1]) in _MAY_END:
        keywords = keywords[:-1]
    # The short form stands for both: the long form's letters follow from nothing else.
    return ":".join(short_form(keyword) for keyword in keywords) + query


def _normal(text: str) -> str:
    return text.upper().lstrip(":")


def _channels(parameters: str) -> list[tuple[int, int]]:
    """Return the first and last channel of each range of a channel list."""
    ranges = []
    for group in _CHANNELS.findall(parameters):
        for item in group.split(","):
            numbers = [int(number) for number in item.split(":") if number.strip()]
            if numbers:
                ranges.append((min(numbers), max(numbers)))
    return ranges
