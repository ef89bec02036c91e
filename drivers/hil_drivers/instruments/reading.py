"""From an instrument's answer to a number that can be trusted."""

import math
import re

from hil.core.errors import ReadingError
from hil.core.legible import quoted

_OVERFLOW = 9.9e37
"""What SCPI answers for infinity; NAN is 9.91E37 (SCPI-99, volume 1, 7.2.1.4 and 7.2.1.5)."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""A decimal number (IEEE 488.2-1992, 7.7.2 and 8.7.2 to 8.7.4)."""


def parse_reading(answer: str, *, field: int | None, query: str) -> float:
    """Return the number in an answer.

    Parameters
    ----------
    answer
        The answer.
    field
        Which of several numbers between commas, from 1 on; None where there must be just one.
    query
        What was asked, for the message.

    Raises
    ------
    ReadingError
        If it is no decimal number, or stands for an overflow or for no number.

    Examples
    --------
    >>> parse_reading("+2.501000E-01,+1.2E-06", field=2, query="READ?")
    1.2e-06
    """
    fields = [part.strip() for part in answer.split(",")]
    if field is None and len(fields) > 1:
        raise ReadingError(
            f"{query}: answered {quoted(answer)}: one number is due; name one with `field`"
        )
    if field is not None and field > len(fields):
        raise ReadingError(f"{query}: answered {quoted(answer)}: there is no field {field}")
    text = fields[(field or 1) - 1]
    if not _NUMBER.fullmatch(text):
        raise ReadingError(f"{query}: answered {quoted(answer)} where a number is due")
    return checked_reading(float(text), query=query)


def checked_reading(value: float, *, query: str) -> float:
    """Return a number if it is one.

    Raises
    ------
    ReadingError
        If it is not finite, or SCPI's sign for that.
    """
    if not math.isfinite(value) or abs(value) >= _OVERFLOW:
        raise ReadingError(f"{query}: answered {value:g}: an overflow, or no number at all")
    return value
