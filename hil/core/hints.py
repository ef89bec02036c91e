"""Hints for words that are nearly right."""

import difflib
from collections.abc import Sequence

_LONGEST_WORD = 200
_ENDS_OF_RANGE = (
    ("lower", "lowest", "min", "minimum", "low"),
    ("upper", "highest", "max", "maximum", "high"),
)
"""Words for the two ends of a range."""


def same_meaning(word: str, known: Sequence[str]) -> str:
    """Return the hint for the end of a range that is called otherwise here."""
    for words in _ENDS_OF_RANGE:
        here = [each for each in words if each in known]
        if word.lower() in words and here:
            return f"did you mean {here[0]!r}?"
    return ""


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the hint for a word that is none of those known; empty if none is close.

    Examples
    --------
    >>> did_you_mean("four-phase", ["one_phase", "four_phase"])
    "did you mean 'four_phase'?"
    """
    close = difflib.get_close_matches(word[:_LONGEST_WORD].lower(), known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""
